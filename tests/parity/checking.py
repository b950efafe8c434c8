"""What every check speaks: a fixture folder to read from, and results to yield."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

NETWORK_TOLERANCE = 1e-4  # relative to the largest value, float32 on the CPU


@dataclass(frozen=True)
class Result:
    """One checked quantity. error: relative to the largest reference value, or for exact ones the share that differs.

    limit: what error may be at most; 0 for what must be exact. note: shown behind the line.
    """

    name: str
    error: float
    limit: float = NETWORK_TOLERANCE
    note: str = ""

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.limit)  # nan does not pass

    def line(self) -> str:
        mark = "ok  " if self.passed else "FAIL"
        note = f"  ({self.note})" if self.note else ""
        return f"  {mark} {self.name:44} {self.error:9.2e}  of {self.limit:.0e}{note}"


def close(name: str, ours: Any, reference: Any, limit: float = NETWORK_TOLERANCE, note: str = "") -> Result:
    """Largest difference relative to the largest reference value; infinite when shapes differ or a value is not
    finite where the reference is.
    """
    ours, reference = _array(ours), _array(reference)
    if ours.shape != reference.shape:
        return Result(name, float("inf"), limit, f"shape {ours.shape}, expected {reference.shape}")
    if reference.size == 0:
        return Result(name, 0.0, limit, note)
    finite = np.isfinite(reference)
    same = np.array_equal(finite, np.isfinite(ours)) and np.array_equal(
        ours[~finite], reference[~finite], equal_nan=True
    )
    if not same:
        return Result(name, float("inf"), limit, "finite values at other places")
    if not finite.any():
        return Result(name, 0.0, limit, note)
    scale = max(float(np.abs(reference[finite]).max()), 1e-30)
    return Result(name, float(np.abs(ours[finite] - reference[finite]).max()) / scale, limit, note)


def same(name: str, ours: Any, reference: Any, note: str = "") -> Result:
    """Share of entries that differ, which must be 0; for arrays of integers and booleans, lists, sets, strings."""
    if isinstance(reference, torch.Tensor | np.ndarray):
        ours, reference = _array(ours), _array(reference)
        if ours.shape != reference.shape:
            return Result(name, float("inf"), 0.0, f"shape {ours.shape}, expected {reference.shape}")
        return Result(name, float(np.mean(ours != reference)) if reference.size else 0.0, 0.0, note)
    return Result(name, 0.0 if ours == reference else 1.0, 0.0, note)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
        return value.numpy()
    value = np.asarray(value)
    return value.astype(np.float64) if value.dtype.kind == "f" else value


class Fixture:
    """A folder of fixtures. Files that a check reads are noted, so that those nobody reads can be named."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.used: set[str] = set()

    @property
    def files(self) -> list[str]:
        """Names of all data files, sorted."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_file() and path.suffix != ".md")

    def has(self, *names: str) -> bool:
        return all((self.folder / name).is_file() for name in names)

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """All tensors of NAME (with its ending)."""
        self.used.add(name)
        with safe_open(self.folder / name, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)

    def tensor_names(self, name: str) -> list[str]:
        """Keys of NAME without reading it; does not count as reading."""
        with safe_open(self.folder / name, "pt") as file:
            return list(file.keys())

    def json(self, name: str) -> Any:
        self.used.add(name)
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @property
    def config(self) -> dict[str, Any]:
        """config.json, or {}."""
        return self.json("config.json") if self.has("config.json") else {}

    def checkpoint_keys(self) -> Any:
        """checkpoint_keys.json, packed or not; None when there is none."""
        if self.has("checkpoint_keys.json"):
            return self.json("checkpoint_keys.json")
        if self.has("checkpoint_keys.json.gz"):
            self.used.add("checkpoint_keys.json.gz")
            return json.loads(gzip.decompress((self.folder / "checkpoint_keys.json.gz").read_bytes()))
        return None
