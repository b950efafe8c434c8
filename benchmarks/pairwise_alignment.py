"""The default alignment of pairs against the published one, side by side in one run.

    python -m benchmarks.pairwise_alignment [--steps N] [--scale S] [--views N] [--noise NAME] [--seed N]

Predictions of the complete, symmetrised graph of a made scene (room.py), 8 views of 512x384 unless told otherwise;
the published aligner at full resolution with 300 steps. Prints a table: time, the loss at full resolution, errors of
the cameras against the truth, and the differences that the default is held to. Exit status 1 when a bar is missed.
--scale 0.25 and --steps 50 make a quick check whose figures mean little.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch

from blender_3r.engine.geometry.rotations import nearest_rotation, rotation_angle
from blender_3r.engine.methods.pairwise.alignment import AlignSettings, Scene, align_pairs
from blender_3r.engine.methods.pairwise.predictions import PairPredictions

from .room import Disturbance, Room, make_room, path_length, predict

SIZE = (384, 512)
NOISES = {
    "rays": Disturbance(white=0.003, along=0.02),
    "white": Disturbance(white=0.02),
    "outliers": Disturbance(white=0.003, along=0.02, strewn=True, wrong=0.03),
    "waves": Disturbance(white=0.005, along=0.005, smooth=0.02, strewn=True),
    "wrong pairs": Disturbance(white=0.02, smooth=0.01, strewn=True, wrong=0.1, wrong_pairs=6),
}
# What the default is held to against the published aligner's result.
MOST_EXCESS_PCT = 1.0
MOST_TURN_DEG = 0.1
MOST_SHIFT_PCT = 0.2
LEAST_SPEEDUP = 5.0


ALGORITHMS = (("reference", "reference"), ("default", "sampled"), ("optimal", "fast"))
# What a result has to hold against the truth.
MOST_OFF_PCT = 1.0
MOST_OFF_DEG = 0.5


@dataclass(frozen=True)
class Row:
    """One aligner. Differences in degrees, per cent of the cameras' path, per cent of the focal: largest of all views.

    truth: against the made scene. other: against the published aligner's result.
    """

    algorithm: str
    seconds: float
    cpu_s: float
    loss: float
    truth: tuple[float, float, float]
    other: tuple[float, float, float] | None = None
    speedup: float = 1.0
    excess_pct: float = 0.0

    @property
    def reached(self) -> bool:
        """Whether all bars hold."""
        turn, shift, _ = self.other or (0.0, 0.0, 0.0)
        close = turn <= MOST_TURN_DEG and shift <= MOST_SHIFT_PCT and self.excess_pct <= MOST_EXCESS_PCT
        return close and (self.other is None or self.speedup >= LEAST_SPEEDUP)


def measure(predictions: PairPredictions, room: Room, steps: int = 300) -> list[Row]:
    """Rows of the published aligner, the default and the minimum of the loss, run one after the other."""
    truth = Scene(room.poses, room.focals, np.zeros((len(room.focals), 2)), [], [])
    rows: list[Row] = []
    reference = None
    for name, algorithm in ALGORITHMS:
        began, began_cpu = time.perf_counter(), time.process_time()
        scene = align_pairs(predictions, AlignSettings(algorithm=algorithm, iterations=steps))
        spent, spent_cpu = time.perf_counter() - began, time.process_time() - began_cpu
        reference = reference or scene
        compared = {}
        if scene is not reference:
            compared = {
                "other": differences(scene, reference),
                "speedup": rows[0].seconds / spent,
                "excess_pct": 100.0 * (scene.loss / reference.loss - 1.0),
            }
        rows.append(Row(name, spent, spent_cpu, scene.loss, differences(scene, truth), **compared))
    return rows


def differences(found: Scene, other: Scene) -> tuple[float, float, float]:
    """(degrees, per cent of the path, per cent of the focal), the largest of all views, after the best similarity."""
    poses, target = found.world_from_camera, other.world_from_camera
    # The turn that fits all orientations; the centres alone leave it open about the line of the path.
    turn = nearest_rotation(np.einsum("nij,nkj->ik", target[:, :3, :3], poses[:, :3, :3]))
    centers, goals = poses[:, :3, 3] @ turn.T, target[:, :3, 3]
    centers, goals = centers - centers.mean(axis=0), goals - goals.mean(axis=0)
    centers *= np.sum(centers * goals) / np.sum(centers * centers)
    shift = np.linalg.norm(centers - goals, axis=1) / path_length(target)
    rest = np.einsum("nji,jk,nkl->nil", target[:, :3, :3], turn, poses[:, :3, :3])
    degrees = np.degrees(np.abs(rotation_angle(rest)))
    focal = np.abs(found.focals / other.focals - 1.0)
    return float(degrees.max()), 100.0 * float(shift.max()), 100.0 * float(focal.max())


def complete(count: int) -> list[tuple[int, int]]:
    """Every ordered pair of so many images."""
    return list(permutations(range(count), 2))


def rows(steps: int = 300, scale: float = 1.0, views: int = 8, noise: str = "rays", seed: int = 0) -> list[Row]:
    """The measured rows of the made scene. scale: of the images' sides (which stay multiples of 16)."""
    size = tuple(16 * max(1, round(scale * side / 16)) for side in SIZE)
    room = make_room([size] * views)
    return measure(predict(room, complete(views), NOISES[noise], seed), room, steps)


def table(measured: list[Row]) -> str:
    """The rows as Markdown."""
    head = "| aligner | seconds | CPU s | times as fast | loss | excess % | vs reference: deg | % of path | focal % "
    head += "| vs truth: deg | % of path | focal % |"
    lines = [head, "|" + " --- |" * (head.count("|") - 1)]
    for row in measured:
        other = ["", "", ""] if row.other is None else [f"{value:.3f}" for value in row.other]
        cells = [
            row.algorithm,
            f"{row.seconds:.1f}",
            f"{row.cpu_s:.1f}",
            f"{row.speedup:.1f}" if row.other else "",
            f"{row.loss:.6g}",
            f"{row.excess_pct:+.3f}" if row.other else "",
            *other,
            *(f"{value:.3f}" for value in row.truth),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="The default alignment of pairs against the published one.")
    parser.add_argument("--steps", type=int, default=300, help="steps of the published aligner")
    parser.add_argument("--scale", type=float, default=1.0, help="of the images' sides")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--noise", choices=NOISES, default="rays")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    measured = rows(options.steps, options.scale, options.views, options.noise, options.seed)
    print(f"{options.views} views, {torch.get_num_threads()} threads, noise: {options.noise}\n\n{table(measured)}")
    return 0 if measured[1].reached else 1


if __name__ == "__main__":
    sys.exit(main())
