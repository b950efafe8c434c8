"""What the engine's tests share: small footage made on the spot, a fake method, the engine as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from blender_3r.engine import methods

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))  # the fake method is a module there

MARKS = 8  # squares that spell a frame's number in binary


def numbered_frame(number: int, width: int = 160, height: int = 120) -> np.ndarray:
    """(height, width, 3) uint8: a texture with the number written in squares that survive compression."""
    texture = np.random.default_rng(7).integers(30, 90, (height // 8, width // 8, 3)).astype(np.uint8)
    image = cv2.resize(texture, (width, height), interpolation=cv2.INTER_NEAREST)
    for bit in range(MARKS):
        image[8:40, 8 + 18 * bit : 22 + 18 * bit] = 235 if number >> bit & 1 else 10
    return image


def number_in(image: np.ndarray) -> int:
    """The number that numbered_frame wrote into an image of the same size."""
    return sum(1 << bit for bit in range(MARKS) if image[16:32, 11 + 18 * bit : 19 + 18 * bit].mean() > 120)


def write_movie(path: Path, count: int, codec: str = "mp4v", fps: float = 25.0) -> Path:
    """A movie of numbered frames."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, (160, 120))
    assert writer.isOpened()
    for number in range(count):
        writer.write(numbered_frame(number))
    writer.release()
    return path


def write_images(folder: Path, names: list[str]) -> list[Path]:
    """Images of numbered frames, counted in the order of names."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.write_bytes(cv2.imencode(path.suffix, numbered_frame(number))[1].tobytes())
    return paths


@pytest.fixture
def movie(tmp_path) -> Path:
    """A movie of 12 numbered frames, under a name with a space and an umlaut."""
    return write_movie(tmp_path / "kurzer Schwenk für alle.mp4", 12)


@pytest.fixture
def fake_method(monkeypatch):
    """Registers the method "fake" (support/fake_method.py); returns a function that sets how it behaves."""
    monkeypatch.setitem(methods.METHODS, "fake", "fake_method")

    def behave(**how: object) -> None:
        monkeypatch.setenv("FAKE_METHOD", json.dumps(how))

    behave()
    return behave


@pytest.fixture
def engine(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs the engine's command line, with the method "fake" registered, as a process of its own."""

    def run(*arguments: object, how: dict | None = None, **options: object) -> subprocess.CompletedProcess:
        command = engine_command(*arguments)
        options.setdefault("timeout", 60)
        return subprocess.run(command, capture_output=True, text=True, env=fake_environment(how), **options)

    return run


def engine_command(*arguments: object) -> list[str]:
    return [sys.executable, str(SUPPORT / "engine_with_fake.py"), *map(str, arguments)]


def fake_environment(how: dict | None = None) -> dict[str, str]:
    return {**os.environ, "FAKE_METHOD": json.dumps(how or {})}
