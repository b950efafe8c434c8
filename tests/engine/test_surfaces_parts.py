"""Surfaces, part by part: the grid of keys, surface nets, connected parts, simplification, colours."""

from __future__ import annotations

import numpy as np
import pytest

from blender_3r.engine.reconstruction import Intrinsics
from blender_3r.engine.surfaces.colors import paint
from blender_3r.engine.surfaces.grid import BLOCK, LARGEST, neighbour_blocks, pack, unpack
from blender_3r.engine.surfaces.mesh import Mesh, face_normals, part_of_vertices, vertex_normals, without_specks
from blender_3r.engine.surfaces.nets import extract
from blender_3r.engine.surfaces.simplify import simplified
from blender_3r.engine.surfaces.views import ViewMap


def ball(radius: float = 9.3, blocks_around: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Blocks and the distance to a sphere about (1, 2, 3), cut at 4 voxels as a fusion does."""
    places = np.stack(np.meshgrid(*[np.arange(-blocks_around, blocks_around)] * 3, indexing="ij"), axis=-1)
    blocks = np.sort(pack(places.reshape(-1, 3)))
    inner = np.stack(np.meshgrid(*[np.arange(BLOCK)] * 3, indexing="ij"), axis=-1)
    samples = unpack(blocks)[:, None, None, None] * BLOCK + inner
    distance = np.linalg.norm(samples - np.array([1, 2, 3]), axis=-1) - radius
    return blocks, np.clip(distance / 4, -1, 1).astype(np.float32)


def edge_counts(faces: np.ndarray) -> np.ndarray:
    """How many faces share each edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def test_keys_sort_and_come_back():
    places = np.random.default_rng(0).integers(-LARGEST, LARGEST, (1000, 3))
    keys = pack(places)
    assert (unpack(keys) == places).all()
    order = np.lexsort((places[:, 2], places[:, 1], places[:, 0]))
    assert (np.argsort(keys) == order).all()
    blocks = np.array(sorted(pack(np.array([[0, 0, 0], [-1, 0, 0], [0, 1, -1]]))))
    index, there = neighbour_blocks(blocks, blocks, np.array([1, 0, 0]))
    assert there.tolist() == [True, False, False]
    assert unpack(blocks[index[0]]).tolist() == [0, 0, 0]


def test_a_sphere_comes_out_round_closed_and_turned_outwards():
    blocks, field = ball()
    mesh = extract(blocks, field, np.ones(field.shape, bool))
    radii = np.linalg.norm(mesh.vertices - (1, 2, 3), axis=1)
    assert np.abs(radii - 9.3).max() < 0.1
    assert (edge_counts(mesh.faces) == 2).all()
    normals = face_normals(mesh.vertices, mesh.faces)
    outwards = mesh.vertices[mesh.faces].mean(axis=1) - (1, 2, 3)
    assert ((normals * outwards).sum(axis=1) > 0).all()
    area = np.linalg.norm(normals, axis=1).sum() / 2
    assert area == pytest.approx(4 * np.pi * 9.3**2, rel=0.01)
    smooth = vertex_normals(mesh)
    assert np.abs((smooth * smooth).sum(axis=1) - 1).max() < 1e-5
    assert ((smooth * (mesh.vertices - (1, 2, 3))).sum(axis=1) / radii).min() > 0.98


def test_no_surface_where_samples_are_unknown_or_jump():
    blocks, field = ball()
    known = np.ones(field.shape, bool)
    known[: len(known) // 2] = False  # blocks of the smaller x
    half = extract(blocks, field, known)
    assert half.vertices[:, 0].min() >= 0
    whole = extract(blocks, field, np.ones(field.shape, bool))
    assert 0.3 < len(half.faces) / len(whole.faces) < 0.7
    cliff = np.where(field < 0, np.float32(-1), np.float32(1))  # two views that contradict each other, and no surface
    assert len(extract(blocks, cliff, np.ones(field.shape, bool)).faces) == 0


def test_nothing_in_nothing_out():
    blocks = pack(np.zeros((1, 3), np.int64))
    mesh = extract(blocks, np.ones((1, BLOCK, BLOCK, BLOCK), np.float32), np.ones((1, BLOCK, BLOCK, BLOCK), bool))
    assert mesh.vertices.shape == mesh.faces.shape == (0, 3)
    assert without_specks(mesh, 0.5, 10) is mesh


def test_parts_are_told_apart_and_small_ones_go():
    rng = np.random.default_rng(1)
    parts, faces, start = [400, 30, 3], [], 0
    for size in parts:  # a chain of triangles each
        strip = np.arange(size - 2)[:, None] + [0, 1, 2] + start
        faces.append(strip)
        start += size
    number = rng.permutation(start)
    faces = number[np.concatenate(faces)][rng.permutation(start - 2 * len(parts))]
    part = part_of_vertices(start, faces)
    assert sorted(np.unique(part, return_counts=True)[1].tolist()) == sorted(parts)
    mesh = Mesh(rng.random((start, 3)).astype(np.float32), faces.astype(np.int32), np.zeros((start, 3), np.uint8))
    kept = without_specks(mesh, 0.05, 5)
    assert (len(kept.vertices), len(kept.faces)) == (430, 426)
    assert len(without_specks(mesh, 0.05, 100).faces) == 398
    assert len(kept.color) == 430


def test_simplified_keeps_shape_and_budget():
    blocks, field = ball()
    mesh = extract(blocks, field, np.ones(field.shape, bool))
    small = simplified(mesh, 300)
    assert 200 <= len(small.faces) <= 300
    assert np.abs(np.linalg.norm(small.vertices - (1, 2, 3), axis=1) - 9.3).max() < 0.5
    normals = face_normals(small.vertices, small.faces)
    assert ((normals * (small.vertices[small.faces].mean(axis=1) - (1, 2, 3))).sum(axis=1) > 0).mean() > 0.99
    assert simplified(mesh, len(mesh.faces)).faces is mesh.faces


def test_colours_come_from_what_sees_a_vertex_and_spread_to_what_nothing_sees():
    mesh = Mesh(np.float32([[0, 0, 2], [1, 0, 2], [1, 1, 2], [9, 9, 2]]), np.int32([[0, 1, 2], [1, 3, 2]]))
    normals = np.tile(np.float32([0, 0, -1]), (4, 1))

    def view(depth: float, color: int) -> ViewMap:
        flat = np.full(16, depth, np.float32)
        return ViewMap(
            4,
            4,
            Intrinsics(4, 4, 2.0, 2.0, 1.5, 1.5),
            np.eye(4, dtype=np.float32),
            flat,
            np.zeros((16, 3), np.float32),
            np.tile(np.float32([0, 0, -1]), (16, 1)),
            np.ones(16, np.float32),
            np.full((16, 3), color, np.uint8),
            4,
            flat,
        )

    painted = paint(mesh, normals, [view(2.0, 200), view(5.0, 10)], 0.1)  # the second one looks at something behind
    assert (painted.color == 200).all()
    assert (paint(mesh, normals, [], 0.1).color == 128).all()
    assert (paint(mesh, -normals, [view(2.0, 200)], 0.1).color == 128).all(), "from behind"
