"""What the demo puts into an imported shot: a cube on the floor, and a view of the cloud from outside.

Runs inside Blender (numpy and bpy). World axes are those of the scene; the camera is Blender's (looks along -Z).
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

DEMO_COLLECTION = "Demo"


@dataclass(frozen=True)
class Floor:
    """origin: a point on it. normal: up, unit length. tolerance: how far a point of it may be off."""

    origin: np.ndarray
    normal: np.ndarray
    tolerance: float

    def height(self, points: np.ndarray) -> np.ndarray:
        """Signed heights of points (n, 3) above the floor."""
        return (points - self.origin) @ self.normal


def fit_floor(points: np.ndarray) -> Floor | None:
    """The floor under world points (n, 3), starting from where the import has put it: z = 0.

    None when hardly any points lie there.
    """
    if len(points) < 100:
        return None
    points = points[:: max(1, len(points) // 50_000)]
    spread = float(np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1)))
    floor = Floor(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.015 * spread)
    for _ in range(4):
        on_floor = points[np.abs(floor.height(points)) < floor.tolerance]
        if len(on_floor) < 0.02 * len(points):
            return None
        origin = on_floor.mean(axis=0)
        normal = np.linalg.svd(on_floor - origin, full_matrices=False)[2][2]
        floor = Floor(origin, normal * np.sign(normal[2]), floor.tolerance)
    return floor


def project(scene: bpy.types.Scene, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 2), rows from the top, and depths (n,) of world points (n, 3) through the scene's camera."""
    size = np.array([scene.render.resolution_x, scene.render.resolution_y])
    matrix = np.array(_projection(scene) @ scene.camera.matrix_world.normalized().inverted())
    clip = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    depth = clip[:, 3]
    place = clip[:, :2] / np.where(depth > 0, depth, np.nan)[:, None]
    return (place * (1, -1) + 1) / 2 * size, depth


def _projection(scene: bpy.types.Scene) -> Matrix:
    render = scene.render
    return scene.camera.calc_matrix_camera(
        bpy.context.evaluated_depsgraph_get(),
        x=render.resolution_x,
        y=render.resolution_y,
        scale_x=render.pixel_aspect_x,
        scale_y=render.pixel_aspect_y,
    )


def choose_place(scene: bpy.types.Scene, points: np.ndarray, floor: Floor) -> tuple[np.ndarray, float] | None:
    """A free spot on the floor, well in view, and the side of a cube that looks right there.

    The spot is the one nearest to the lower middle of the picture around which nothing stands.
    """
    pixels, depth = project(scene, points)
    share = pixels / (scene.render.resolution_x, scene.render.resolution_y)
    seen = (depth > 0) & (np.abs(share[:, 0] - 0.5) < 0.3) & (np.abs(share[:, 1] - 0.7) < 0.22)
    level = np.abs(floor.height(points)) < floor.tolerance
    spots = np.flatnonzero(seen & level)
    if not len(spots):
        return None
    spots = spots[np.random.default_rng(1).permutation(len(spots))[:300]]
    sides = 0.2 * depth[spots] * 2 / _projection(scene)[1][1]  # a fifth of the picture's height
    standing = points[floor.height(points) > 3 * floor.tolerance]
    obstacles = np.array(
        [np.count_nonzero(np.linalg.norm(standing - points[s], axis=1) < 1.1 * side) for s, side in zip(spots, sides)]
    )
    distance = np.linalg.norm((share[spots] - (0.47, 0.74)) * (1.6, 1), axis=1)
    chosen = np.argmin(distance + 0.02 * np.minimum(obstacles, 50))
    return points[spots[chosen]], float(sides[chosen])


def collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    """Where the demo's own objects go."""
    made = bpy.data.collections.get(DEMO_COLLECTION)
    if made is None:
        made = bpy.data.collections.new(DEMO_COLLECTION)
        scene.collection.children.link(made)
    return made


