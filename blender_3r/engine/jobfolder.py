"""The folder that holds a job: what was asked, where it stands, cameras, per-view arrays, sparse points, tracks.

Read by both sides: standard library and numpy. Disk is the truth: everything is written under a temporary name and
renamed, so that whatever is there is whole, at any moment, whoever was killed. Job folders are passed on, so nothing
in one is executed, and a link in one that leads out of it is not followed.

    request.json  state.json  cameras.json  log.txt  tracks.npz  .lock
    views/000012/depth.npy       (h, w) float32 planar z in scene units, 0 = unknown
                 confidence.npy  (h, w) float32 in 0..1
                 color.npy       (h, w, 3) uint8 sRGB
                 support.npy     (h, w) uint8 in how many views, this one included, the depth agrees    (not always)
                 sky.npy         (h, w) bool what was taken for sky                                     (not always)
                 moving.npy      (h, w) bool what moves by itself, so that it is there at this frame only (not always)
    sparse/points.npy (n, 3) float32   color.npy (n, 3) uint8   error.npy (n,) float32 px   views.npy (n,) int32 count
    surface/vertices.npy (n, 3) float32 world   faces.npy (m, 3) int32, counter-clockwise seen from the cameras
            normals.npy  (n, 3) float32 unit    color.npy (n, 3) uint8 sRGB
            uv.npy       (m, 3, 2) float32 per corner of a face, in texture.png, (0, 0) at its lower left  (not always)
            texture.png  8-bit sRGB, square, composed of the original frames                               (not always)
    surface.json  how the surface was made
    gaussians/000012/position.npy  (h, w, 3) float32 world   of models that give a Gaussian for every pixel
                     color.npy     (h, w, 3) uint8 sRGB
                     opacity.npy   (h, w) float32 in 0..1
                     scale.npy     (h, w, 3) float32 standard deviations in scene units
                     rotation.npy  (h, w, 4) float32 unit quaternions (w, x, y, z), world from Gaussian
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .diskfiles import disk_errors, open_to_append, replacing, write_array, write_atomic
from .errors import EngineError
from .filelock import try_lock
from .reconstruction import Reconstruction

VIEW_ARRAYS = ("depth", "confidence", "color")
VIEW_EXTRAS = ("support", "sky", "moving")
SPARSE_ARRAYS = ("points", "color", "error", "views")
SURFACE_ARRAYS = ("vertices", "faces", "normals", "color")
TEXTURE = "texture.png"  # of the fused surface
GAUSSIAN_ARRAYS = ("position", "color", "opacity", "scale", "rotation")


class FolderInUse(EngineError):
    """Another engine works in the job folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            "usage",
            f"Another engine is working on the job in {path}.",
            "Wait for its end or cancel it where it was started, or choose another job folder.",
        )


