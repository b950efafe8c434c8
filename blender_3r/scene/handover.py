"""A job in the scene, with what the artist made of it, to other programs by Blender's own exporters.

Exported is a plain copy in a scene of its own, which is removed afterwards: no parents, no scale on a camera, a key on
every frame, meshes in world space. So every program reads the same, and root, sliders and modifiers of the artist's
scene stay out of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from ..engine.errors import EngineError
from . import compat, tags
from .cameras import continuous_quaternions
from .dynamic import FIRST, LAST, copy_moving_display

_LENS = ("lens", "shift_x", "shift_y")
_POINT_VALUES = (
    ("position", "FLOAT_VECTOR", "vector", 3),
    ("Col", "FLOAT_COLOR", "color", 4),
    (FIRST, "INT", "value", 1),
    (LAST, "INT", "value", 1),
)
_PLAYS = ("usd", "alembic")  # what can hold points that differ from frame to frame


@dataclass(frozen=True)
class Handover:
    """One exporter. operator: as "wm.usd_export". suffix: of its files."""

    title: str
    operator: str
    suffix: str
    text: str


FORMATS: dict[str, Handover] = {
    "usd": Handover("USD", "wm.usd_export", ".usdc", "Animated camera, points and surfaces; metres, z up"),
    "alembic": Handover("Alembic", "wm.alembic_export", ".abc", "Animated camera, points and surfaces; metres, y up"),
    "fbx": Handover("FBX", "export_scene.fbx", ".fbx", "Animated camera, points without colors, surfaces; y up"),
    "gltf": Handover("glTF, animated", "export_scene.gltf", ".glb", "Animated camera, points, surfaces; y up"),
}


def export_scene(
    scene: bpy.types.Scene, job: str, format_: str, path: Path, max_points: int = 100_000, surfaces: bool = True
) -> str:
    """Write the job's cameras, points (at most so many) and surfaces as they stand in scene; returns a sentence.

    Points that show at their own frames only are written by those formats that can hold that, at most so many a frame.
    Frame rate, unit scale, picture size and frame numbers are the scene's; camera keys go from the first to the last
    frame of the scene. Raises EngineError when nothing of the job is there or the exporter fails.
    """
    chosen = FORMATS[format_]
    exporter = _operator(chosen)
    items = tags.objects_of(scene, job)
    cameras = [item for (role, _), item in items.items() if role == "camera"]
    if not cameras:
        raise EngineError("input", "No camera of this reconstruction is in the scene.", "Import the job first.")
    kinds = ("points", *(("moving",) if format_ in _PLAYS else ()), *(("surface", "view surface") if surfaces else ()))
    meshes = [item for (role, _), item in items.items() if role in kinds]
    left_out = ("moving", "") in items and format_ not in _PLAYS
    scene.view_layers[0].update()  # world matrices, after a script has moved something
    with _copy_scene(scene, cameras, meshes, max_points) as copy:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with bpy.context.temp_override(scene=copy, view_layer=copy.view_layers[0]):
                done = exporter(filepath=str(path), **_options(format_, exporter, copy))
        except RuntimeError as error:
            raise EngineError("machine", f"{chosen.title} export failed: {error}", "Choose another place.") from error
        if "FINISHED" not in done or not path.is_file():
            raise EngineError("machine", f"{chosen.title} wrote no file {path}.", "Choose another place.")
    text = f"Wrote {path.name}: {_count(len(cameras), 'camera')}, {_count(len(meshes), 'mesh', 'meshes')}."
    return f"{text} What moves is left out: {chosen.title} cannot hold it." if left_out else text


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _operator(chosen: Handover) -> Callable[..., set[str]]:
    module, name = chosen.operator.split(".")
    operator = getattr(getattr(bpy.ops, module), name)
    try:
        operator.get_rna_type()
    except KeyError:
        raise EngineError(
            "usage", f"This Blender has no {chosen.title} exporter.", "Switch its add-on on in the preferences."
        ) from None
    return operator


def _options(format_: str, operator: Callable[..., set[str]], scene: bpy.types.Scene) -> dict[str, object]:
    """What differs from the exporter's defaults, as far as this version knows it."""
    wishes: dict[str, dict[str, object]] = {
        "usd": {"export_animation": True, "export_materials": False, "export_normals": True, "root_prim_path": "/root"},
        "alembic": {"start": scene.frame_start, "end": scene.frame_end, "as_background_job": False},
        "fbx": {
            "object_types": {"CAMERA", "MESH"},
            "bake_anim_use_nla_strips": False,
            "bake_anim_use_all_actions": False,
            "bake_anim_simplify_factor": 0.0,
            "path_mode": "STRIP",
        },
        "gltf": {
            "export_format": "GLB",
            "use_active_scene": True,
            "use_mesh_vertices": True,
            "export_cameras": True,
            "export_materials": "NONE",
            "export_frame_range": True,
            "export_force_sampling": True,
            "export_optimize_animation_size": False,
        },
    }
    known = operator.get_rna_type().properties
    return {name: value for name, value in wishes[format_].items() if name in known}


