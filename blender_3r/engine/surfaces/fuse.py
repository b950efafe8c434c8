"""The depth maps of a job to one mesh: how large the voxels are, what fits into memory, step by step, cancellable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import EngineError
from ..media.frames import FrameSource
from ..methods.base import Context, Progress
from ..methods.memory import USABLE, DoesNotFit, free_memory, in_gigabytes
from ..reconstruction import Reconstruction
from .colors import paint
from .grid import LARGEST
from .mesh import Mesh, vertex_normals, without_specks
from .settings import DETAIL, SurfaceSettings
from .sight import best_views
from .simplify import simplified
from .texture import Texture, bake, check_footage
from .views import ViewMap, read_view
from .volume import BYTES_PER_BLOCK, Volume, blocks_of

TRUNCATION = 4.0  # voxels on either side of a surface in which distances count
FARTHEST = 8.0  # times the typical depth: what is farther has pixels larger than several voxels, and shakes
FINEST = 0.25  # pixels a voxel may cover at least
MAPS_SHARE = 0.25  # of the memory, for maps that are kept between passes
FEWEST_FACES = 50  # of a connected part, whatever the share
SIGHTS_SHARE, BYTES_PER_SIGHT = 0.25, 4  # of the memory, for how well each view sees each face
BYTES_PER_SURFACE_BLOCK = 3 * BYTES_PER_BLOCK  # field, weights, and the mesh that comes out of it


@dataclass(frozen=True)
class Surface:
    """normals: (n, 3) float32, towards where the cameras were. voxel: scene units. views: how many were fused.

    notes: sentences for the user. texture: None if none was asked for.
    """

    mesh: Mesh
    normals: np.ndarray
    voxel: float
    views: int
    notes: list[str] = field(default_factory=list)
    texture: Texture | None = None


def fuse(
    result: Reconstruction,
    settings: SurfaceSettings,
    context: Context,
    report: Callable[[Progress], None],
    frames: FrameSource | None = None,
) -> Surface:
    """One mesh of all views of context.job that have depth and a pose. frames: the footage, for a texture.

    Raises EngineError: "input" where there is no depth or nothing of it is left, "usage" for a voxel finer than the
    depth maps, "machine" when the memory does not do; Cancelled.
    """
    return _Fusion(result, settings, context, report, frames).run()


class _Fusion:
    """One run. Of long shots not all maps are kept: memory grows with the surface, not with the shot."""

    def __init__(
        self,
        result: Reconstruction,
        settings: SurfaceSettings,
        context: Context,
        report: Callable[[Progress], None],
        frames: FrameSource | None,
    ) -> None:
        self.result, self.settings, self.context, self.report = result, settings, context, report
        self.frames = frames
        self.notes: list[str] = []
        self.indices = self._usable_views()
        self._position = {} if frames is None else check_footage(frames, result, self.indices)
        self.depth, self.footprint = self._typical()
        self.limit = self._memory_limit()
        self._kept: dict[int, ViewMap] = {}
        self._room = self.limit * MAPS_SHARE

    def run(self) -> Surface:
        voxel, near = self._choose_voxel()
        blocks = np.unique(np.concatenate(near))
        self.context.log(f"surface: voxels of {voxel:.4g}, {len(blocks)} blocks, {len(self.indices)} views")
        volume = Volume(blocks, voxel, TRUNCATION * voxel)
        for view, keys in zip(self._maps("Fusing depth", self.indices, 0.25, 0.7), near, strict=True):
            volume.integrate(view, keys, self.context.check_cancelled)
        mesh = self._cut_out(volume)
        mesh = self._simplify(mesh)
        normals = vertex_normals(mesh)
        tolerance = max(2 * TRUNCATION * voxel, 0.02 * self.depth)
        painted = 0.98 if self.frames is None else 0.87
        mesh = paint(mesh, normals, self._maps("Colouring", self.indices, 0.85, painted), tolerance)
        texture = None if self.frames is None else self._bake(mesh, tolerance)
        return Surface(mesh, normals, voxel, len(self.indices), self.notes, texture)

    # -- what there is

    def _usable_views(self) -> list[int]:
        """Solved views with depth. Raises EngineError("input") when there are none."""
        views = self.result.views
        indices = [i for i in self.context.job.view_indices() if i < len(views) and views[i].is_solved]
        if indices:
            return indices
        if self.result.motion == "tripod":
            raise EngineError(
                "input",
                "The camera of this shot only turns, so it has no depth, and there is no surface.",
                "Use footage whose camera moves sideways.",
            )
        raise EngineError(
            "input",
            "This job has no depth to make a surface of.",
            "Reconstruct with dense points, or wait until the first depth is there.",
        )

    def _typical(self) -> tuple[float, float]:
        """Median depth, and what a pixel covers there, over all views. Raises EngineError("input")."""
        depths, footprints = [], []
        for index in self.indices:
            self.context.check_cancelled()
            arrays = self.context.job.read_view(index)
            depth = arrays["depth"][::4, ::4]
            good = np.isfinite(depth) & (depth > 0)
            good &= arrays["confidence"][::4, ::4] >= self.settings.min_confidence
            if good.any():
                depths.append(float(np.median(depth[good])))
                lens = self.result.views[index].intrinsics
                footprints.append(depths[-1] * lens.width / (lens.fx * arrays["depth"].shape[1]))
        if not depths:
            raise EngineError("input", "No depth is certain enough for a surface.", "Lower the minimum confidence.")
        return float(np.median(depths)), float(np.median(footprints))

    def _maps(self, stage: str, indices: list[int], start: float, end: float) -> Iterator[ViewMap]:
        """The maps of views, one at a time, as a stage between two fractions of the whole."""
        for done, index in enumerate(indices):
            self.context.check_cancelled()
            share = start + (end - start) * done / len(indices)
            self.report(Progress(stage, done, len(indices), share))
            yield self._map(index)

    def _map(self, index: int) -> ViewMap:
        """Read once as far as there is room."""
        if index in self._kept:
            return self._kept[index]
        arrays = self.context.job.read_view(index, ("sky",) if self.settings.moving else ("sky", "moving"))
        view = read_view(self.result.views[index], arrays, self.settings.min_confidence, FARTHEST * self.depth)
        if view.size_bytes <= self._room:
            self._room -= view.size_bytes
            self._kept[index] = view
        return view

    # -- voxels and memory

    def _choose_voxel(self) -> tuple[float, list[np.ndarray]]:
        """The voxel's size, and every view's blocks. An automatic size grows until memory does."""
        voxel = self.settings.voxel or DETAIL[self.settings.detail] * self.footprint
        if voxel < FINEST * self.footprint:
            raise EngineError(
                "usage",
                f"Voxels of {voxel:.3g} are finer than the depth maps, whose pixels are {self.footprint:.3g} apart.",
                f"Use voxels of {FINEST * self.footprint:.3g} or larger.",
            )
        limit = self.limit * (1 - MAPS_SHARE)
        while True:
            near, needed = self._allocate(voxel, limit)
            if needed <= limit:
                break
            larger = voxel * max(1.2, (needed / limit) ** 0.5)
            if self.settings.voxel is not None:
                raise DoesNotFit(
                    f"Voxels of {voxel:.3g} need {in_gigabytes(needed)} of memory or more, and there are "
                    f"{in_gigabytes(limit)}.",
                    f"Use voxels of {larger:.2g} or larger, or let the size be chosen.",
                )
            voxel = larger
        if self.settings.voxel is None and voxel > DETAIL[self.settings.detail] * self.footprint:
            self.notes.append("The surface is coarser than asked for: there was not enough memory for more.")
        return voxel, near

    def _memory_limit(self) -> float:
        if self.settings.memory_gb is not None:
            return self.settings.memory_gb * 1e9
        free = free_memory()
        return USABLE * free if free is not None else 4e9

    def _allocate(self, voxel: float, limit: float) -> tuple[list[np.ndarray], float]:
        """Every view's blocks, and bytes that all of them take; cut short as soon as that is too much."""
        near: list[np.ndarray] = []
        blocks = np.empty(0, np.int64)
        for view in self._maps("Looking at depth", self.indices, 0.0, 0.25):
            points = view.points[view.known]
            extent = np.abs(points).max(initial=0) / (LARGEST * voxel)
            if extent > 1:  # more voxels in a row than can be counted: as bad as too many in all
                return near, 1.1 * extent**2 * limit
            near.append(blocks_of(view, voxel, TRUNCATION * voxel))
            blocks = np.union1d(blocks, near[-1])
            needed = float(len(blocks)) * BYTES_PER_SURFACE_BLOCK
            if needed > limit:
                return near, needed
        if not len(blocks):
            raise EngineError("input", "Nothing of the depth is left for a surface.", "Lower the minimum confidence.")
        return near, needed

    # -- the mesh

    def _cut_out(self, volume: Volume) -> Mesh:
        self.report(Progress("Cutting out the surface", 0, 1, 0.7))
        mesh = volume.surface()
        self.context.check_cancelled()
        mesh = without_specks(mesh, self.settings.specks, FEWEST_FACES)
        if not len(mesh.faces):
            raise EngineError(
                "input",
                "The depth maps do not agree on any surface.",
                "Ask for less detail or larger voxels, or lower the minimum confidence.",
            )
        return mesh

    def _simplify(self, mesh: Mesh) -> Mesh:
        self.context.log(f"surface: {len(mesh.faces)} faces")
        if self.settings.faces and len(mesh.faces) > self.settings.faces:
            self.report(Progress("Reducing faces", 0, 1, 0.75))
            mesh = simplified(mesh, self.settings.faces, self.context.threads)
            self.context.check_cancelled()
        return mesh

    # -- the texture

    def _bake(self, mesh: Mesh, tolerance: float) -> Texture:
        most = max(1, int(self.limit * SIGHTS_SHARE / (BYTES_PER_SIGHT * len(mesh.faces))))
        step = -(-len(self.indices) // most)
        indices = self.indices[::step]
        maps = self._maps("Looking for the best frames", indices, 0.87, 0.93)
        seen_by = best_views(mesh, maps, len(indices), tolerance, self.depth)
        views = [self.result.views[index] for index in indices]
        total, done = len(np.unique(seen_by)), 0

        def read(number: int) -> np.ndarray:
            nonlocal done
            self.report(Progress("Composing the texture", done, total, 0.93 + 0.05 * done / total))
            done += 1
            return self.frames.read(self._position[indices[number]])

        texture = bake(mesh, seen_by, views, read, self.settings.texture, self.context.check_cancelled)
        self.context.log(
            f"surface: texture of {texture.views} frames, {texture.scale:.3g} texels a pixel, "
            f"{100 * texture.unseen:.1f} % of faces in no frame"
        )
        return texture
