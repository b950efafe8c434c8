"""Solving with the quadratic form of the fast aligner."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .fast_system import System
from .fast_variables import Unknowns

DAMPING = 1e-6  # relative; stands for the directions nothing measures, such as where the world's origin is
# Up to so many unknowns (about 200 pairs) the form is one matrix; beyond, it is only ever multiplied with.
DENSE = 1500
MOST_ROUNDS = 200
ACCURACY = 1e-3


class Metric:
    """What stands for the inverse of the loss's second derivative: the inverse of the form."""

    def __init__(self, system: System, unknowns: Unknowns) -> None:
        self.unknowns = unknowns
        self.blocks = system.blocks
        diagonal = np.zeros(unknowns.count)
        for columns, block in system.blocks:
            np.add.at(diagonal, columns, np.maximum(np.diagonal(block), 0.0))
        # The scales' mean is held by a stiffness of its own, for the form says nothing of it then.
        self.stiffness = diagonal[unknowns.log_scales].sum() / unknowns.pairs**2 if unknowns.normalized else 0.0
        self.scale = np.where(unknowns.free, 1.0 / np.sqrt(diagonal + 1e-12 * diagonal.max() + 1e-300), 0.0)
        self.factor = self._factorised() if unknowns.count <= DENSE else None

    def solve(self, vector: np.ndarray) -> np.ndarray:
        """The form's inverse times a gradient (m,)."""
        right = self.scale * vector
        if self.factor is None:
            found = self._conjugate(right)
        else:
            free = self.unknowns.free
            found = np.zeros_like(right)
            found[free] = cho_solve(self.factor, right[free])
        return self.unknowns.allowed(self.scale * found)

    def _factorised(self) -> tuple[np.ndarray, bool]:
        unknowns = self.unknowns
        matrix = np.zeros((unknowns.count, unknowns.count))
        for columns, block in self.blocks:
            np.add.at(matrix, (columns[:, None], columns), block)
        if unknowns.normalized:
            where = unknowns.log_scales
            matrix[where] -= matrix[where].mean(axis=0)
            matrix[:, where] -= matrix[:, where].mean(axis=1, keepdims=True)
            matrix[where, where] += self.stiffness
        free = unknowns.free
        matrix = (matrix * self.scale * self.scale[:, None])[np.ix_(free, free)]
        damping = DAMPING
        while True:
            try:
                return cho_factor(matrix + damping * np.eye(len(matrix)), lower=True)
            except np.linalg.LinAlgError:  # rounding of the float32 sums
                damping *= 10.0

    def _times(self, vector: np.ndarray) -> np.ndarray:
        """The damped, scaled form times (m,)."""
        moved = self.scale * vector
        kept = self.unknowns.allowed(moved)
        found = np.zeros_like(vector)
        for columns, block in self.blocks:
            np.add.at(found, columns, block @ kept[columns])
        found = self.unknowns.allowed(found)
        if self.unknowns.normalized:
            where = self.unknowns.log_scales
            found[where] += self.stiffness * moved[where].sum()
        return self.scale * found + 10.0 * DAMPING * vector

    def _conjugate(self, right: np.ndarray) -> np.ndarray:
        """Conjugate gradients from 0; the form is scaled to a diagonal of 1 already."""
        found, rest = np.zeros_like(right), right.copy()
        direction, power = rest.copy(), float(rest @ rest)
        target = ACCURACY**2 * power
        for _ in range(MOST_ROUNDS):
            if power <= target:
                break
            image = self._times(direction)
            curvature = float(direction @ image)
            if curvature <= 0.0:
                break
            found += power / curvature * direction
            rest -= power / curvature * image
            before, power = power, float(rest @ rest)
            direction = rest + power / before * direction
        return found
