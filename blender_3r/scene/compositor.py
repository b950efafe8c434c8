"""The compositor of a shot, by code: plate, shadows multiplied, rendered objects over it.

    plate ───────────────× shadow catcher ──┐
    Render Layers ──────────────────────── alpha over ── result, and files where wanted

The plate is the engine's undistorted one under a plain render; or the footage as filmed, and the render and its
shadows are bent by an ST-map. Blender's own Movie Distortion node is not used: it shifts the picture in several
versions.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..engine.errors import EngineError
from . import compat, tags
from .jobdata import JobData
from .shot_masks import Front, blender_mask, job_mask, moving_mask
from .shot_plates import Footage, depth_sequence, original_plate, stmap, undistorted_plate

_MARK = "threer_compositor"  # on the scene: whose job its compositor was made for
_DEFAULT = frozenset(("R_LAYERS", "COMPOSITE", "VIEWER", "GROUP_OUTPUT", "GROUP_INPUT"))


@dataclass(frozen=True)
class CompositorOptions:
    """lens: "PLATE" undistorts the plate, "RENDER" distorts the render, "NONE" leaves both. shadows: there is a shadow
    catcher. foreground: what hides the render: "NONE", "DEPTH" (what the loaded depth says is nearer), "MASK" (mask, or
    if that is "" the job's), "MOVING" (what the job knows to move). mask: name of a mask of this file. outputs: folder
    for EXR files of the result, the render and the shadows, or "". replace: a compositor that the artist has built may
    go."""

    lens: str = "NONE"
    shadows: bool = True
    foreground: str = "NONE"
    mask: str = ""
    outputs: str = ""
    replace: bool = False


def build_compositor(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, data: JobData, options: CompositorOptions
) -> None:
    """Make the scene's compositor anew. The scene renders layer with Cycles, its film transparent.

    Raises EngineError when the plate or what belongs to it is not there, or the artist's own compositor is in the way;
    the scene's compositor is then as it was.
    """
    plate = undistorted_plate(scene, data) if options.lens == "PLATE" else original_plate(scene, data)
    bend = stmap(scene, data, "redistort") if options.lens == "RENDER" else None
    front = _front(scene, data, options)
    needs_straight = options.lens == "PLATE" or (options.lens == "RENDER" and isinstance(front, Footage))
    unbend = stmap(scene, data, "undistort") if front is not None and needs_straight else None
    tree, result = _own_tree(scene, data, options.replace)
    if options.shadows:
        layer.cycles.use_pass_shadow_catcher = True  # then the render holds the objects alone
    if isinstance(front, Footage):
        layer.use_pass_z = True
    _Builder(tree, scene, layer, data, bend).build(result, plate, front, unbend, options)


def _front(scene: bpy.types.Scene, data: JobData, options: CompositorOptions) -> Front | Footage | None:
    """What hides the render: a mask, or the footage's depth. Raises EngineError when it is not there."""
    if options.foreground == "DEPTH":
        depth = depth_sequence(data)
        if depth is None:
            raise EngineError("usage", "No depth is loaded.", "Press Load Depth Sequence in the panel Export first.")
        return depth
    if options.foreground == "MASK":
        return blender_mask(options.mask) if options.mask else job_mask(scene, data)
    return moving_mask(scene, data) if options.foreground == "MOVING" else None


class _Builder:
    """One tree: makes nodes from left to right and links them."""

    def __init__(
        self,
        tree: bpy.types.NodeTree,
        scene: bpy.types.Scene,
        layer: bpy.types.ViewLayer,
        data: JobData,
        bend: Footage | None,
    ) -> None:
        self.tree, self.scene, self.layer, self.data = tree, scene, layer, data
        self.bend = self._filled(bend, -700, "ST-Map") if bend is not None else None

    def build(
        self,
        result: bpy.types.NodeSocket,
        plate: Footage,
        front: Front | Footage | None,
        unbend: Footage | None,
        options: CompositorOptions,
    ) -> None:
        render = self._place(self.tree.nodes.new("CompositorNodeRLayers"), 0, -250, "Render")
        render.scene, render.layer = self.scene, self.layer.name
        picture = self._filled(plate, 200, "Plate")
        visible = None
        if isinstance(front, Front):
            visible = self._unmasked(front, unbend)
        elif front is not None:
            visible = self._visible(render, front, unbend)
        shadow = self._bent(render.outputs["Shadow Catcher"], 1.0) if options.shadows else None
        if shadow is not None:
            factor, first, second, darkened = compat.multiply_node(self.tree)
            self._place(factor.node, 700, 100, "Shadows")
            self._link(picture, first)
            self._link(shadow, second)
            self._link_or_set(visible, factor)
            picture = darkened
        over = self._place(self.tree.nodes.new("CompositorNodeAlphaOver"), 900, 0, "Over the Plate")
        below, above = compat.alpha_over_inputs(over)
        objects = self._bent(render.outputs["Image"], 0.0)
        self._link(picture, below)
        self._link(objects, above)
        self._link_or_set(visible, compat.alpha_over_factor(over))
        self._link(over.outputs["Image"], result)
        result.node.location = (1150, 0)
        if options.outputs:
            files = {"comp": over.outputs["Image"], "render": objects} | ({"shadow": shadow} if shadow else {})
            node, sockets = compat.file_output_node(self.tree, options.outputs, list(files))
            self._place(node, 1150, -250, "Files")
            for origin, target in zip(files.values(), sockets, strict=True):
                self._link(origin, target)

    def _bent(self, socket: bpy.types.NodeSocket, outside: float) -> bpy.types.NodeSocket:
        """socket through the lens, if there is one; outside: 0 or 1, what is beyond the render."""
        if self.bend is None:
            return socket
        if outside:
            return self._inverted(self._bent(self._inverted(socket), 0.0))
        node = self._place(self.tree.nodes.new("CompositorNodeMapUV"), 450, socket.node.location.y, "Distort")
        self._link(socket, node.inputs["Image"])
        self._link(self.bend, node.inputs["UV"])
        return node.outputs["Image"]

    def _inverted(self, socket: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        node = self._place(self.tree.nodes.new("CompositorNodeInvert"), 250, -450, "")
        self._link(socket, node.inputs["Color"])
        return node.outputs["Color"]

    def _unmasked(self, front: Front, unbend: Footage | None) -> bpy.types.NodeSocket:
        """1 where the render is to be seen, 0 where the mask is; on the plate that the render is laid over."""
        mask = self._filled(front.footage, -950, "In Front")
        if unbend is not None:
            mask = self._straight(mask, unbend)
        return mask if front.is_inverted else self._math("SUBTRACT", 1.0, mask, 750)

    def _straight(self, socket: bpy.types.NodeSocket, unbend: Footage) -> bpy.types.NodeSocket:
        """socket of the footage as filmed, without the lens's distortion."""
        straight = self._place(self.tree.nodes.new("CompositorNodeMapUV"), 350, -950, "Undistort")
        self._link(socket, straight.inputs["Image"])
        self._link(self._filled(unbend, -1200, ""), straight.inputs["UV"])
        return straight.outputs["Image"]

    def _visible(self, render: bpy.types.Node, depth: Footage, unbend: Footage | None) -> bpy.types.NodeSocket:
        """1 where the render is to be seen, 0 where the footage shows something nearer (0 in its depth: unknown)."""
        near = self._filled(depth, -950, "Depth of the Footage")
        if unbend is not None:
            near = self._straight(near, unbend)
        root = tags.objects_of(self.scene, self.data.folder)[("root", "")]
        scaled = self._math("MULTIPLY", near, root.matrix_world.median_scale * 1.02, 450)  # within 2 % it is the same
        nearer = self._math("LESS_THAN", scaled, render.outputs["Depth"], 550)
        known = self._math("GREATER_THAN", near, 1e-6, 550)
        hidden = self._math("MULTIPLY", nearer, known, 650)
        visible = self._math("SUBTRACT", 1.0, hidden, 750)
        return self._bent(visible, 1.0) if self.bend is not None else visible

    def _math(
        self,
        operation: str,
        first: bpy.types.NodeSocket | float,
        second: bpy.types.NodeSocket | float,
        x: float,
    ) -> bpy.types.NodeSocket:
        node = self._place(compat.math_node(self.tree, operation), x, -950, "")
        for value, socket in ((first, node.inputs[0]), (second, node.inputs[1])):
            if isinstance(value, float):
                socket.default_value = value
            else:
                self._link(value, socket)
        return node.outputs[0]

    def _filled(self, footage: Footage, y: float, label: str) -> bpy.types.NodeSocket:
        """What footage shows, at the size of the render: that may be a share of it, for a preview."""
        shown = self._place(footage.node(self.tree), 0, y, label).outputs[0]
        fill = self._place(compat.fill_render_node(self.tree), 200, y, "")
        self._link(shown, fill.inputs["Image"])
        return fill.outputs["Image"]

    def _link_or_set(self, origin: bpy.types.NodeSocket | None, factor: bpy.types.NodeSocket) -> None:
        if origin is None:
            factor.default_value = 1.0
        else:
            self._link(origin, factor)

    def _link(self, origin: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
        self.tree.links.new(origin, target)

    def _place(self, node: bpy.types.Node, x: float, y: float, label: str) -> bpy.types.Node:
        node.location, node.label = (x, y), label
        return node


def _own_tree(scene: bpy.types.Scene, data: JobData, replace: bool) -> tuple[bpy.types.NodeTree, bpy.types.NodeSocket]:
    """An empty compositor and the socket of its result. Raises EngineError when the artist's own is in the way."""
    is_group = hasattr(scene, "compositing_node_group")
    tree = scene.compositing_node_group if is_group else scene.node_tree if scene.use_nodes else None
    is_theirs = tree is not None and scene.get(_MARK) != data.folder and not replace
    if is_theirs and any(node.type not in _DEFAULT for node in tree.nodes):
        raise EngineError(
            "usage",
            "The scene has a compositor of its own, which was left as it is.",
            "Turn on Replace Compositor, or take the plate into yours.",
        )
    scene[_MARK] = data.folder
    if is_group and tree is not None:
        if tags.has_tag(tree, data.folder, "compositor"):
            tree.nodes.clear()
            return tree, tree.nodes.new("NodeGroupOutput").inputs[0]
        tree.use_fake_user = True  # the artist may want it back
    made, result = compat.compositor(scene)
    if is_group:
        made.name = f"{data.name} Compositor"
        tags.set_tag(made, data.folder, "compositor")
    return made, result
