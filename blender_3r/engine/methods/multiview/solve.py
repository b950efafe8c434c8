"""From frames to cameras and depth: what fits into one pass, pass after pass, joined and told as it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from ... import zoo
from ...errors import EngineError
from ...media.frames import FrameSource
from ..base import Context, Event
from ..memory import USABLE, DoesNotFit, free_memory
from ..networks import choose_device, choose_precision, choose_weights, loaded, make_room
from ..pairwise.results import no_camera
from ..sparse_cloud import sparse_cloud, track_arrays
from ..stages import Stages
from .adjustment import Adjusted, adjust_cameras, depth_scale, observe
from .chunks import next_chunk
from .drivers import make_driver
from .estimate import ARCHITECTURES, DEFAULT_MODEL, DEFAULT_SIZE, Room
from .known import is_placed, place_in_known_world, read_known, refuse_few_poses
from .layout import Layout
from .options import Options
from .passes import ENCODING, RELATING, PassDoesNotFit, Passes
from .predictions import Followed, Prediction
from .reading import Pictures
from .results import Scene
from .store import ChunkStore
from .telling import Teller

# Parts of the progress bar.
READING, LOADING, COMPUTING, ADJUSTING, TELLING = 0.0, 0.03, 0.06, 0.9, 0.95
ENCODING_SHARE = 0.3  # of the time of a pass
SMALLER, SMALLEST = 0.6, 112  # of the image size where memory does not do, and its least in pixels
APART = "The network's predictions of neighbouring chunks share no camera that could be."


def solve(
    frames: FrameSource, options: Options, context: Context, report: Callable[[Event], None], method: str
) -> None:
    """Report cameras and views of a source as they come; see Method.

    Raises EngineError: "usage" for settings that contradict each other or the model, "machine" when weights, memory
    or the device are missing, "input" when no frame can be read, "unsolved" when the network gives no cameras.
    """
    torch.set_num_threads(context.threads)
    warning = ""
    while True:
        work = _Work(frames, options, context, report, method)
        try:
            return work.run(warning)
        except DoesNotFit as error:
            size = work.weights.image_size
            smaller = max(SMALLEST, 16 * round(SMALLER * size / 16))
            is_fixed = work.weights.record.architecture == "mv_dust3r"
            if not options.allow_smaller or is_fixed or smaller >= size:
                raise
            warning = f"Memory did not do for larger images, so they were taken at {smaller} pixels: it is coarser."
            context.log(f"{error.message} It begins again with images of {smaller} pixels.")
        work.store().discard()
        options = replace(options, image_size=smaller)


class _Work:
    """One source on its way."""

    def __init__(
        self,
        frames: FrameSource,
        options: Options,
        context: Context,
        report: Callable[[Event], None],
        method: str,
    ) -> None:
        self.frames, self.options, self.context, self.report, self.method = frames, options, context, report, method
        self.stages = Stages(report, context)
        self.weights = choose_weights(
            options.model or DEFAULT_MODEL,
            options.weights,
            ARCHITECTURES,
            "does not see all views at once",
            options.image_size,
            default_size=DEFAULT_SIZE,
        )
        record = self.weights.record
        if options.learned_tracks and record.architecture != "vggt":
            raise EngineError(
                "usage", f"{record.title} follows no points, so cameras cannot be refined.", "Choose a VGGT model."
            )
        options.overlap_of(options.chunk_size or 2)
        self.device = choose_device(options.device)
        self.precision = choose_precision(options.precision, self.device)
        self.known = read_known(frames, options, record.architecture, record.title)
        sizes = [(info.height, info.width) for info in frames.infos]
        self.layout = Layout(record.architecture, sizes, self.weights.image_size)
        self.pictures = Pictures(frames, self.layout)
        self.followed: list[Followed] = []

    def run(self, warning: str) -> None:
        """All passes, then what is made of them together. warning: of an earlier try."""
        notes = self.pictures.read_all(self.stages.counted("Reading images", READING, LOADING))
        scene = self._scene(notes, warning)
        teller = Teller(self.frames, scene, self.pictures, self.context, self.report, self.method)
        self._passes(teller)
        if not scene.believed():
            raise no_camera()
        if self.options.learned_tracks:
            self._adjust(teller)
        self.store().discard()

    def store(self) -> ChunkStore:
        """Where passes are kept."""
        used = self.pictures.used
        return ChunkStore(self.context.job, used, [self.layout.sizes[frame] for frame in used])

    def _scene(self, notes: dict[int, str], warning: str) -> Scene:
        known = self.known
        shares = self.options.shares_focal(self.frames.kind)
        if known.has_lenses:
            shares = len({lens.fx for lens in known.lenses if lens is not None}) == 1
        lens = "zoom" if self.frames.kind == "video" else "groups"
        return Scene(
            self.pictures.used,
            fixed=known.has_lenses,
            shares_focal=shares,
            is_metric=self.weights.record.architecture == "pi3x" and known.sets_no_scale,
            notes=notes,
            warnings=[*([warning] if warning else []), *known.warnings],
            kind_of_lens="shared" if shares else lens,
        )

    # -- passes

    def _passes(self, teller: Teller) -> None:
        """Pass after pass, those of an earlier run among them; the network is loaded when it is needed."""
        store, room, scene = self.store(), self._room(), teller.scene
        count = len(scene.used)
        size = room.choose_size(count, self.options.chunk_size)
        if size < count:
            overlap = self.options.overlap_of(size)
            self.context.log(f"{count} views do not go into one pass: {size} in each, {overlap} of them shared")
        number = 0
        while (part := store.read(number, teller.covered)) is not None and teller.covered < count:
            self.context.log(f"the pass over views {part.views[0]}-{part.views[-1]} is there from an earlier run")
            self._take(teller, part)
            if self._tells_views and not all(self.context.job.has_view(scene.used[view]) for view in part.views):
                teller.cameras()  # else what an earlier run told of later passes stays till they are reached
            self._tell(teller, size)
            number += 1
        if number:
            teller.cameras()
        if teller.covered == count:
            return
        if number == 0:
            refuse_few_poses(self.known, self.pictures.used[:size])
        self.stages.tell("Loading the model", LOADING, COMPUTING, 0, 1)
        make_room(room.needed(size) + self._network_bytes, self.device)
        with loaded(self.weights, self.device, self.context.check_cancelled) as network:
            driver = make_driver(self.weights.record.architecture, network, self.options)
            least = self.options.min_confidence
            passes = Passes(
                driver, self.pictures, self.known, self.device, self.precision, self.context.check_cancelled, least
            )
            while teller.covered < count:
                part, size = self._pass(passes, teller.covered, min(size, driver.most))
                self._keep(store, number, part)
                teller.cameras(self._take(teller, part))
                self._tell(teller, size)
                passes.forget(self._next(teller.covered, size).start)
                number += 1

    @property
    def _tells_views(self) -> bool:
        """Whether depth is told as passes come; where cameras are refined it waits for that."""
        return self.options.dense and not self.options.learned_tracks

    @property
    def _network_bytes(self) -> int:
        """What loading the network will take."""
        is_there = self.weights.file is not None or self.weights.record.id in zoo.shared_cache().loaded()
        return 0 if is_there else self.weights.record.memory_bytes

    def _room(self) -> Room:
        """What a pass may take."""
        available = self.options.memory_limit
        if available is None:
            free = free_memory(self.device.type, self.device.index)
            available = None if free is None else max(0, int(USABLE * free) - self._network_bytes)
        tokens = max(self.layout.tokens(frame) for frame in self.pictures.used)
        return Room(self.weights.record.architecture, tokens, available, self.precision, self.options.learned_tracks)

    def _next(self, covered: int, size: int) -> range:
        return next_chunk(covered, len(self.pictures.used), size, self.options.overlap_of(size))

    def _pass(self, passes: Passes, covered: int, size: int) -> tuple[Prediction, int]:
        """The next pass, and the size of passes from now on: smaller where memory ran out."""
        while True:
            chunk = self._next(covered, size)
            try:
                part = passes.run(chunk, self._reporter(chunk, covered))
                return place_in_known_world(part, self.known, self.pictures, is_first=covered == 0), size
            except PassDoesNotFit as error:
                size = max(2, len(chunk) // 2)
                if size >= len(chunk):
                    raise
                self.context.log(f"{error.message} It goes on with {size} views in a pass.")

    def _reporter(self, chunk: range, covered: int) -> Callable[[str, int, int], None]:
        """Tells how far the stages of a pass are."""
        count = len(self.pictures.used)
        end = ADJUSTING if self.options.learned_tracks else 1.0

        def fraction(share: float) -> float:
            return COMPUTING + (end - COMPUTING) * (covered + (chunk.stop - covered) * share) / count

        parts = {ENCODING: (0.0, ENCODING_SHARE), RELATING: (ENCODING_SHARE, 1.0)}

        def tell(stage: str, done: int, total: int) -> None:
            name = stage if len(chunk) == count else f"{stage} {chunk.start + 1}-{chunk.stop} of {count}"
            self.stages.tell(name, *(fraction(share) for share in parts[stage]), done, total)

        return tell

    def _take(self, teller: Teller, part: Prediction) -> list[int]:
        """Join a pass. Returns the pictures whose cameras changed."""
        try:
            changed = teller.add(part, is_placed(part, self.known, self.pictures))
        except ValueError as error:
            raise EngineError(
                "unsolved", APART, "Check that the weights fit the model, or use larger chunks."
            ) from error
        if part.followed is not None:
            self.followed.append(part.followed)
        return changed

    def _tell(self, teller: Teller, size: int) -> None:
        """Tell the depth that no later pass changes."""
        count = len(self.pictures.used)
        if self._tells_views:
            teller.views(self._next(teller.covered, size).start if teller.covered < count else count)
        else:
            teller.forget(everything=True)

    def _keep(self, store: ChunkStore, number: int, part: Prediction) -> None:
        try:
            store.write(number, part)
        except EngineError as error:
            if self.options.learned_tracks:  # which reads them again
                raise
            self.context.log(f"passes are not kept for another run: {error}")

    # -- cameras adjusted to what was followed

    def _adjust(self, teller: Teller) -> None:
        """Adjust all cameras, then tell depth, scaled to the adjusted points."""
        self.stages.tell("Adjusting the cameras", ADJUSTING, TELLING, 0, 1)
        scene, frames = teller.scene, self.frames
        observations = observe(self.followed, scene.used)
        self.context.log(
            f"{int(observations.track.max(initial=-1)) + 1} points followed, {len(observations)} times seen"
        )
        lens = "fixed" if scene.fixed else scene.kind_of_lens
        info, scaled = frames.infos[scene.used[0]], self.layout.scaled[scene.used[0]]
        scale = max(1.0, info.width / scaled[1])
        adjusted = adjust_cameras(observations, teller.reconstruction(), frames, lens, scale)
        if adjusted is None:
            scene.warnings.append(
                "The points that were followed do not do to refine the cameras: they are as predicted."
            )
            teller.cameras()
        else:
            self.context.log(
                f"cameras adjusted: mean error {adjusted.before:.2f} px before, {adjusted.after:.2f} after"
            )
            changed = scene.adjust(adjusted.solution.cameras, (adjusted.before, adjusted.after))
            solution = adjusted.solution
            teller.cameras(changed, sparse=sparse_cloud(frames, solution), tracks=track_arrays(solution))
        if self.options.dense:
            self._tell_views(teller, adjusted)

    def _tell_views(self, teller: Teller, adjusted: Adjusted | None) -> None:
        store, told, believed = self.store(), 0, teller.scene.believed()
        for number, move in enumerate(teller.moves):
            part = store.read_again(number).moved(move)
            for view in [view for view in part.views if teller.owner.get(view) == number and view in believed]:
                frame, picture = teller.scene.used[view], self.pictures.get(view)
                depth = part.depth[part.views.index(view)]
                scale = 1.0 if adjusted is None else depth_scale(adjusted.solution, frame, picture, depth)
                teller.view(view, part, move, scale)
                told += 1
                self.stages.tell("Writing depth", TELLING, 1.0, told, len(believed))
            self.pictures.forget(part.views[0])
