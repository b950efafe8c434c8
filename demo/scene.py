"""The demo scene: a small courtyard of brick, plaster and stone with pots, crates and leaves. Metres, Z up."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import materials
import numpy as np
from mathutils import Euler

RANDOM_SEED = 7


def add_mesh(
    name: str,
    vertices: Sequence[Sequence[float]],
    faces: Sequence[Sequence[int]],
    material: bpy.types.Material,
    location: Sequence[float] = (0, 0, 0),
    rotation: Sequence[float] = (0, 0, 0),
) -> bpy.types.Object:
    """A mesh object at its place, in the scene."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([tuple(map(float, v)) for v in vertices], [], [tuple(map(int, f)) for f in faces])
    mesh.materials.append(material)
    made = bpy.data.objects.new(name, mesh)
    made.location, made.rotation_euler = location, rotation
    bpy.context.scene.collection.objects.link(made)
    return made


def add_box(
    name: str,
    size: Sequence[float],
    location: Sequence[float],
    material: bpy.types.Material,
    rotation: Sequence[float] = (0, 0, 0),
) -> bpy.types.Object:
    """A box standing on location, with metric UVs: u along the longer side of each face."""
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    corners = [(i * x, j * y, k * z) for k in (0, 1) for j in (-1, 1) for i in (-1, 1)]
    faces = [(0, 1, 5, 4), (3, 2, 6, 7), (1, 3, 7, 5), (2, 0, 4, 6), (4, 5, 7, 6), (2, 3, 1, 0)]
    box = add_mesh(name, corners, faces, material, location, rotation)
    layer = box.data.uv_layers.new()
    shift = np.random.default_rng(abs(hash_name(name))).uniform(0, 20, 2)
    for face in box.data.polygons:
        points = np.array([corners[v] for v in face.vertices])
        side, up = points[1] - points[0], points[3] - points[0]
        if np.linalg.norm(up) > 3 * np.linalg.norm(side):
            side, up = up, side
        directions = np.stack([side / np.linalg.norm(side), up / np.linalg.norm(up)])
        for loop, uv in zip(face.loop_indices, (points - points[0]) @ directions.T + shift):
            layer.data[loop].uv = uv
    return box


def hash_name(name: str) -> int:
    """The same for every run, unlike hash()."""
    return int.from_bytes(name.encode()[-6:], "little")


def add_turned(
    name: str, profile: Sequence[tuple[float, float]], location: Sequence[float], material: bpy.types.Material
) -> bpy.types.Object:
    """A body of revolution about Z. profile: (radius, height) from the bottom up."""
    sides = 40
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    vertices = [(r * np.cos(a), r * np.sin(a), h) for r, h in profile for a in angles]
    faces = [
        (i * sides + j, i * sides + (j + 1) % sides, (i + 1) * sides + (j + 1) % sides, (i + 1) * sides + j)
        for i in range(len(profile) - 1)
        for j in range(sides)
    ]
    body = add_mesh(name, vertices, faces, material, location)
    body.data.shade_smooth()
    return body


def add_leaves(
    name: str, places: np.ndarray, outward: np.ndarray, size: float, material: bpy.types.Material, seed: int
) -> bpy.types.Object:
    """Folded leaves at places (n, 3), growing along outward (n, 3)."""
    rng = np.random.default_rng(seed)
    vertices, faces = [], []
    blade = np.array([(0, 0, 0), (-0.32, 0.45, 0.1), (0, 0.5, 0), (0.32, 0.45, 0.1), (0, 1, -0.12)])
    for place, direction in zip(places, outward):
        along = direction + rng.normal(0, 0.55, 3)
        along /= np.linalg.norm(along)
        across = np.cross(along, rng.normal(size=3))
        across /= np.linalg.norm(across)
        frame = np.stack([across, along, np.cross(across, along)])
        start = len(vertices)
        vertices += list(place + blade @ frame * size * rng.uniform(0.6, 1.3))
        faces += [(start, start + 2, start + 4, start + 1), (start, start + 3, start + 4, start + 2)]
    return add_mesh(name, vertices, faces, material)