# -- the plain copy


@contextmanager
def _copy_scene(
    scene: bpy.types.Scene, cameras: Sequence[bpy.types.Object], meshes: Sequence[bpy.types.Object], max_points: int
) -> Iterator[bpy.types.Scene]:
    """The scene to export; all that it is made of is gone afterwards."""
    before = tags.census()
    copy = bpy.data.scenes.new("3R Export")
    try:
        _copy_settings(scene, copy)
        _add_cameras(scene, copy, cameras)
        for item in meshes:
            _add_mesh(copy, item, max_points)
        yield copy
    finally:
        bpy.data.scenes.remove(copy)
        kinds = ("objects", "cameras", "meshes", "actions")
        made = [block for kind in kinds for block in getattr(bpy.data, kind) if block.session_uid not in before]
        bpy.data.batch_remove(made)


def _copy_settings(scene: bpy.types.Scene, copy: bpy.types.Scene) -> None:
    for name in ("resolution_x", "resolution_y", "pixel_aspect_x", "pixel_aspect_y", "fps", "fps_base"):
        setattr(copy.render, name, getattr(scene.render, name))
    copy.frame_start, copy.frame_end = scene.frame_start, scene.frame_end
    copy.unit_settings.system = scene.unit_settings.system
    copy.unit_settings.scale_length = scene.unit_settings.scale_length


def _add_cameras(scene: bpy.types.Scene, copy: bpy.types.Scene, cameras: Sequence[bpy.types.Object]) -> None:
    """Cameras without parent and scale; what moves or zooms in scene has a key on every frame."""
    frames = range(scene.frame_start, scene.frame_end + 1)
    moving = [item for item in cameras if _is_animated(item)]
    seen = _samples(scene, moving, frames if moving else [scene.frame_current])
    still = _samples(scene, [item for item in cameras if item not in moving], [scene.frame_current])
    for item in cameras:
        rows = (seen if item in moving else still)[item.name]
        lens = item.data.copy()
        lens.animation_data_clear()
        lens.name = name = _plain_name(item)
        camera = bpy.data.objects.new(name, lens)
        camera.rotation_mode = "QUATERNION"
        copy.collection.objects.link(camera)
        if item == scene.camera or copy.camera is None:
            copy.camera = camera
        matrices = [Matrix(row[0]) for row in rows]
        values = {
            "location": np.array([matrix.translation for matrix in matrices]),
            "rotation_quaternion": continuous_quaternions(matrices),
        }
        _write(camera, values, frames)
        _write(lens, {path: np.array([row[1][path] for row in rows]) for path in _LENS}, frames)


def _is_animated(item: bpy.types.Object) -> bool:
    """Whether anything that a camera hangs on has keys or drivers."""
    owners: list[bpy.types.ID] = [item.data]
    link = item
    while link is not None:
        owners.append(link)
        link = link.parent
    return any(owner.animation_data is not None for owner in owners) or bool(item.constraints)


