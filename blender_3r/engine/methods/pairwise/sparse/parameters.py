"""What the sparse alignment moves, and the cameras and points that follow from it (spec mast3r_sfm, section 3.5).

A camera's pose is told relative to its parent's in the kinematic tree, and turns about a point in front of the camera
instead of about its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .condense import Condensed
from .tree import KinematicTree

# Limits of a focal in units of the image's diagonal.
FOCAL_RANGE = (0.25, 10.0)


@dataclass
class Parameters:
    """Tensors of n images, of one type and on one device.

    center: (n, 2) or, shared, (1, 2), principal point over width and height. log_focal: (n,) or (1,). quaternion:
    (n, 4), x y z w, unit length, and translation: (n, 3), relative to the parent. log_size: (n,) scale of an image's
    geometry. core: (B,) relative depths of the blocks.
    """

    center: Tensor
    log_focal: Tensor
    quaternion: Tensor
    translation: Tensor
    log_size: Tensor
    core: Tensor

    @classmethod
    def initial(cls, condensed: Condensed, shared_intrinsics: bool = False) -> Parameters:
        """All cameras at one place, focals and depths as the canonical views have them."""
        count, like = condensed.count, condensed.core
        center = like.new_full((count, 2), 0.5)
        log_focal = condensed.base_focal.log()
        if shared_intrinsics:
            weight = condensed.mean_confidence / condensed.mean_confidence.sum()
            center, log_focal = (weight @ center)[None], (weight @ condensed.base_focal).log()[None]
        quaternion = like.new_zeros(count, 4)
        quaternion[:, 3] = 1.0
        zeros = like.new_zeros(count, 3)
        return cls(center, log_focal, quaternion, zeros, zeros[:, 0].clone(), condensed.core.clone())


class Geometry(NamedTuple):
    """Cameras and points of n images, scaled so that the smallest image has size 1.

    focal: (n,) and center: (n, 2) in pixels. rotation: (n, 3, 3), position: (n, 3), camera to world. depth: (B,) of
    the blocks' centres. world_points: (3, M) of the anchors, image after image. anchors_per_image: their numbers.
    Points are columns: that multiplies ten times as fast as rows.
    """

    focal: Tensor
    center: Tensor
    rotation: Tensor
    position: Tensor
    depth: Tensor
    world_points: Tensor
    anchors_per_image: list[int]

    def into_world(self, points: Tensor, per_camera: list[int]) -> Tensor:
        """Points (3, k) in camera frames into the world; the first per_camera[0] are in that of camera 0, and so on."""
        return grouped_transform(points, per_camera, self.rotation, self.position)

    def into_images(self, points: Tensor) -> Tensor:
        """World points (3, M), one for each anchor, as homogeneous pixels (3, M) of the anchors' images."""
        projection = self.intrinsics @ self.rotation.mT
        offset = -(projection @ self.position[:, :, None])[:, :, 0]
        return grouped_transform(points, self.anchors_per_image, projection, offset)

    def rays(self) -> Tensor:
        """(n, 3, 3) matrices that take pixels (x, y, 1) to directions in the world of depth 1."""
        zero, one = torch.zeros_like(self.focal), torch.ones_like(self.focal)
        inverse = 1.0 / self.focal
        x, y = (-self.center * inverse[:, None]).unbind(1)
        rows = [torch.stack(row, dim=1) for row in ((inverse, zero, x), (zero, inverse, y), (zero, zero, one))]
        return self.rotation @ torch.stack(rows, dim=1)

    @property
    def world_from_camera(self) -> Tensor:
        """(n, 4, 4)."""
        matrices = torch.zeros(len(self.focal), 4, 4, dtype=self.position.dtype, device=self.position.device)
        matrices[:, :3, :3], matrices[:, :3, 3], matrices[:, 3, 3] = self.rotation, self.position, 1.0
        return matrices

    @property
    def intrinsics(self) -> Tensor:
        """(n, 3, 3) pinhole matrices."""
        zero, one = torch.zeros_like(self.focal), torch.ones_like(self.focal)
        x, y = self.center.unbind(1)
        rows = [torch.stack(row, dim=1) for row in ((self.focal, zero, x), (zero, self.focal, y), (zero, zero, one))]
        return torch.stack(rows, dim=1)

    def detached(self) -> Geometry:
        return Geometry(*(value.detach() if isinstance(value, Tensor) else value for value in self))


def grouped_transform(points: Tensor, counts: list[int], matrices: Tensor, offsets: Tensor) -> Tensor:
    """matrices[i] @ point + offsets[i] for columns (3, k), the first counts[0] of which belong to i = 0, and so on."""
    groups = zip(points.split(counts, dim=1), matrices.unbind(), offsets[:, :, None].unbind(), strict=True)
    return torch.cat([torch.addmm(offset, matrix, some) for some, matrix, offset in groups], dim=1)