class JobFolder:
    """Reads and writes one job folder. Writing raises EngineError("machine") when the disk is full or read-only."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> JobFolder:
        """Make the folder (and its parents) if it is not there; sweep what a killed engine left half written."""
        folder = cls(path)
        with disk_errors(folder.path):
            (folder.path / "views").mkdir(parents=True, exist_ok=True)
        folder._inside(folder.path / "views")
        with suppress(FolderInUse), folder.claimed():
            folder._sweep()
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> JobFolder:
        """Raises EngineError("input") when there is no job in that folder."""
        folder = cls(path)
        if not (folder.path / "request.json").is_file() and not (folder.path / "cameras.json").is_file():
            raise EngineError(
                "input",
                f"There is no reconstruction in {folder.path}.",
                "Choose the folder that holds cameras.json.",
            )
        return folder

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder against other engines; the system lets go of it however this process ends.

        Raises FolderInUse when another engine holds it, EngineError("machine") when the folder cannot be written.
        """
        with disk_errors(self.path):
            file = open_to_append(self.path / ".lock")
        with file:  # closing it unlocks
            if not try_lock(file):
                raise FolderInUse(self.path)
            yield

    # -- small JSON files

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Replace NAME.json."""
        text = json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False)
        with disk_errors(self.path):
            write_atomic(self.path / f"{name}.json", text.encode())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """NAME.json, or None if it is not there. Raises EngineError("input") when it is damaged."""
        path = self._inside(self.path / f"{name}.json")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict):
                raise ValueError("not an object")
            return data
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise EngineError("input", f"{path} cannot be read ({error}).", "Reconstruct again.") from error

    def write_cameras(self, reconstruction: Reconstruction) -> None:
        self.write_json("cameras", reconstruction.to_json())

    def read_cameras(self) -> Reconstruction | None:
        """The cameras so far, or None. Raises EngineError("input") when the file is damaged."""
        data = self.read_json("cameras")
        if data is None:
            return None
        try:
            return Reconstruction.from_json(data)
        except ValueError as error:
            raise EngineError("input", f"{self.path / 'cameras.json'}: {error}.", "Reconstruct again.") from error

    # -- arrays

    def write_view(self, index: int, arrays: dict[str, np.ndarray]) -> None:
        """Put all arrays of a view (VIEW_ARRAYS) in place at once."""
        self._write_set(self._view_path(index), arrays, VIEW_ARRAYS)

    def read_view(self, index: int, extras: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        """Memory-mapped arrays of a view, and those of these extras that are there.

        Raises EngineError("input") when they are missing or damaged.
        """
        there = tuple(name for name in extras if self.has_extra(index, name))
        return self._read_set(self._view_path(index), (*VIEW_ARRAYS, *there))

    def add_to_view(self, index: int, arrays: dict[str, np.ndarray]) -> None:
        """Put further arrays (VIEW_EXTRAS) to those of a view, one by one; write_view takes them away again."""
        with disk_errors(self.path):
            for name, array in arrays.items():
                if name not in VIEW_EXTRAS:
                    raise ValueError(f"no array of a view: {name}")
                target = self._inside(self._view_path(index) / f"{name}.npy")
                temporary = target.parent.parent / f".tmp-{index:06d}-{name}.npy"
                try:
                    write_array(temporary, array)
                    os.replace(temporary, target)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise

    def read_extra(self, index: int, name: str) -> np.ndarray | None:
        """One of VIEW_EXTRAS, memory-mapped, or None. Raises EngineError("input") when it is damaged."""
        return self._read_set(self._view_path(index), (name,))[name] if self.has_extra(index, name) else None

    def has_extra(self, index: int, name: str) -> bool:
        return (self._view_path(index) / f"{name}.npy").exists()

    def has_view(self, index: int) -> bool:
        return self._view_path(index).is_dir()

    def view_indices(self) -> Iterator[int]:
        """Indices of the views whose arrays are there, ascending."""
        folder = self._inside(self.path / "views")
        names = (p.name for p in folder.iterdir()) if folder.is_dir() else iter(())
        yield from sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def write_sparse(self, arrays: dict[str, np.ndarray]) -> None:
        self._write_set(self.path / "sparse", arrays, SPARSE_ARRAYS)

    def read_sparse(self) -> dict[str, np.ndarray] | None:
        """The sparse cloud (SPARSE_ARRAYS), memory-mapped, or None."""
        folder = self.path / "sparse"
        return self._read_set(folder, SPARSE_ARRAYS) if folder.is_dir() else None

    def write_surface(self, arrays: dict[str, np.ndarray]) -> None:
        """Put the fused surface (SURFACE_ARRAYS) in place at once."""
        self._write_set(self.path / "surface", arrays, SURFACE_ARRAYS)

    def read_surface(self) -> dict[str, np.ndarray] | None:
        """The fused surface (SURFACE_ARRAYS), memory-mapped, or None."""
        folder = self.path / "surface"
        return self._read_set(folder, SURFACE_ARRAYS) if folder.is_dir() else None

    def write_texture(self, uv: np.ndarray, png: bytes) -> None:
        """Put a texture to the fused surface: uv (m, 3, 2) per corner, and the picture. write_surface removes it."""
        with disk_errors(self.path):
            folder = self._inside(self.path / "surface")
            write_array(self._inside(folder / "uv.npy"), uv)
            write_atomic(self._inside(folder / TEXTURE), png)  # the last one: it says that both are there

    def read_texture(self) -> tuple[np.ndarray, Path] | None:
        """(uv of the fused surface's corners, memory-mapped; the picture), or None when it has no texture."""
        folder = self.path / "surface"
        path = self._inside(folder / TEXTURE)
        return (self._read_set(folder, ("uv",))["uv"], path) if path.is_file() else None

    def write_gaussians(self, index: int, arrays: dict[str, np.ndarray]) -> None:
        """Put the Gaussians of a view (GAUSSIAN_ARRAYS) in place at once."""
        self._write_set(self.path / "gaussians" / f"{index:06d}", arrays, GAUSSIAN_ARRAYS)

    def read_gaussians(self, index: int) -> dict[str, np.ndarray] | None:
        """The Gaussians of a view (GAUSSIAN_ARRAYS), memory-mapped, or None."""
        folder = self.path / "gaussians" / f"{index:06d}"
        return self._read_set(folder, GAUSSIAN_ARRAYS) if folder.is_dir() else None

    def write_npz(self, name: str, **arrays: np.ndarray) -> None:
        """Replace NAME.npz."""
        with disk_errors(self.path), replacing(self.path / f"{name}.npz") as file:
            np.savez(file, **arrays)

    def read_npz(self, name: str) -> dict[str, np.ndarray] | None:
        """NAME.npz as a dict, or None when it is missing or damaged (it can always be made again)."""
        try:
            with np.load(self._inside(self.path / f"{name}.npz"), allow_pickle=False) as data:
                return {key: data[key] for key in data.files}
        except (OSError, ValueError, EOFError, KeyError, BadZipFile, EngineError):
            return None

    def clear_results(self) -> None:
        """Remove what an earlier, different request left."""
        with disk_errors(self.path):
            for name in ("views", "sparse", "surface", "gaussians"):
                if self._inside(self.path / name).is_dir():
                    shutil.rmtree(self.path / name)
            for name in ("cameras.json", "predicted.json", "state.json", "surface.json", "tracks.npz"):
                (self.path / name).unlink(missing_ok=True)
            (self.path / "views").mkdir(exist_ok=True)

    # -- inside

    def _view_path(self, index: int) -> Path:
        return self.path / "views" / f"{index:06d}"

    def _inside(self, path: Path) -> Path:
        """path. Raises EngineError("input") when a link on the way, or path itself, leads out of the job folder."""
        root = os.path.realpath(self.path)
        real = os.path.realpath(path)
        if real != root and not real.startswith(os.path.join(root, "")):
            raise EngineError(
                "input",
                f"{path} leads out of the job folder, to {real}.",
                "The engine makes no such links: delete it, or reconstruct into another folder.",
            )
        return path

    def _write_set(self, target: Path, arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> None:
        missing = set(names) - set(arrays)
        if missing:
            raise ValueError(f"arrays missing: {sorted(missing)}")
        with disk_errors(self.path):
            self._inside(target).parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=target.parent))
            try:
                for name in names:
                    write_array(temporary / f"{name}.npy", arrays[name])
                temporary.chmod(0o755)
                if target.exists():
                    stale = Path(tempfile.mkdtemp(prefix=".tmp-", dir=target.parent)) / "old"
                    os.rename(target, stale)
                    os.rename(temporary, target)
                    shutil.rmtree(stale.parent, ignore_errors=True)
                else:
                    os.rename(temporary, target)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise

    def _read_set(self, folder: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        try:
            paths = {name: self._inside(folder / f"{name}.npy") for name in names}
            return {name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in paths.items()}
        except (OSError, ValueError, EOFError) as error:
            raise EngineError(
                "input", f"The arrays in {folder} cannot be read ({error}).", "Reconstruct again."
            ) from error

    def _sweep(self) -> None:
        """Temporary files of a process that was killed."""
        for folder in (self.path, self.path / "views", self.path / "gaussians"):
            for leftover in folder.glob(".tmp-*"):
                if leftover.is_dir() and not leftover.is_symlink():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)
