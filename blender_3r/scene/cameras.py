"""Solved views to Blender cameras: one animated camera for footage, one camera per photo.

Formula (exact in `world_to_camera_view`): with sensor fit AUTO Blender lays the sensor width over the longer side of
the picture, counted in units of the render's pixel aspect; shifts are in units of that side, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from ..engine.reconstruction import Intrinsics, View
from . import compat, tags

SENSOR_WIDTH = 36.0
_OPENCV_FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])
_SAME_SHIFT_PX = 0.005  # principal points closer than this are one


@dataclass(frozen=True)
class BlenderLens:
    """lens in mm for SENSOR_WIDTH; aspect_x, aspect_y: the render's pixel aspect this lens is for."""

    lens: float
    shift_x: float
    shift_y: float
    aspect_x: float
    aspect_y: float


@dataclass(frozen=True)
class Keys:
    """Where keys go: scene frames, ascending, and which of them are not solved but interpolated. held: a value stays
    until the next key."""

    frames: Sequence[int]
    interpolated: Sequence[bool]
    held: bool = False


def pixel_aspect(ratio: float) -> tuple[float, float]:
    """The render's pixel aspect (x, y), both at least 1, for fx / fy = ratio."""
    if abs(ratio - 1.0) < 1e-7:
        return 1.0, 1.0
    return (1.0, ratio) if ratio > 1.0 else (1.0 / ratio, 1.0)


def blender_lens(intrinsics: Intrinsics, ratio: float | None = None) -> BlenderLens:
    """The pinhole part of intrinsics as Blender states it; distortion is left out.

    ratio: fx / fy of the whole shot, where one frame's own may differ by noise; the render has one pixel aspect.
    """
    fx, fy, width, height = intrinsics.fx, intrinsics.fy, intrinsics.width, intrinsics.height
    ax, ay = pixel_aspect(fx / fy if ratio is None else ratio)
    longer = max(width * ax, height * ay)
    return BlenderLens(
        lens=np.sqrt(fx * ax * fy * ay) * SENSOR_WIDTH / longer,
        shift_x=(width / 2 - intrinsics.cx) * ax / longer,
        shift_y=(intrinsics.cy - height / 2) * ay / longer,
        aspect_x=ax,
        aspect_y=ay,
    )


def blender_matrix(world_from_camera: np.ndarray) -> Matrix:
    """An OpenCV pose as the matrix of a Blender camera (x right, y up, looking along -z)."""
    return Matrix((world_from_camera @ _OPENCV_FROM_BLENDER).tolist())


def continuous_quaternions(matrices: Sequence[Matrix]) -> np.ndarray:
    """Rotations (n, 4) wxyz, each in the sign that lies nearer to the one before, so that keys never spin."""
    rotations = np.array([matrix.to_quaternion() for matrix in matrices])
    turns = np.where(np.einsum("ij,ij->i", rotations[1:], rotations[:-1]) < 0, -1.0, 1.0)
    rotations[1:] *= np.cumprod(turns)[:, None]
    return rotations


