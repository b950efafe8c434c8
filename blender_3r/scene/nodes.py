"""Node trees by code: the few words in which this package writes its node groups and materials."""

from __future__ import annotations

from typing import Any

import bpy

Value = Any  # a socket to link from, or the constant that the input shall have

MARK = "threer_builtin"  # on what is ours of node groups and materials: its name when it was made

_COLUMN, _ROW = 220, 170


class Tree:
    """Writes into one node tree. Methods that make a node return the socket of its result."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree

    def node(self, kind: str, inputs: dict[str | int, Value] | None = None, **settings: Any) -> bpy.types.Node:
        """A node of that type; settings are its properties, inputs are by name (or place) as feed takes them."""
        node = self.tree.nodes.new(kind)
        for name, value in settings.items():  # first, they decide which inputs there are
            setattr(node, name, value)
        for name, value in (inputs or {}).items():
            self.feed(_socket(node.inputs, name), value)
        return node

    def feed(self, socket: bpy.types.NodeSocket, value: Value) -> None:
        """Link a socket to value, or set its constant."""
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def attribute(self, name: str, data_type: str = "FLOAT") -> bpy.types.NodeSocket:
        """A named attribute; 0 where the geometry has none of that name."""
        return result(self.node("GeometryNodeInputNamedAttribute", {"Name": name}, data_type=data_type))

    def math(self, operation: str, *operands: Value) -> bpy.types.NodeSocket:
        return result(self.node("ShaderNodeMath", dict(enumerate(operands)), operation=operation))

    def logic(self, operation: str, *operands: Value) -> bpy.types.NodeSocket:
        return result(self.node("FunctionNodeBooleanMath", dict(enumerate(operands)), operation=operation))

    def vector(self, operation: str, first: Value) -> bpy.types.NodeSocket:
        """A vector operation with one operand."""
        return result(self.node("ShaderNodeVectorMath", {0: first}, operation=operation))

    def compare(self, operation: str, first: Value, second: Value, data_type: str = "FLOAT") -> bpy.types.NodeSocket:
        inputs = {"A": first, "B": second}
        return result(self.node("FunctionNodeCompare", inputs, data_type=data_type, operation=operation))

    def all_of(self, *conditions: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        """True where all conditions are."""
        total = conditions[0]
        for condition in conditions[1:]:
            total = self.logic("AND", total, condition)
        return total

    def arrange(self) -> None:
        """Place the nodes from left to right as the links run."""
        column = dict.fromkeys(self.tree.nodes.keys(), 0)
        links = [(link.from_node.name, link.to_node.name) for link in self.tree.links]
        while too_far_left := [link for link in links if column[link[1]] <= column[link[0]]]:
            for start, end in too_far_left:
                column[end] = max(column[end], column[start] + 1)
        filled: dict[int, int] = {}
        for name, place in column.items():
            self.tree.nodes[name].location = (_COLUMN * place, -_ROW * filled.get(place, 0))
            filled[place] = filled.get(place, 0) + 1


def result(node: bpy.types.Node, name: str | int = 0) -> bpy.types.NodeSocket:
    """An output in use of node: that of a name, or the first."""
    return _socket(node.outputs, name)


def _socket(sockets: bpy.types.NodeInputs | bpy.types.NodeOutputs, name: str | int) -> bpy.types.NodeSocket:
    """Up to 5.1 a node has sockets for all its data types, most of them switched off."""
    used = [socket for socket in sockets if socket.enabled]
    return used[name] if isinstance(name, int) else next(socket for socket in used if socket.name == name)


def shared_group(name: str) -> tuple[bpy.types.NodeTree, bool]:
    """Our geometry node group of that name, and whether it is new: then it is empty yet.

    A group of that name that is not ours stays as it is.
    """
    group = find_group(name)
    if group is not None:
        return group, False
    group = new_group(name)
    group[MARK] = name
    return group, True


def find_group(name: str) -> bpy.types.NodeTree | None:
    """Our geometry node group of that name, unless it is another file's."""
    return next((group for group in bpy.data.node_groups if group.get(MARK) == name and group.library is None), None)


def new_group(name: str) -> bpy.types.NodeTree:
    """An empty group for modifiers; nobody finds it before it has its mark."""
    group = bpy.data.node_groups.new(name, "GeometryNodeTree")
    group.is_modifier = True
    return group


def modifier_with(item: bpy.types.Object, name: str) -> bpy.types.NodesModifier | None:
    """The first modifier of item that runs our group of that name (see shared_group), or None."""
    for modifier in item.modifiers:
        group = modifier.node_group if modifier.type == "NODES" else None
        if group is not None and group.get(MARK) == name:
            return modifier
    return None
