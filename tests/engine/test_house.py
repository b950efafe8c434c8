"""The house's rules: which folder may know which, read from the import lines. Arrows point one way."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "blender_3r"
HEAVY = {"torch", "cv2", "pycolmap", "scipy", "open3d"}

# What both sides read: standard library and NumPy only.
SHARED = "diskfiles errors filelock jobfolder protocol reconstruction source".split()
SHARED_PARTS = {"engine", *(f"engine/{name}" for name in SHARED)}

# Each part, and the parts of its own package that it may import. A part of the engine is "engine/NAME".
MAY_IMPORT = {
    "translations": set(),
    "surface_properties": {"translations"},
    "widgets": {"client"},
    "scene": SHARED_PARTS | {"engine/geometry"},
    "viewport": {"scene"},
    "client": SHARED_PARTS,
    "operators": SHARED_PARTS
    | {"engine/export", "client", "scene", "viewport", "widgets", "preferred", "properties", "surface_properties"},
    "properties": {"operators", "surface_properties", "translations"},
    "panels": {"client", "operators", "properties", "scene", "translations", "viewport", "widgets"},
    "preferences": {"client", "panels", "preferred"},
    "preferred": {"client", "scene"},
    "engine/geometry": SHARED_PARTS,
    "engine/media": SHARED_PARTS,
    "engine/models": {"engine/geometry"},
    "engine/zoo": SHARED_PARTS | {"engine/models"},
    "engine/solve": SHARED_PARTS | {"engine/geometry", "engine/media"},
    "engine/methods": SHARED_PARTS | {f"engine/{name}" for name in "geometry media models solve zoo".split()},
    "engine/export": SHARED_PARTS | {"engine/geometry", "engine/media"},
    "engine/surfaces": SHARED_PARTS | {f"engine/{name}" for name in "export geometry media methods".split()},
    **{f"engine/{name}": SHARED_PARTS for name in SHARED},
}


def part_of(module: str) -> str | None:
    """The part that a module belongs to; "" for the package itself, None for other packages."""
    names = module.split(".")
    if names[0] != PACKAGE:
        return None
    if names[1:2] == ["engine"]:
        return "/".join(names[1:3])
    return names[1] if len(names) > 1 else ""


class _WithoutTypes(ast.NodeTransformer):
    """Takes out what only type checkers read."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


def imports(path: Path, for_types: bool = True) -> Iterator[str]:
    """Full names of all modules that a file imports, inside functions too. for_types: also those for type checkers."""
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree if for_types else _WithoutTypes().visit(tree)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                inner = ROOT.joinpath(*module.split("."), name.name)
                yield f"{module}.{name.name}" if inner.is_dir() or inner.with_suffix(".py").exists() else module


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, set[str]]]:
    return read_parts()


def read_parts(for_types: bool = True) -> dict[str, dict[str, set[str]]]:
    """For each part the modules that it imports, and the files that do."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        names = path.relative_to(ROOT).with_suffix("").parts
        part = part_of(".".join(names if names[-1] != "__init__" else names[:-1]))
        for module in imports(path, for_types):
            found[part][module].add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_a_part_imports_only_what_it_may(known, part):
    assert part in known, "the rule speaks of a folder that is not there"
    for module, files in known[part].items():
        target = part_of(module)
        if target not in (None, "", part):
            assert target in MAY_IMPORT[part], f"{sorted(files)} import {module}"


def test_no_arrow_comes_back():
    parts = read_parts(for_types=False)
    arrows = {part: {part_of(module) for module in modules} - {part, None, ""} for part, modules in parts.items()}
    order = list(TopologicalSorter(arrows).static_order())  # raises CycleError, which names the parts
    assert order.index("client") < order.index("operators") < order.index("panels") < order.index("preferences")


def test_the_engine_knows_no_blender_and_blender_none_of_the_engines_packages(known):
    for part, modules in known.items():
        forbidden = {"bpy", "mathutils", "gpu", "bmesh"} if part.startswith("engine") else HEAVY
        for module, files in modules.items():
            assert module.split(".")[0] not in forbidden, f"{sorted(files)} import {module}"


def test_what_both_sides_read_needs_numpy_at_most(known):
    for part in ("engine/geometry", *(f"engine/{name}" for name in SHARED)):
        files = {file for module, users in known[part].items() if module.split(".")[0] in HEAVY for file in users}
        assert not files & read_by_blender(), f"{sorted(files)} are read by Blender and need more than NumPy"


def read_by_blender() -> set[str]:
    """The files that Blender loads, from its side's import lines on."""
    waiting = [path for path in (ROOT / PACKAGE).rglob("*.py") if "engine" not in path.relative_to(ROOT).parts[1:2]]
    seen = set(waiting)
    while waiting:
        for module in imports(waiting.pop()):
            place = ROOT.joinpath(*module.split("."))
            for path in (place.with_suffix(".py"), place / "__init__.py"):
                if module.startswith(PACKAGE) and path.exists() and path not in seen:
                    seen.add(path)
                    waiting.append(path)
    return {str(path.relative_to(ROOT)) for path in seen}