def build() -> None:
    """Everything but the camera, in the current (empty) scene."""
    _walls()
    _door_and_window()
    _pots()
    _crates()
    _plates_and_rug()
    _statue()
    _greenery()
    _light()


def _walls() -> None:
    paving = materials.masonry(
        "Paving", ((0.42, 0.30, 0.20), (0.62, 0.50, 0.38)), (0.10, 0.085, 0.07), (0.46, 0.3), 0.014, 0.02
    )
    brick = materials.masonry(
        "Brick", ((0.40, 0.13, 0.07), (0.62, 0.30, 0.17)), (0.45, 0.40, 0.34), (0.25, 0.085), 0.011, 0.02
    )
    blocks = materials.masonry(
        "Blocks", ((0.42, 0.40, 0.36), (0.62, 0.56, 0.47)), (0.2, 0.18, 0.16), (0.52, 0.26), 0.016, 0.03
    )
    ochre = materials.plaster("Ochre", (0.86, 0.56, 0.22), (0.52, 0.27, 0.10), (0.16, 0.09, 0.05))
    add_box("Floor", (9, 9, 0.2), (0, -1, -0.2), paving)
    add_box("Wall back", (7, 0.3, 3.6), (0.4, 2.75, 0), brick)
    add_box("Wall left", (0.3, 8, 3.6), (-2.75, -0.9, 0), ochre)
    add_box("Wall right", (0.3, 8, 3.6), (3.55, -0.9, 0), blocks)
    stone = materials.stone("Step stone", (0.60, 0.55, 0.47), (0.30, 0.26, 0.22))
    add_box("Step", (1.5, 0.45, 0.14), (0.55, 2.4, 0), stone)
    add_box("Plinth", (0.46, 0.46, 0.62), (-0.75, 1.95, 0), stone, (0, 0, 0.2))


def _door_and_window() -> None:
    stone = materials.stone("Frame stone", (0.68, 0.62, 0.52), (0.36, 0.31, 0.25))
    blue = materials.wood("Blue planks", (0.30, 0.20, 0.12), (0.16, 0.10, 0.06), (0.05, 0.22, 0.34))
    iron = materials.stone("Iron", (0.10, 0.09, 0.08), (0.03, 0.03, 0.03))
    for x in (-0.12, 1.22):
        add_box(f"Door post {x}", (0.18, 0.14, 2.3), (x, 2.56, 0.14), stone)
    add_box("Door lintel", (1.62, 0.16, 0.24), (0.55, 2.56, 2.44), stone)
    for n in range(7):
        add_box(f"Door plank {n}", (0.160, 0.05, 2.28), (0.055 + n * 0.165, 2.6, 0.14), blue)
    for z in (0.5, 1.35, 2.1):
        add_box(f"Hinge {z}", (0.75, 0.02, 0.05), (0.36, 2.565, z), iron)
    green = materials.wood("Shutter planks", (0.34, 0.24, 0.15), (0.18, 0.12, 0.07), (0.16, 0.30, 0.16))
    add_box("Sill", (1.0, 0.2, 0.1), (2.35, 2.54, 1.05), stone)
    for side in (0, 1):
        for n in range(6):
            slope = (0.5, 0, 0)
            add_box(f"Slat {side} {n}", (0.4, 0.02, 0.13), (2.13 + side * 0.44, 2.58, 1.2 + n * 0.16), green, slope)
        for n in (0, 1):
            add_box(f"Stile {side} {n}", (0.05, 0.05, 1.05), (1.93 + side * 0.44 + n * 0.4, 2.57, 1.17), green)