def _object(scene: bpy.types.Scene, name: str, data: bpy.types.ID, matrix: Matrix | None = None) -> bpy.types.Object:
    made = bpy.data.objects.new(name, data)
    if matrix is not None:
        made.matrix_world = matrix
    collection(scene).objects.link(made)
    return made


def _frame_on(place: np.ndarray, normal: np.ndarray, towards: np.ndarray) -> Matrix:
    """Axes with Z along normal and Y along towards as far as that is level, at place."""
    z = Vector(normal).normalized()
    y = Vector(towards) - Vector(towards).dot(z) * z
    y = y.normalized() if y.length > 1e-3 else z.orthogonal().normalized()
    return Matrix.LocRotScale(Vector(place), Matrix((y.cross(z), y, z)).transposed().to_quaternion(), None)


def add_cube(
    scene: bpy.types.Scene, place: np.ndarray, side: float, floor: Floor, catches_shadow: bool = True
) -> bpy.types.Object:
    """A checked cube on the floor, with light and, if wanted, a surface that catches its shadow."""
    towards = -np.array(scene.camera.matrix_world.normalized().to_3x3().col[2])
    frame = _frame_on(place - floor.height(place[None])[0] * floor.normal, floor.normal, towards)
    half, corners = side / 2, []
    for z in (0, side):
        corners += [(-half, -half, z), (half, -half, z), (half, half, z), (-half, half, z)]
    mesh = bpy.data.meshes.new("Test cube")
    faces = [(3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    mesh.from_pydata(corners, [], faces)
    mesh.materials.append(_checker(side))
    cube = _object(scene, "Test cube", mesh, frame @ Matrix.Rotation(0.45, 4, "Z"))
    bevel = cube.modifiers.new("Bevel", "BEVEL")
    bevel.width, bevel.segments = 0.03 * side, 3
    if catches_shadow:
        _add_shadow_floor(scene, frame, 4 * side)
    sun = bpy.data.lights.new("Demo sun", "SUN")
    sun.energy, sun.angle, sun.color = 2.3, 0.02, (1.0, 0.88, 0.72)
    direction = Vector((0.29, 0.71, -0.64))
    turn = direction.to_track_quat("-Z", "Y").to_matrix().to_4x4()
    _object(scene, "Demo sun", sun, frame @ turn)
    return cube


def _add_shadow_floor(scene: bpy.types.Scene, frame: Matrix, reach: float) -> None:
    mesh = bpy.data.meshes.new("Shadow floor")
    corners = [(-reach, -reach, 0), (reach, -reach, 0), (reach, reach, 0), (-reach, reach, 0)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    _object(scene, "Shadow floor", mesh, frame).is_shadow_catcher = True


def _checker(side: float) -> bpy.types.Material:
    material = bpy.data.materials.new("Test cube")
    material.use_nodes = True
    tree = material.node_tree
    surface = tree.nodes["Principled BSDF"]
    surface.inputs["Roughness"].default_value = 0.4
    checker = tree.nodes.new("ShaderNodeTexChecker")
    checker.inputs["Scale"].default_value = 4 / side
    checker.inputs["Color1"].default_value = (0.85, 0.24, 0.04, 1)
    checker.inputs["Color2"].default_value = (0.82, 0.80, 0.76, 1)
    place = tree.nodes.new("ShaderNodeTexCoord")
    shift = tree.nodes.new("ShaderNodeMapping")
    shift.inputs["Location"].default_value = (0.001 * side,) * 3  # faces must not lie on the border of two fields
    tree.links.new(place.outputs["Object"], shift.inputs["Vector"])
    tree.links.new(shift.outputs["Vector"], checker.inputs["Vector"])
    tree.links.new(checker.outputs["Color"], surface.inputs["Base Color"])
    return material


def _glow(name: str, color: tuple[float, float, float]) -> bpy.types.Material:
    """A colour that needs no light."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission = tree.nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = (*color, 1)
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])
    return material


def _wire(
    scene: bpy.types.Scene, name: str, lines: list[np.ndarray], thickness: float, material: bpy.types.Material
) -> bpy.types.Object:
    """Polylines (n, 3) as one curve with a round profile."""
    curve = bpy.data.curves.new(name, "CURVE")
    curve.dimensions, curve.bevel_depth = "3D", thickness
    curve.materials.append(material)
    for line in lines:
        spline = curve.splines.new("POLY")
        spline.points.add(len(line) - 1)
        spline.points.foreach_set("co", np.column_stack([line, np.ones(len(line))]).astype(np.float32).ravel())
    return _object(scene, name, curve)


def distance_to(points: np.ndarray, poses: list[Matrix]) -> float:
    """How far the points (n, 3) typically are from the cameras; 1 without points."""
    if not len(points):
        return 1.0
    centre = np.mean([pose.translation for pose in poses], axis=0)
    return float(np.median(np.linalg.norm(points - centre, axis=1)))


def camera_rims(poses: list[Matrix], reach: float, aspect: float) -> np.ndarray:
    """What each camera sees at distance reach: four corners, (n, 4, 3)."""
    half = 0.5 * reach
    corners = [Vector((x * half, y * half / aspect, -reach)) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return np.array([[pose @ corner for corner in corners] for pose in poses])


def add_camera_path(
    scene: bpy.types.Scene, poses: list[Matrix], reach: float, aspect: float, is_video: bool
) -> list[bpy.types.Object]:
    """Cameras as pyramids of length reach: of a video up to six and its way as a line, of photos all."""
    centres = np.array([pose.translation for pose in poses])
    shown = {round(i) for i in np.linspace(0, len(poses) - 1, 6)} if is_video else range(len(poses))
    lines = []
    for apex, rim in zip(centres[list(shown)], camera_rims(poses, reach, aspect)[list(shown)]):
        lines.append(np.array([*rim, rim[0]]))
        lines += [np.array([apex, corner]) for corner in rim]
    pyramids = _wire(scene, "Camera frames", lines, 0.008 * reach, _glow("Camera frames", (0.16, 0.45, 0.9)))
    if not is_video:
        return [pyramids]
    return [_wire(scene, "Camera path", [centres], 0.025 * reach, _glow("Camera path", (1.0, 0.3, 0.04))), pyramids]


def add_outside_view(
    scene: bpy.types.Scene, points: np.ndarray, poses: list[Matrix], rims: np.ndarray, aspect: float
) -> bpy.types.Object:
    """A camera that sees most of the cloud and all cameras (with their rims) from above, behind and beside."""
    up = np.array([0.0, 0.0, 1.0])
    subject = np.concatenate([rims.reshape(-1, 3), [pose.translation for pose in poses]])
    if len(points):
        low, high = np.percentile(points, (3, 97), axis=0)
        core = points[((points >= low) & (points <= high)).all(axis=1)]
        subject = np.concatenate([subject, core[:: max(1, len(core) // 4000)]])
    forward = np.mean([-np.array(pose.to_3x3().col[2]) for pose in poses], axis=0)
    frame = np.array(_frame_on(subject.mean(axis=0), up, forward).to_3x3())
    direction = frame @ np.array([-0.62, 0.9, -0.68])
    direction /= np.linalg.norm(direction)
    data = bpy.data.cameras.new("Outside view")
    camera = _object(scene, "Outside view", data)
    turn = _look(direction, up)
    local = (subject - subject.mean(axis=0)) @ turn
    half = np.tan(data.angle / 2)
    # The smallest distance along the line of sight from which every point falls inside the picture.
    middle = (local[:, :2].min(axis=0) + local[:, :2].max(axis=0)) / 2
    off = np.abs(local[:, :2] - middle) * (1, aspect)
    distance = float(np.max(off.max(axis=1) / half + local[:, 2])) * 1.03
    eye = subject.mean(axis=0) + turn @ np.array([*middle, distance])
    camera.matrix_world = Matrix.Translation(eye) @ Matrix(turn.tolist()).to_4x4()
    data.clip_start, data.clip_end = 0.001 * distance, 20 * distance
    return camera


def _look(direction: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Columns: the axes of a Blender camera that looks along direction."""
    back = -direction
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back], axis=1)