def _samples(
    scene: bpy.types.Scene, cameras: Sequence[bpy.types.Object], frames: Sequence[int]
) -> dict[str, list[tuple[list[list[float]], dict[str, float]]]]:
    """(matrix without scale, lens values) of every camera at every frame, as Blender evaluates them."""
    found: dict[str, list[tuple[list[list[float]], dict[str, float]]]] = {item.name: [] for item in cameras}
    if not cameras:
        return found
    now, part = scene.frame_current, scene.frame_subframe
    layer = scene.view_layers[0]
    try:
        for frame in frames:
            scene.frame_set(frame)
            graph = layer.depsgraph
            for item in cameras:
                seen = item.evaluated_get(graph)
                place, turn, _ = seen.matrix_world.decompose()
                matrix = Matrix.LocRotScale(place, turn, None)
                found[item.name].append(
                    ([list(row) for row in matrix], {name: getattr(seen.data, name) for name in _LENS})
                )
    finally:
        scene.frame_set(now, subframe=part)
    return found


def _write(block: bpy.types.ID, values: dict[str, np.ndarray], frames: Sequence[int]) -> None:
    """Plain values, or keys where they change over the frames."""
    for path, rows in values.items():
        table = rows.reshape(len(rows), -1)
        setattr(block, path, table[0].tolist() if rows.ndim > 1 else float(table[0, 0]))
        if len(table) == 1 or not np.ptp(table, axis=0).max() > 1e-9:
            continue
        curves = compat.fcurves_of(block, f"{block.name} Action")
        for index in range(table.shape[1]):
            curve = curves.new(path, index=index)
            points = curve.keyframe_points
            points.add(len(table))
            points.foreach_set("co", np.column_stack([frames, table[:, index]]).astype(np.float32).ravel())
            points.foreach_set("interpolation", [1] * len(table))  # LINEAR
            curve.update()


def _add_mesh(copy: bpy.types.Scene, item: bpy.types.Object, max_points: int) -> None:
    """What item's datablock holds, its modifiers left out, in world space."""
    role = item.get(tags.ROLE)
    if role in ("points", "moving"):
        mesh = _points_mesh(item.data, max_points, at_frames=role == "moving")
    else:
        mesh = item.data.copy()
        mesh.materials.clear()
    mesh.name = name = _plain_name(item)
    mesh.transform(item.matrix_world)
    mesh.update()
    plain = bpy.data.objects.new(name, mesh)
    copy.collection.objects.link(plain)
    copy_moving_display(item, plain)


def _points_mesh(data: bpy.types.Mesh | bpy.types.PointCloud, at_most: int, at_frames: bool = False) -> bpy.types.Mesh:
    """Vertices with colours, evenly thinned. at_frames: they show at their own frames, and at_most is for each."""
    count = len(data.attributes["position"].data)
    if at_frames:
        first = np.empty(count, np.int32)
        data.attributes[FIRST].data.foreach_get("value", first)
        most = int(np.unique(first, return_counts=True)[1].max(initial=1))
        rows = np.arange(0, count, max(1, -(-most // at_most)))
    else:
        rows = np.linspace(0, count - 1, min(count, at_most)).astype(np.int64)
    mesh = bpy.data.meshes.new("3R Export")
    mesh.vertices.add(len(rows))
    for name, kind, field, width in _POINT_VALUES:
        if name not in data.attributes:
            continue
        values = np.empty((count, width), np.int32 if kind == "INT" else np.float32)
        data.attributes[name].data.foreach_get(field, values.reshape(-1))
        target = mesh.attributes.get(name) or mesh.attributes.new(name, kind, "POINT")
        target.data.foreach_set(field, np.ascontiguousarray(values[rows]).reshape(-1))
    if "Col" in mesh.attributes:
        mesh.attributes.active_color_name = mesh.attributes.default_color_name = "Col"
    return mesh


def _plain_name(item: bpy.types.Object) -> str:
    """A name that every format takes and that no original has."""
    name = re.sub(r"\W+", "_", item.name)
    return name if name != item.name else f"{name}_{item.type.title()}"
