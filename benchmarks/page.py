"""RESULTS.md holds a part for each benchmark; each rewrites its own and leaves the others."""

from __future__ import annotations

import re
from pathlib import Path


def write_part(path: Path, name: str, text: str) -> None:
    """Put text in place of the part of that name, or behind the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = read_parts(path)
    parts[name] = text.strip()
    path.write_text("\n\n".join(f"<!-- {key} -->\n{part}" for key, part in parts.items()) + "\n", encoding="utf-8")


def read_parts(path: Path) -> dict[str, str]:
    """{name: text} in the order of the page; empty when it is not there. What no part claims is left out."""
    if not path.is_file():
        return {}
    pieces = re.split(r"^<!-- (\w+) -->\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
