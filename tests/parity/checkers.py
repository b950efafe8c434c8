"""Which checks there are. Each looks at what a folder holds, never at its name, and yields nothing for what it does
not know.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import torch

from .checking import Fixture, Result

# Modules of this package with checks(fixture) -> Iterator[Result].
CHECKERS = (
    "croco",
    "dust3r",
    "cut3r",
    "spann3r",
    "point3r",
    "wint3r",
    "dinov2",
    "vggt",
    "pi3",
    "pi3x",
    "fast3r",
    "mv_dust3r",
    "preprocess",
    "pair_graphs",
    "alignment",
    "matching",
    "sparse_alignment",
    "retrieval",
)


class FolderReport:
    """The checks of one folder, run while iterated over."""

    def __init__(self, folder: Path) -> None:
        self.fixture = Fixture(folder)

    def results(self) -> Iterator[Result]:
        """All results; a check that raises is a failed result with the error as its note."""
        torch.manual_seed(0)
        for name in CHECKERS:
            module = importlib.import_module(f"{__package__}.{name}")
            try:
                yield from module.checks(self.fixture)
            except Exception as error:  # one broken check must not hide the others
                yield Result(name, float("inf"), 0.0, f"{type(error).__name__}: {error}")

    def skipped(self) -> list[str]:
        """Files that no check read; complete once results() is through. config.json only describes the others."""
        return [name for name in self.fixture.files if name not in {*self.fixture.used, "config.json"}]


def check_folder(folder: Path) -> FolderReport:
    """The report of a folder, not of folders inside it."""
    return FolderReport(folder)
