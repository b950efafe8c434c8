"""What bundle adjustment is told, and the parameters that it moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BundleOptions:
    """What is refined and how.

    lens: "shared" (one focal per lens group), "zoom" (one per frame) or "fixed". distortion: how many of k1 k2 p1 p2
    (0, 1, 2 or 4) per lens group. center: the principal point too, one per lens group. rotation_only: all cameras stay
    where they are and only turn. loss: "squared", "soft_l1" or "cauchy", turning from square to less at scale_px.
    smoothness: with "zoom", weight (px^2) on the squared second difference of log focal over the frames. tolerance:
    relative fall of the cost below which it stops.
    """

    lens: str = "shared"
    distortion: int = 1
    center: bool = False
    rotation_only: bool = False
    loss: str = "soft_l1"
    scale_px: float = 1.0
    smoothness: float = 0.0
    max_iterations: int = 30
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.lens not in ("shared", "zoom", "fixed"):
            raise ValueError(f"unknown lens model: {self.lens}")
        if self.loss not in ("squared", "soft_l1", "cauchy"):
            raise ValueError(f"unknown loss: {self.loss}")
        if self.distortion not in (0, 1, 2, 4):
            raise ValueError(f"{self.distortion} distortion coefficients asked for; 0, 1, 2 or 4 can be refined")


@dataclass
class State:
    """Points are origin + direction / nearness, with a fixed origin of each point among the cameras that see it: the
    image of a distant point is nearly linear in its nearness, and stays so through infinity (0) and beyond.
    """

    rotation: np.ndarray
    translation: np.ndarray
    log_focal: np.ndarray
    distortion: np.ndarray
    center: np.ndarray
    direction: np.ndarray
    nearness: np.ndarray
    log_scale: np.ndarray  # of the frames' predicted depth


def tangents(direction: np.ndarray) -> np.ndarray:
    """(p, 3, 2) two unit vectors orthogonal to each unit direction (p, 3) and to each other."""
    x, y, z = direction.T
    # Frisvad's construction: no branch but the sign, no division by a small number.
    sign = np.where(z < 0, -1.0, 1.0)
    a = -1.0 / (sign + z)
    b = x * y * a
    first = np.stack([1 + sign * x * x * a, sign * b, -sign * x], axis=1)
    second = np.stack([b, sign + y * y * a, -y], axis=1)
    return np.stack([first, second], axis=2)


def group_means(values: np.ndarray, group: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Each value of a used frame replaced by its group's mean; groups without used frames keep their values."""
    count = np.bincount(group[used], minlength=group.max() + 1)
    total = np.bincount(group[used], weights=values[used], minlength=len(count))
    return np.where(count[group] > 0, total[group] / np.maximum(count[group], 1), values)
