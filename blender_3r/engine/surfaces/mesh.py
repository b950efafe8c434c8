"""A triangle mesh as arrays, and what every triangle mesh can be asked: normals, parts, a smaller copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """vertices (n, 3) float32 in the engine's world. faces (m, 3) int32, counter-clockwise seen from outside.

    color (n, 3) uint8 sRGB, or None while it is not known.
    """

    vertices: np.ndarray
    faces: np.ndarray
    color: np.ndarray | None = None

    def keep_faces(self, keep: np.ndarray) -> Mesh:
        """The mesh of some faces, keep (m,) bool, with the vertices they use."""
        faces = self.faces[keep]
        used = np.zeros(len(self.vertices), dtype=bool)
        used[faces] = True
        number = (np.cumsum(used) - 1).astype(np.int32)
        return Mesh(self.vertices[used], number[faces], None if self.color is None else self.color[used])


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(m, 3) float32, as long as twice the face's area."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(mesh: Mesh) -> np.ndarray:
    """(n, 3) float32 unit normals: of the faces around a vertex, each as much as its area. 0 where there are none."""
    normals = face_normals(mesh.vertices, mesh.faces)
    total = np.zeros((len(mesh.vertices), 3), dtype=np.float32)
    for axis in range(3):
        for corner in range(3):
            total[:, axis] += np.bincount(mesh.faces[:, corner], normals[:, axis], len(total)).astype(np.float32)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return total / np.where(length > 0, length, 1)


def part_of_vertices(count: int, faces: np.ndarray) -> np.ndarray:
    """(count,) int64: the smallest number among the vertices of the same connected part."""
    return parts_of(count, *np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]]).T)


def parts_of(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(count,) int64: of each thing the smallest number in its connected part; first and second (e,) are linked.

    Hook and shortcut: every thing points to a smaller one of its part, and chains are cut short until nothing moves.
    """
    label = np.arange(count)
    first, second = first.astype(np.int64), second.astype(np.int64)
    while True:
        low = np.minimum(label[first], label[second])
        high = np.maximum(label[first], label[second])
        apart = low < high
        if not apart.any():
            return label
        first, second, low, high = first[apart], second[apart], low[apart], high[apart]
        np.minimum.at(label, high, low)
        while (shorter := label[label]).sum() != label.sum():
            label = shorter


def without_specks(mesh: Mesh, share: float, fewest: int) -> Mesh:
    """The mesh without connected parts of less than a share of the faces of the largest, or of fewer than that."""
    if not len(mesh.faces):
        return mesh
    part = part_of_vertices(len(mesh.vertices), mesh.faces)[mesh.faces[:, 0]]
    size = np.bincount(part)
    return mesh.keep_faces(size[part] >= max(fewest, share * size.max()))
