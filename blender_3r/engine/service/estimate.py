"""What a job will need, told before it starts: memory, disk, pairs, and whether that is there. No footage is opened."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import zoo
from ..errors import EngineError
from ..methods.memory import USABLE, free_memory, in_gigabytes
from ..methods.multiview import estimate as multiview_estimate
from ..methods.multiview import options as multiview_options
from ..methods.pairwise.estimate import Budget, pair_map_bytes
from ..methods.pairwise.options import Options
from ..methods.pairwise.pairs import Pairs, choose_pairs, graph_pairs
from ..methods.pairwise.pictures import SQUARE_SIZE, sizes_of
from ..methods.streaming import options as streaming_options
from ..methods.streaming.estimate import state_bytes
from ..methods.streaming.options import frames_for_network
from ..methods.streaming.pictures import sizes_for
from .auto import AUTO, Choice, resolved
from .devices import network_device
from .settings import check_request
from .stock import choose_here

DEFAULT_MODEL, DEFAULT_SIZE = "mast3r-512", 512
VIEW_BYTES_PER_PIXEL = 4 + 4 + 3  # depth, confidence, color
PASS_BYTES_PER_PIXEL = 4 + 4 + 1  # depth, confidence, what is kept
CLASSIC = {"draft": (320, 16), "normal": (512, 32), "fine": (768, 64)}  # long side and number of its depth maps
RESERVE_BYTES = 200_000_000  # of the disk
PLACES = {"cpu": "the processor", "cuda": "the graphics card", "mps": "the graphics processor"}


@dataclass(frozen=True)
class Estimate:
    """What a job of `images` images needs; 0 = not known. device: where the network would run.

    memory_bytes: the network and what is aligned, network_bytes of it the network's. memory_free: what may be used.
    graph, pairs: of the pairwise method. fits: whether it can be done; text: a sentence for the panel; hint: what
    would fit, where it does not.
    """

    images: int
    device: str = ""
    memory_bytes: int = 0
    network_bytes: int = 0
    memory_free: int = 0
    disk_bytes: int = 0
    disk_free: int = 0
    graph: str = ""
    pairs: int = 0
    fits: bool = True
    text: str = ""
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate_job(request: Any, count: Any, size: Any, folder: str | None = None) -> dict[str, Any]:
    """An Estimate as a dictionary; for the method "auto" of the method that would be chosen, with the "choice" itself.

    count, size: how many images there are, and their (width, height). folder: where the job is to be written, or a
    folder above it. Raises EngineError("usage") for a request that is not understood or names no images.
    """
    method, source, settings = check_request(request)
    if not _is_size(count, size):
        raise EngineError("usage", "The number of images and their size are not known.", "Pick footage again.")
    if method == AUTO:
        return _chosen(request, choose_here(source, count, settings), count, size, folder)
    width, height = size
    if method == "pairwise":
        found = _pairwise(Options.from_json(settings), "video" if source.is_video else "photos", count, width, height)
    elif method == "multiview":
        found = _multiview(multiview_options.Options.from_json(settings), count, width, height)
    elif method == "streaming":
        found = _streaming(streaming_options.Options.from_json(settings), count, width, height)
    elif method == "classic":
        found = _classic(settings, count, width, height)
    else:
        found = Estimate(images=count)
    return _with_disk(found, folder).to_json()


def _chosen(request: Any, choice: Choice, count: int, size: Any, folder: str | None) -> dict[str, Any]:
    if choice.method:
        found = estimate_job(resolved(request, choice), count, size, folder)
    else:
        found = Estimate(images=count, fits=False, text=choice.why, hint=choice.hint).to_json()
    return {**found, "choice": choice.to_json()}


def _is_size(count: Any, size: Any) -> bool:
    numbers = [count, *size] if isinstance(size, list | tuple) and len(size) == 2 else []
    return bool(numbers) and all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in numbers)


# -- the methods


def _pairwise(options: Options, kind: str, count: int, width: int, height: int) -> Estimate:
    record = zoo.find_record(options.model or DEFAULT_MODEL)
    image_size = int(options.image_size or record.image_size or DEFAULT_SIZE)
    picture, whole = sizes_of(width, height, image_size)
    alignment = options.alignment_for(record.architecture == "mast3r")
    if count <= 2 and options.alignment == "auto":
        alignment = "global"
    device = network_device(options.device)
    free = {place: free_memory(place) for place in {device, "cpu"}}
    usable = {place: int(USABLE * value) for place, value in free.items() if value is not None}
    limit = options.memory_limit
    network = record.memory_bytes
    # As the method itself plans: the maps lie where the network is, or in main memory.
    rooms = {place: max(0, room - (network if place == device else 0)) for place, room in usable.items()}
    available = limit if limit is not None else max(rooms.values(), default=None)
    budget = Budget([picture] * count, alignment, available, graph_pairs)
    facts = {
        "images": count,
        "device": device,
        "network_bytes": network,
        "disk_bytes": VIEW_BYTES_PER_PIXEL * whole[0] * whole[1] * count if options.dense else 0,
    }
    room = limit if limit is not None else usable.get(device, 0)
    try:
        pairs = choose_pairs(options.scene_graph, kind, budget)
    except EngineError as error:
        if error.kind != "machine":
            raise
        found = Estimate(**facts, memory_free=room, fits=False, text=error.message, hint=error.hint)
        return _smaller(found, options, image_size)
    needed = budget.needed(pairs.edges)
    if device == "cpu" and alignment != "sparse":
        facts["disk_bytes"] += pair_map_bytes([picture] * count, pairs.edges)
    found = Estimate(
        **facts,
        memory_bytes=network + needed,
        memory_free=room,
        graph=pairs.graph,
        pairs=len(pairs.edges),
    )
    return _judged(found, pairs, record.title, usable.get(device))


def _multiview(options: multiview_options.Options, count: int, width: int, height: int) -> Estimate:
    record = zoo.find_record(options.model or multiview_estimate.DEFAULT_MODEL)
    if record.architecture not in multiview_estimate.ARCHITECTURES:
        raise EngineError("usage", f"{record.title} does not see all views at once.", "Choose another model.")
    image_size = int(options.image_size or record.image_size or multiview_estimate.DEFAULT_SIZE)
    device = network_device(options.device)
    free = free_memory(device)
    usable = None if free is None else int(USABLE * free)
    network, limit = record.memory_bytes, options.memory_limit
    available = limit if limit is not None else None if usable is None else max(0, usable - network)
    facts = {
        "images": count,
        "device": device,
        "network_bytes": network,
        "memory_free": limit if limit is not None else usable or 0,
    }
    try:
        plan = multiview_estimate.forecast(
            record.architecture, options, count, (width, height), image_size, available, _precision(options, device)
        )
    except EngineError as error:
        if error.kind != "machine":
            raise
        return Estimate(**facts, fits=False, text=error.message, hint=error.hint)
    per_view = PASS_BYTES_PER_PIXEL * plan.picture[0] * plan.picture[1]  # while it runs
    per_view += VIEW_BYTES_PER_PIXEL * plan.whole[0] * plan.whole[1] if options.dense else 0
    disk = count * per_view
    needed = network + plan.pass_bytes
    text = f"{plan.text} on {PLACES[device]}: about {in_gigabytes(needed)} of memory and {_size(disk)} on disk."
    return Estimate(**facts, memory_bytes=needed, disk_bytes=disk, text=text)


def _precision(options: multiview_options.Options, device: str) -> str:
    """As the method chooses it, as far as memory goes."""
    if options.precision != "auto":
        return options.precision
    return "bfloat16" if device == "cuda" else "float32"


def _streaming(options: streaming_options.Options, count: int, width: int, height: int) -> Estimate:
    record = zoo.find_record(options.model or streaming_options.DEFAULT_MODEL)
    if record.architecture not in streaming_options.OF_MODELS:
        raise EngineError("usage", f"{record.title} does not walk through a sequence.", "Choose another model.")
    image_size = int(options.image_size or record.image_size or streaming_options.DEFAULT_SIZE)
    picture, whole = sizes_for(record.architecture, width, height, image_size)
    device = network_device(options.device)
    free = free_memory(device)
    usable = None if free is None else int(USABLE * free)
    looked_at = len(frames_for_network(count, options.every))
    needed = record.memory_bytes + state_bytes(record.architecture, options, looked_at, picture)
    disk = VIEW_BYTES_PER_PIXEL * whole[0] * whole[1] * looked_at if options.dense else 0
    room = options.memory_limit if options.memory_limit is not None else usable
    found = Estimate(
        images=count,
        device=device,
        network_bytes=record.memory_bytes,
        memory_bytes=needed,
        memory_free=room or 0,
        disk_bytes=disk,
    )
    if room is not None and needed > room:
        message = (
            f"{record.title} needs about {in_gigabytes(needed)} of memory on {PLACES[device]}, and "
            f"{in_gigabytes(room)} may be used."
        )
        hint = (
            "Close other programs, or choose a smaller model" if device == "cpu" else "Choose the processor as device"
        )
        return _replaced(found, fits=False, text=message, hint=f"{hint}.")
    through = f", {looked_at} of them through the network" if looked_at < count else ""
    frames = "frame" if count == 1 else "frames"
    text = f"{count} {frames}{through} on {PLACES[device]}: about {in_gigabytes(needed)} of memory"
    return _replaced(found, text=f"{text} and {_size(disk)} on disk.")


def _judged(found: Estimate, pairs: Pairs, title: str, usable: int | None) -> Estimate:
    """With the sentence: what it takes, or that not even the network fits."""
    place = PLACES[found.device]
    if usable is not None and found.network_bytes > usable:
        message = (
            f"{title} alone needs about {in_gigabytes(found.network_bytes)} of memory on {place}, and "
            f"{in_gigabytes(usable)} may be used."
        )
        hint = "Close other programs, or choose a smaller model"
        hint += " or the processor as device." if found.device != "cpu" else "."
        return _replaced(found, fits=False, text=message, hint=hint)
    text = (
        f"{found.images} {'image' if found.images == 1 else 'images'}, {found.pairs} predicted pairs on {place}: about "
        f"{in_gigabytes(found.memory_bytes)} of memory and {_size(found.disk_bytes)} on disk."
    )
    return _replaced(found, text=" ".join([text, *pairs.warnings]))


def _smaller(found: Estimate, options: Options, image_size: int) -> Estimate:
    """A job that does not fit, but may go on with smaller images."""
    if options.allow_smaller and image_size > SQUARE_SIZE:
        return _replaced(found, hint=f"{found.hint} It will begin again with squares of {SQUARE_SIZE} pixels.")
    return found


def _classic(settings: dict[str, Any], count: int, width: int, height: int) -> Estimate:
    """Without a network only the depth maps are worth a word."""
    long_side, views = CLASSIC[settings.get("quality", "normal")]
    scale = min(1.0, long_side / max(width, height))
    pixels = round(width * scale) * round(height * scale)
    disk = VIEW_BYTES_PER_PIXEL * pixels * min(count, views) if settings.get("dense", True) else 0
    images = f"{count} {'image' if count == 1 else 'images'}"
    text = f"{images}: up to {_size(disk)} on disk." if disk else ""
    return Estimate(images=count, device="cpu", disk_bytes=disk, text=text)


# -- the machine


def _size(count: int) -> str:
    """1234567890 as "1.2 GB", 234567890 as "235 MB"."""
    return in_gigabytes(count) if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _with_disk(found: Estimate, folder: str | None) -> Estimate:
    if folder is None:
        return found
    place = Path(folder)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return found
    found = _replaced(found, disk_free=free)
    if not found.fits or found.disk_bytes + RESERVE_BYTES <= free:
        return found
    needed, there = _size(found.disk_bytes), _size(free)
    message = f"The result needs about {needed} on disk, and {there} are free in {place}."
    fitting = max(0, (free - RESERVE_BYTES) * found.images // found.disk_bytes)
    hint = f"{fitting} images fit; or free some room, or choose another job folder in the preferences."
    return _replaced(found, fits=False, text=message, hint=hint)


def _replaced(found: Estimate, **values: Any) -> Estimate:
    return Estimate(**{**asdict(found), **values})
