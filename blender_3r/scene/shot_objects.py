"""What a shot needs besides camera and plate: a floor that catches shadows, a test object, light.

    syn_walk Shot             collection, in the job's
        syn_walk Floor        plane of the floor, a shadow catcher
        syn_walk Test Cube    a cube with wire that stands on it
        syn_walk Sun          only where the scene had no light

All hang on the job's root. Made again, they are put in place anew; materials and names stay.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..engine.jobfolder import JobFolder
from . import compat, tags
from .floor import ShotFloor
from .jobdata import JobData

_ENOUGH = 20_000  # points to find a floor among


def engine_points(scene: bpy.types.Scene, data: JobData) -> np.ndarray | None:
    """Points of the engine's world: the imported ones, else the job's sparse ones; some thousands."""
    item = tags.objects_of(scene, data.folder).get(("points", ""))
    if item is not None and item.mode == "OBJECT":
        positions = item.data.attributes["position"].data
        flat = np.empty(3 * len(positions), dtype=np.float32)
        positions.foreach_get("vector", flat)
        points = flat.reshape(-1, 3)
    else:
        sparse = JobFolder(data.folder).read_sparse()
        points = sparse["points"] if sparse is not None else np.empty((0, 3))
    points = np.asarray(points[:: max(1, len(points) // _ENOUGH)], dtype=np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    return points if len(points) else None


def add_floor(scene: bpy.types.Scene, data: JobData, floor: ShotFloor) -> bpy.types.Object:
    """The floor as a square that catches shadows (Cycles) and is drawn as wire."""
    reach = floor.reach
    corners = [(-reach, -reach, 0), (reach, -reach, 0), (reach, reach, 0), (-reach, reach, 0)]
    item = _mesh_object(scene, data, "floor", "Floor", corners, [(0, 1, 2, 3)], floor.frame)
    item.is_shadow_catcher = True
    item.display_type = "WIRE"
    if not item.data.materials:
        item.data.materials.append(_material(data, "floor material", f"{data.name} Floor", (0.5, 0.5, 0.5)))
    return item


def add_test_cube(scene: bpy.types.Scene, data: JobData, floor: ShotFloor) -> bpy.types.Object:
    """A cube with wire on the floor, where it is well in view: if the camera slips, it shows at its feet."""
    half, side = floor.side / 2, floor.side
    corners = [(x * half, y * half, z) for z in (0, side) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    faces = [(3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    turn = np.array(Matrix.Rotation(0.45, 4, "Z"))
    cube = _mesh_object(scene, data, "test object", "Test Cube", corners, faces, floor.frame @ turn)
    if not cube.data.materials:
        cube.data.materials.append(_material(data, "cube material", f"{data.name} Cube", (0.75, 0.73, 0.7)))
        cube.data.materials.append(_material(data, "wire material", f"{data.name} Wire", (0.02, 0.02, 0.02)))
    wire = cube.modifiers.get("3R Wire") or cube.modifiers.new("3R Wire", "WIREFRAME")
    wire.thickness, wire.offset = 0.05 * side, 0.0
    wire.use_replace, wire.use_even_offset, wire.material_offset = False, True, 1
    return cube


def add_light(scene: bpy.types.Scene, data: JobData, floor: ShotFloor) -> bool:
    """A sun, and a gray sky where there is no world; nothing if the scene has light. Says whether it did anything."""
    if any(item.type == "LIGHT" and item.get(tags.ROLE) != "test light" for item in scene.objects):
        return False
    sun = tags.objects_of(scene, data.folder).get(("test light", ""))
    if sun is None:
        lamp = bpy.data.lights.new(f"{data.name} Sun", "SUN")
        lamp.energy, lamp.angle = 2.5, 0.03
        sun = bpy.data.objects.new(f"{data.name} Sun", lamp)
        tags.set_tag(sun, data.folder, "test light")
        shot_collection(scene, data).objects.link(sun)
    slant = np.array(Matrix.Rotation(-0.3, 4, "X") @ Matrix.Rotation(-0.7, 4, "Y"))  # from the left, behind
    lift = np.eye(4)
    lift[2, 3] = 3 * floor.side
    _hang(scene, data, sun, floor.frame @ lift @ slant)
    if scene.world is None:
        scene.world = bpy.data.worlds.new(f"{data.name} Sky")
        if scene.world.node_tree is None:
            scene.world.use_nodes = True
        background = next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")
        background.inputs["Color"].default_value = (0.5, 0.5, 0.5, 1.0)
    return True


def shot_collection(scene: bpy.types.Scene, data: JobData) -> bpy.types.Collection:
    """The collection of what is made here, in the job's own."""
    everywhere = scene.collection.children_recursive
    found = tags.find(everywhere, data.folder, "shot collection")
    if found is None:
        found = bpy.data.collections.new(f"{data.name} Shot")
        tags.set_tag(found, data.folder, "shot collection")
        parent = tags.find(everywhere, data.folder, "job collection") or scene.collection
        parent.children.link(found)
    return found


def _mesh_object(
    scene: bpy.types.Scene,
    data: JobData,
    role: str,
    title: str,
    corners: list[tuple[float, float, float]],
    faces: list[tuple[int, ...]],
    matrix: np.ndarray,
) -> bpy.types.Object:
    """The object of that role with a mesh of corners and faces; matrix: engine's world from mesh."""
    item = tags.objects_of(scene, data.folder).get((role, ""))
    if item is None:
        item = bpy.data.objects.new(f"{data.name} {title}", bpy.data.meshes.new(f"{data.name} {title}"))
        tags.set_tag(item, data.folder, role)
        tags.set_tag(item.data, data.folder, f"{role} mesh")
        shot_collection(scene, data).objects.link(item)
    item.data.clear_geometry()
    item.data.from_pydata(corners, [], faces)
    item.data.update()
    _hang(scene, data, item, matrix)
    return item


def _hang(scene: bpy.types.Scene, data: JobData, item: bpy.types.Object, matrix: np.ndarray) -> None:
    """Put item at matrix of the engine's world, on the job's root."""
    item.parent = tags.objects_of(scene, data.folder)[("root", "")]
    item.matrix_parent_inverse.identity()
    item.matrix_basis = Matrix(matrix.tolist())


def _material(data: JobData, role: str, name: str, color: tuple[float, float, float]) -> bpy.types.Material:
    material = tags.find(bpy.data.materials, data.folder, role)
    if material is None:
        material = bpy.data.materials.new(name)
        tags.set_tag(material, data.folder, role)
        tree = compat.enable_material_nodes(material)
        matte, output = tree.nodes.new("ShaderNodeBsdfDiffuse"), tree.nodes.new("ShaderNodeOutputMaterial")
        matte.inputs["Color"].default_value = (*color, 1.0)
        output.location = (250, 0)
        tree.links.new(matte.outputs[0], output.inputs["Surface"])
        material.diffuse_color = (*color, 1.0)
    return material