def _pots() -> None:
    red = materials.clay("Red clay", (0.62, 0.25, 0.12), (0.86, 0.66, 0.44), 5.0)
    white = materials.clay("White clay", (0.78, 0.72, 0.62), (0.12, 0.20, 0.36), 8.0)
    teal = materials.glaze("Teal", [(0.1, (0.85, 0.78, 0.6)), (0.25, (0.05, 0.30, 0.30)), (0.6, (0.02, 0.12, 0.16))], 9)
    jar = [(0.001, 0), (0.15, 0), (0.24, 0.18), (0.27, 0.36), (0.2, 0.56), (0.11, 0.66), (0.13, 0.74), (0.1, 0.74)]
    planter = [
        (0.001, 0),
        (0.17, 0),
        (0.24, 0.36),
        (0.28, 0.36),
        (0.28, 0.43),
        (0.24, 0.43),
        (0.22, 0.34),
        (0.001, 0.34),
    ]
    bowl = [(0.001, 0), (0.08, 0), (0.17, 0.07), (0.2, 0.14), (0.185, 0.14), (0.001, 0.05)]
    add_turned("Jar tall", [(1.2 * r, 1.25 * h) for r, h in jar], (-1.75, 1.6, 0), white)
    add_turned("Jar small", [(0.8 * r, 0.8 * h) for r, h in jar], (-1.3, 1.15, 0), teal)
    add_turned("Planter left", planter, (-2.15, 0.55, 0), red)
    add_turned("Planter door", planter, (1.62, 2.2, 0), red)
    add_turned("Planter right", [(1.3 * r, 1.3 * h) for r, h in planter], (2.85, 1.1, 0), red)
    add_turned("Jar near", [(0.7 * r, 0.7 * h) for r, h in jar], (2.25, 0.35, 0), white)
    add_turned("Bowl", bowl, (1.72, 1.3, 0.47), teal)