def follow(offset: Tensor, ratio: Tensor) -> Tensor:
    """Depth of pixels over that of their blocks' centres, from that at the base focal; ratio: base focal over focal."""
    return 1.0 + (offset - 1.0) * ratio


class Chain:
    """Multiplies poses along the tree, from the root down, in as many steps as its depth has binary digits."""

    def __init__(self, tree: KinematicTree, device: torch.device) -> None:
        count = len(tree.edges) + 1
        ancestor = np.append(np.where(tree.parents < 0, count, tree.parents), count)
        self._ancestors = []
        while (ancestor[:count] < count).any():
            self._ancestors.append(torch.from_numpy(ancestor).to(device))
            ancestor = ancestor[ancestor]

    def absolute(self, relative: Tensor) -> Tensor:
        """Poses (n, 4, 4) relative to the parents to poses (n, 4, 4) in the world."""
        identity = torch.eye(4, dtype=relative.dtype, device=relative.device)
        poses = torch.cat([relative, identity[None]])
        for ancestor in self._ancestors:
            poses = poses[ancestor] @ poses
        return poses[:-1]


def rotation_matrices(quaternion: Tensor) -> Tensor:
    """Quaternions (n, 4), x y z w, of any length but 0, to rotations (n, 3, 3)."""
    x, y, z, w = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), w * w - x * x + y * y - z * z, 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), w * w - x * x - y * y + z * z],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


class Forward:
    """From parameters to geometry, for one scene.

    depth_mode: "add" (relative depth shifts a block along the ray) or "mul". known_poses: (n, 4, 4) world from
    camera to use instead of the tree's.
    """

    def __init__(
        self, condensed: Condensed, tree: KinematicTree, depth_mode: str = "add", known_poses: Tensor | None = None
    ) -> None:
        if depth_mode not in ("add", "mul"):
            raise ValueError(f"unknown depth mode: {depth_mode}")
        self.condensed, self.depth_mode, self.known_poses = condensed, depth_mode, known_poses
        self._chain = Chain(tree, condensed.core.device)
        diagonal = condensed.size.norm(dim=1)
        self._focal_limits = FOCAL_RANGE[0] * diagonal, FOCAL_RANGE[1] * diagonal

    def __call__(self, parameters: Parameters) -> Geometry:
        data = self.condensed
        focal = parameters.log_focal.exp().expand(data.count).clamp(*self._focal_limits)
        center = parameters.center.expand(data.count, 2)
        size = parameters.log_size.exp()
        plane = size * data.median_depth * focal / data.base_focal
        scale = 1.0 / size.min() if self.known_poses is None else torch.ones_like(size[0])
        rotation, position = self._cameras(parameters, focal, center, plane, scale)
        image = data.block_image
        if self.depth_mode == "add":
            depth = plane[image] + (parameters.core - 1.0) * (data.median_depth * size)[image]
        else:
            depth = plane[image] * parameters.core
        counts = data.anchors_per_image
        geometry = Geometry(focal, center * data.size, rotation, position, scale * depth, data.anchor_pixel, counts)
        return geometry._replace(world_points=self.anchor_points(geometry))

    def anchor_points(self, geometry: Geometry) -> Tensor:
        """(3, M) world points of the anchors as the cameras and depths of a geometry have them."""
        data = self.condensed
        counts = data.anchors_per_image
        depths = geometry.depth.index_select(0, data.anchor_block).split(counts)
        pixels, offsets = data.anchor_pixel.split(counts, dim=1), data.anchor_offset.split(counts)
        ratios = (data.base_focal / geometry.focal).unbind()
        points = []
        for number, (ray, position) in enumerate(zip(geometry.rays().unbind(), geometry.position[:, :, None].unbind())):
            depth = depths[number] * follow(offsets[number], ratios[number])
            points.append(torch.addcmul(position, ray @ pixels[number], depth))
        return torch.cat(points, dim=1)

    def _cameras(
        self, parameters: Parameters, focal: Tensor, center: Tensor, plane: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.known_poses is not None:
            return self.known_poses[:, :3, :3], self.known_poses[:, :3, 3]
        rotation = rotation_matrices(parameters.quaternion)
        top = torch.cat([rotation, parameters.translation[:, :, None]], dim=2)
        last = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(top), 1, 4)
        poses = self._chain.absolute(torch.cat([top, last], dim=1))
        rotation, pivot = poses[:, :3, :3], poses[:, :3, 3]
        aside = self.condensed.size / focal[:, None] * (0.5 - center)
        arm = plane[:, None] * torch.cat([aside, torch.ones_like(plane)[:, None]], dim=1)
        return rotation, scale * (pivot - (rotation @ arm[:, :, None])[:, :, 0])