def write_animated_camera(
    camera: bpy.types.Object, views: Sequence[View], frames: Sequence[int], tripod: bool, held: bool = False
) -> None:
    """Put location, rotation and lens of the solved views on camera as keys at the given scene frames, LINEAR.

    frames: ascending. A frame that is not solved gets no key, so time never shifts; keys of interpolated views are
    breakdowns, which look different in every animation editor. tripod: the place is fixed. What does not change (one
    focal, one principal point) is a plain value without keys. held: the camera jumps from key to key instead.
    """
    keys = Keys(frames, [view.interpolated for view in views], held)
    matrices = [blender_matrix(view.world_from_camera) for view in views]
    places = np.array([matrix.translation for matrix in matrices])
    rotations = continuous_quaternions(matrices)
    camera.rotation_mode = "QUATERNION"
    camera.scale = (1.0, 1.0, 1.0)
    _set_values(camera, "location", keys, places, varies=not tripod)
    _set_values(camera, "rotation_quaternion", keys, rotations, varies=True)

    ratio = shot_ratio(views)
    lenses = [blender_lens(view.intrinsics, ratio) for view in views]
    focals = np.array([lens.lens for lens in lenses])
    data = camera.data
    _set_sensor(data)
    _set_values(data, "lens", keys, focals, varies=np.ptp(focals) > 1e-6 * focals.mean())
    longer = max(views[0].intrinsics.width, views[0].intrinsics.height)
    for name in ("shift_x", "shift_y"):
        shifts = np.array([getattr(lens, name) for lens in lenses])
        _set_values(data, name, keys, shifts, varies=np.ptp(shifts) * longer > _SAME_SHIFT_PX)
    _write_facts(data, views[len(views) // 2].intrinsics)


def write_photo_camera(camera: bpy.types.Object, view: View) -> None:
    """Put pose and lens of one photo on camera, without keys."""
    camera.rotation_mode = "QUATERNION"
    matrix = blender_matrix(view.world_from_camera)
    camera.location, camera.rotation_quaternion = matrix.translation, matrix.to_quaternion()
    camera.scale = (1.0, 1.0, 1.0)
    lens = blender_lens(view.intrinsics)
    _set_sensor(camera.data)
    camera.data.lens, camera.data.shift_x, camera.data.shift_y = lens.lens, lens.shift_x, lens.shift_y
    _write_facts(camera.data, view.intrinsics)


def shot_ratio(views: Sequence[View]) -> float:
    """fx / fy of the whole shot."""
    return float(np.median([view.intrinsics.fx / view.intrinsics.fy for view in views]))


def set_depth_range(data: bpy.types.Camera, depth: float, scale: float, share: float) -> None:
    """Clipping, and the size of the camera's drawing as a share of depth, for points at about depth engine units.

    scale: the root's. Blender scales the drawing with the camera's parents, but clips in units of the scene.
    """
    data.display_size = share * depth
    data.clip_start = min(0.1, 0.01 * depth * scale)
    data.clip_end = max(1000.0, 100.0 * depth * scale)


def _set_sensor(data: bpy.types.Camera) -> None:
    data.type = "PERSP"
    data.sensor_fit = "AUTO"
    data.sensor_width = SENSOR_WIDTH


def _write_facts(data: bpy.types.Camera, intrinsics: Intrinsics) -> None:
    """The solved lens in pixels, distortion included, where scripts and look_through find it."""
    for name in ("width", "height", "fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"):
        data[f"threer_{name}"] = getattr(intrinsics, name)


def _set_values(block: bpy.types.ID, path: str, keys: Keys, values: np.ndarray, varies: bool | np.bool_) -> None:
    """values (n,) or (n, k) of a property: keys if it varies, else the median as its plain value."""
    rows = values.reshape(len(values), -1)
    plain = rows[0] if varies else np.median(rows, axis=0)
    setattr(block, path, plain.tolist() if values.ndim > 1 else float(plain[0]))
    animation = block.animation_data
    if not varies and (animation is None or animation.action is None):
        return
    curves = compat.fcurves_of(block, f"{block.name} Action")
    action = block.animation_data.action
    tags.set_tag(action, block[tags.JOB], "action", block.get(tags.VIEW, ""))
    for index in range(rows.shape[1]):
        old = curves.find(path, index=index)
        if old is not None:
            curves.remove(old)
        if varies:
            write_keys(curves.new(path, index=index), keys, rows[:, index])


def write_keys(curve: bpy.types.FCurve, keys: Keys, values: np.ndarray) -> None:
    """values (n,) as the keys of a curve that has none."""
    enums = bpy.types.Keyframe.bl_rna.properties
    between_keys = enums["interpolation"].enum_items["CONSTANT" if keys.held else "LINEAR"].value
    solved, between = (enums["type"].enum_items[name].value for name in ("KEYFRAME", "BREAKDOWN"))
    points = curve.keyframe_points
    points.add(len(values))
    points.foreach_set("co", np.column_stack([keys.frames, values]).astype(np.float32).ravel())
    points.foreach_set("interpolation", [between_keys] * len(values))
    points.foreach_set("type", [between if guessed else solved for guessed in keys.interpolated])
    curve.update()
