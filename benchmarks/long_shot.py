"""A long shot with known cameras: 450 frames of the demo's courtyard, walked out and back, for the solve of shots over
400 frames. Renders for half an hour on two cores; a second run goes on where the first stopped.

    .venv/blender/bin/python benchmarks/long_shot.py FOLDER
    .venv/engine/bin/python blender_3r/engine reconstruct FOLDER/frames --method classic --out FOLDER/job --no-dense
    .venv/engine/bin/python DATA/eval_poses.py FOLDER/reference.json FOLDER/job/cameras.json
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

import numpy as np
import render
from mathutils import Matrix, Vector

FRAMES, WIDTH, HEIGHT, SAMPLES = 450, 512, 288, 4


def camera_at(frame: float) -> Matrix:
    """The true camera (Blender axes): out, round, and back on another line; hand-held."""
    turn = 2 * np.pi * frame / (FRAMES - 1)
    place = Vector(
        (
            0.1 - 1.3 * np.cos(turn) - 0.15 * np.cos(2 * turn),
            -2.6 + 0.45 * np.sin(turn),
            1.5 + 0.12 * np.sin(1.5 * turn),
        )
    )
    place += Vector((0.012 * np.sin(0.3 * frame), 0.01 * np.sin(0.23 * frame + 1), 0.014 * np.sin(0.37 * frame + 2)))
    target = Vector((0.1 + 0.6 * np.sin(1.3 * turn), 1.4, 0.85 + 0.1 * np.sin(2.1 * turn)))
    pose = (target - place).to_track_quat("-Z", "Y").to_matrix().to_4x4()
    for number, axis in enumerate("XYZ"):
        shake = 0.005 * np.sin(0.27 * frame + number) + 0.003 * np.sin(0.53 * frame + 2 * number)
        pose = pose @ Matrix.Rotation(shake, 4, axis)
    return Matrix.Translation(place) @ pose


def main(folder: Path) -> None:
    """Stills, the same with sensor noise in folder/frames, and folder/reference.json."""
    render.FRAMES, render.WIDTH, render.HEIGHT, render.camera_at = FRAMES, WIDTH, HEIGHT, camera_at
    stills, noisy = folder / "stills", folder / "frames"
    for needed in (stills, noisy):
        needed.mkdir(parents=True, exist_ok=True)
    render.set_up(SAMPLES)
    render.write_reference(folder / "reference.json")
    render.render_stills(stills, 0, FRAMES - 1)
    for frame in range(FRAMES):
        name = f"frame_{frame:04d}.png"
        render.write_noisy(stills / name, noisy / name, frame)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # Blender's own clean-up at exit is not needed and may take long