def _crates() -> None:
    pale = materials.wood("Pale planks", (0.62, 0.44, 0.26), (0.36, 0.22, 0.11))
    peel = materials.glaze("Orange peel", [(0.0, (0.95, 0.42, 0.05)), (0.5, (0.80, 0.26, 0.02))], 60)
    rng = np.random.default_rng(RANDOM_SEED)
    for n, (x, y, turn) in enumerate([(1.75, 1.25, 0.35), (2.3, 1.75, -0.15)]):
        for level in range(3):
            for side in range(4):
                angle = turn + side * np.pi / 2
                place = (x + 0.28 * np.sin(angle), y - 0.28 * np.cos(angle), 0.02 + level * 0.15)
                add_box(f"Crate {n} {level} {side}", (0.58, 0.025, 0.125), place, pale, (0, 0, angle))
        add_box(f"Crate top {n}", (0.52, 0.52, 0.02), (x, y, 0.34 if n else 0.45), pale, (0, 0, turn))
    for n in range(9):
        x, y = 2.3 + (n % 3 - 1) * 0.15, 1.75 + (n // 3 - 1) * 0.15
        ball = [(0.075 * np.sin(t), 0.075 - 0.075 * np.cos(t)) for t in np.linspace(0.01, np.pi - 0.01, 14)]
        add_turned(f"Orange {n}", ball, (x + rng.normal(0, 0.01), y, 0.36 + rng.uniform(0, 0.03)), peel)
    bench = materials.wood("Bench planks", (0.45, 0.28, 0.15), (0.22, 0.12, 0.06))
    for n in range(3):
        add_box(f"Bench {n}", (0.12, 1.5, 0.04), (-2.42 + n * 0.13, -0.75, 0.44), bench)
    for y in (-1.35, -0.15):
        add_box(f"Bench leg {y}", (0.34, 0.07, 0.44), (-2.29, y, 0), bench)


def _plates_and_rug() -> None:
    rim = [(0.001, 0), (0.1, 0.0), (0.17, 0.025), (0.18, 0.03), (0.17, 0.035), (0.1, 0.012), (0.001, 0.012)]
    palettes = [
        [(0.1, (0.9, 0.85, 0.7)), (0.3, (0.08, 0.18, 0.45)), (0.6, (0.85, 0.75, 0.55))],
        [(0.1, (0.75, 0.2, 0.1)), (0.3, (0.92, 0.86, 0.7)), (0.6, (0.1, 0.35, 0.3))],
        [(0.1, (0.95, 0.7, 0.2)), (0.35, (0.12, 0.25, 0.4)), (0.6, (0.9, 0.88, 0.8))],
    ]
    glazes = [materials.glaze(f"Plate {n}", stops, 13 + 4 * n) for n, stops in enumerate(palettes)]
    for n, (y, z) in enumerate([(1.9, 1.75), (1.35, 2.15), (1.4, 1.5), (0.8, 1.85), (0.2, 1.55), (0.25, 2.2)]):
        plate = add_turned(f"Plate {n}", rim, (-2.6, y, z), glazes[n % 3])
        plate.rotation_euler = (0, np.pi / 2, n)
    stripes = [(0.0, (0.55, 0.08, 0.06)), (0.3, (0.85, 0.7, 0.45)), (0.5, (0.1, 0.16, 0.3)), (0.8, (0.7, 0.3, 0.1))]
    add_box("Rug", (0.75, 1.1, 0.012), (3.38, -0.2, 1.15), materials.glaze("Kilim", stripes, 6), (0, -np.pi / 2, 0))


def _statue() -> None:
    bpy.ops.mesh.primitive_monkey_add(size=0.54, location=(-0.75, 1.9, 0.86), rotation=(-0.05, 0, 0.3))
    head = bpy.context.object
    head.modifiers.new("Smooth", "SUBSURF").render_levels = 2
    head.data.materials.append(materials.stone("Marble", (0.74, 0.70, 0.62), (0.46, 0.40, 0.33)))
    head.data.shade_smooth()


def _greenery() -> None:
    rng = np.random.default_rng(RANDOM_SEED)
    green = materials.foliage("Green", [(0, (0.05, 0.14, 0.03)), (0.5, (0.14, 0.30, 0.05)), (1, (0.34, 0.42, 0.10))])
    autumn = materials.foliage("Ivy", [(0, (0.06, 0.15, 0.04)), (0.6, (0.20, 0.30, 0.06)), (1, (0.50, 0.14, 0.05))])
    for n, (x, y, z, spread) in enumerate([(-2.15, 0.55, 0.4, 0.3), (1.62, 2.2, 0.4, 0.28), (2.85, 1.1, 0.5, 0.38)]):
        direction = rng.normal(size=(260, 3))
        direction[:, 2] = np.abs(direction[:, 2]) + 0.3
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        places = np.array([x, y, z]) + direction * spread * rng.uniform(0.15, 1, (260, 1)) * (1, 1, 1.3)
        add_leaves(f"Plant {n}", places, direction, 0.16, green, n)
    vines = []
    for start in ((-2.5, 2.58), (-1.9, 2.58), (3.3, 2.58), (1.6, 2.58)):
        x, z = start[0], 3.3
        for _ in range(110):
            x, z = x + rng.normal(0, 0.05), z - rng.uniform(0.0, 0.028)
            vines += [(x + rng.normal(0, 0.07), start[1], z + rng.normal(0, 0.05)) for _ in range(3)]
    places = np.array(vines)
    places = places[(places[:, 2] > 0.9) & (np.abs(places[:, 0] - 0.55) > 0.95)]
    outward = np.tile([0.0, -0.7, -0.5], (len(places), 1))
    add_leaves("Ivy", places, outward, 0.13, autumn, 11)


def _light() -> None:
    scene = bpy.context.scene
    world = bpy.data.worlds.new("Sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.52, 0.66, 0.92, 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.75
    scene.world = world
    sun = bpy.data.lights.new("Sun", "SUN")
    sun.energy, sun.angle, sun.color = 4.2, 0.02, (1.0, 0.86, 0.68)
    lamp = bpy.data.objects.new("Sun", sun)
    lamp.rotation_euler = Euler((np.radians(50), 0, np.radians(-22)))
    scene.collection.objects.link(lamp)
