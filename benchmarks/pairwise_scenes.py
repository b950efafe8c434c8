"""Scenes of many kinds for the study of the alignments, with all that is true of them.

Footage whose focal lengths the geometry tells well (a camera that walks through a place, one that circles a thing),
badly (a shallow relief, a straight drive), and rendered shots. Every scene is a Room: poses, focals and depth of its
views; what is wrong with predictions of it is chosen apart, by NOISES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from blender_3r.engine.methods.pairwise.predictions import PairPredictions
from tests.models.support import pair_scene

from .room import Disturbance, Room, filmed, looking, make_room, predict

VIEWS = 8
SMALL, LARGER = (96, 128), (144, 192)  # (height, width)
SHOT_STEP = 5  # rendered shots at 128x72
STAND_IN = "all directions"  # 2 % of each coordinate, the stand-in predictor of the tests
NOISES = {
    "along rays": Disturbance(white=0.003, along=0.02),
    "waves": Disturbance(white=0.005, along=0.005, smooth=0.02, strewn=True),
    "outliers": Disturbance(white=0.003, along=0.02, strewn=True, wrong=0.03),
}
MADE_NOISES = {
    "along rays": ("corridor", "orbit", "relief"),
    "waves": ("drive", "relief x2", "relief"),
    "outliers": ("room", "relief x3"),
}
# Rendered shots have depth at every tenth frame; which of these are taken.
SHOTS = {
    "syn_walk": {"all": slice(None), "first 4": slice(4), "every other": slice(None, None, 2)},
    "syn_moving": {"all": slice(None), "last 4": slice(-4, None)},
    "syn_zoom": {"all": slice(None), "first 4": slice(4)},
}


@dataclass(frozen=True)
class Case:
    """A scene with a kind of noise. make: the scene from (size, seed)."""

    scene: str
    noise: str
    seed: int
    size: tuple[int, int]
    make: Callable[[tuple[int, int], int], Room]

    def build(self) -> tuple[Room, PairPredictions]:
        """The truth, and what a network would say of all its ordered pairs. Deterministic."""
        room = self.make(self.size, self.seed)
        edges = list(permutations(range(len(room.sizes)), 2))
        if self.noise != STAND_IN:
            return room, predict(room, edges, NOISES[self.noise], self.seed)
        random = np.random.default_rng(self.seed)
        return room, pair_scene.predict(room.poses, room.focals, room.depth, edges, 0.02, random)


def cases(shots: Path | None) -> list[Case]:
    """All cases of the study. shots: the folder of the rendered shots; left out when None.

    Noise in all directions comes with several seeds and, where focals are hard to tell, in a larger size as well. Each
    of the other kinds comes to some of the made scenes and to all shots.
    """
    made = {
        "room": lambda size, seed: make_room([size] * VIEWS),
        "orbit": orbit,
        "corridor": corridor,
        "drive": drive,
        "relief x3": lambda size, seed: relief(size, seed, 3.0),
        "relief x2": lambda size, seed: relief(size, seed, 2.0),
        "relief": shallow,
    }
    found = [Case(name, STAND_IN, seed, SMALL, make) for name, make in made.items() for seed in (0, 1)]
    found += [Case("relief", STAND_IN, seed, LARGER, shallow) for seed in (0, 1, 2)]
    found += [Case(name, noise, 0, SMALL, made[name]) for noise, names in MADE_NOISES.items() for name in names]
    if shots is not None:
        for name, choices in SHOTS.items():
            for title, frames in choices.items():
                make = _shot(shots / name, frames)
                found += [Case(f"{name}, {title}", noise, 0, (72, 128), make) for noise in (STAND_IN, *NOISES)]
    return found


def relief(size: tuple[int, int], seed: int, height: float) -> Room:
    """An arc of cameras before a relief. height: 1 is a quarter of a unit up and down at a distance of 4."""
    made = pair_scene.make_scene(VIEWS, size, 0.0, seed, [(0, 1)], relief=height)
    return Room(list(made.predictions.sizes), made.world_from_camera, made.focals, made.depth)


def shallow(size: tuple[int, int], seed: int) -> Room:
    """A relief in which focal lengths are hard to tell."""
    return relief(size, seed, 1.0)


def orbit(size: tuple[int, int], seed: int) -> Room:
    """All round a group of balls on the floor of a hall."""
    random = np.random.default_rng(seed)
    balls = ((0.0, 0.3, 0.0, 0.9), (0.9, 0.7, 0.5, 0.5), (-0.7, 0.8, -0.8, 0.4), (-0.2, 0.9, 1.1, 0.3))
    poses = []
    for angle in np.linspace(0, 2 * np.pi, VIEWS, endpoint=False):
        place = np.array([3.2 * np.sin(angle), -0.6, -3.2 * np.cos(angle)]) + 0.15 * random.standard_normal(3)
        poses.append(looking(place, 0.2 * random.standard_normal(3)))
    return filmed([size] * VIEWS, np.stack(poses), ((-6.0, -2.5, -6.0), (6.0, 1.2, 6.0)), balls)


def drive(size: tuple[int, int], seed: int) -> Room:
    """Straight ahead along a street, 1 unit from view to view."""
    random = np.random.default_rng(seed)
    places = [(side, z) for z in range(3, 30, 3) for side in (-1, 1)]
    sides = [(side * random.uniform(2.2, 3.8), random.uniform(0.2, 0.8), z, 0.8) for side, z in places]
    poses = []
    for number in range(VIEWS):
        place = np.array([0.0, -0.2, float(number)]) + 0.04 * random.standard_normal(3)
        poses.append(looking(place, place + [0.03 * random.standard_normal(), 0.03 * random.standard_normal(), 1.0]))
    return filmed([size] * VIEWS, np.stack(poses), ((-5.0, -6.0, -3.0), (5.0, 1.2, 40.0)), tuple(sides))


def corridor(size: tuple[int, int], seed: int) -> Room:
    """Walking down a corridor while looking from one wall to the other."""
    random = np.random.default_rng(seed)
    balls = tuple((random.uniform(-0.9, 0.9), random.uniform(-0.5, 1.0), z, 0.25) for z in np.arange(2.0, 12.0, 1.2))
    poses = []
    for number, part in enumerate(np.linspace(-1, 1, VIEWS)):
        place = np.array([0.5 * np.sin(2 * part), -0.2, 0.4 * number]) + 0.03 * random.standard_normal(3)
        poses.append(looking(place, place + [0.6 * part, 0.05, 1.0]))
    return filmed([size] * VIEWS, np.stack(poses), ((-1.2, -1.4, -2.0), (1.2, 1.2, 14.0)), balls)


def _shot(folder: Path, frames: slice) -> Callable[[tuple[int, int], int], Room]:
    """Frames of a rendered shot; sky has depth 0."""

    def make(size: tuple[int, int], seed: int) -> Room:
        made = pair_scene.shot_scene(folder, SHOT_STEP, 0.0)
        depth = made.depth[frames]
        return Room([one.shape for one in depth], made.world_from_camera[frames], made.focals[frames], depth)

    return make
