"""Descent of the fast aligner: quasi-Newton steps measured by the quadratic form above the loss.

Minimising the form itself (reweighted least squares) never fails but is slow where the errors lie along the rays. The
form is therefore only the metric that L-BFGS starts each step from; the changes of the gradient teach it the rest.
Source: Nocedal and Wright, Numerical Optimization, 2006, section 7.2.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .fast_full import AllPixels
from .fast_metric import Metric
from .fast_sample import ImageSample
from .fast_system import DEPTH_ROUNDS, FIRST_ROUNDS, evaluate, linearise
from .fast_variables import Unknowns, Variables
from .scene import Check

MEMORY = 8
SUFFICIENT = 1e-4  # share of the promised decrease that a step must bring
HALVINGS = 8


class Memory:
    """Pairs of steps and changes of the gradient."""

    def __init__(self) -> None:
        self.kept: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=MEMORY)

    def add(self, step: np.ndarray, change: np.ndarray) -> None:
        """Remember a step, unless the gradient did not grow along it."""
        along = float(step @ change)
        if along > 1e-10 * float(np.linalg.norm(step) * np.linalg.norm(change)):
            self.kept.append((step, change, along))

    def direction(self, gradient: np.ndarray, metric: Metric) -> np.ndarray:
        """The quasi-Newton step (m,)."""
        rest, shares = gradient.copy(), []
        for step, change, along in reversed(self.kept):
            shares.append(float(step @ rest) / along)
            rest -= shares[-1] * change
        found = metric.solve(rest)
        for (step, change, along), share in zip(self.kept, reversed(shares)):
            found += step * (share - float(change @ found) / along)
        return -found


@dataclass
class State:
    """Where a descent is: variables, depths per image, loss; and what it has learnt of the loss's shape."""

    variables: Variables
    depths: list[Tensor]
    loss: float
    memory: Memory
    metric: Metric | None = None


def descend(
    samples: list[ImageSample],
    unknowns: Unknowns,
    state: State,
    softening: float,
    steps: int,
    tolerance: float,
    check_cancelled: Check,
    on_step: Callable[[], None],
) -> None:
    """At most so many steps on samples; state is changed.

    Ends earlier when a step promises to lower the loss by less than tolerance of it, or nothing lowers it.
    """
    last: tuple[np.ndarray, np.ndarray] | None = None
    for _ in range(steps):
        system = linearise(samples, unknowns, state.variables, state.depths, softening, check_cancelled)
        gradient = unknowns.allowed(system.gradient)
        if last is not None:
            state.memory.add(last[0], gradient - last[1])
        state.metric = Metric(system, unknowns)
        direction, slope = downhill(gradient, state)
        share = 1.0
        for _ in range(HALVINGS):
            trial = unknowns.moved(state.variables, share * direction)
            loss, depths = evaluate(samples, unknowns, trial, state.depths, softening, check_cancelled)
            if loss <= system.loss + SUFFICIENT * share * slope:
                break
            share *= 0.5
        else:
            return
        state.variables, state.depths, state.loss = trial, depths, loss
        last = (share * direction, gradient)
        on_step()
        if -slope < tolerance * loss:
            return


def polish(
    pixels: AllPixels,
    unknowns: Unknowns,
    state: State,
    softening: float,
    steps: int,
    tolerance: float,
    on_step: Callable[[], None],
) -> float:
    """At most so many steps on all pixels, with the shape that samples taught; state is changed.

    Every step is one pass over the predictions. Returns the published loss.
    """
    found = pixels.survey(unknowns, state.variables, None, softening, FIRST_ROUNDS)
    for _ in range(steps):
        on_step()
        gradient = unknowns.allowed(found.gradient)
        direction, slope = downhill(gradient, state)
        if -slope < tolerance * found.loss:
            break
        trial = unknowns.moved(state.variables, direction)
        after = pixels.survey(unknowns, trial, found.depths, softening, DEPTH_ROUNDS)
        if after.loss > found.loss:
            if not state.memory.kept:
                break
            state.memory.kept.clear()  # what samples taught does not hold here; the metric alone does
            continue
        state.memory.add(direction, unknowns.allowed(after.gradient) - gradient)
        state.variables, found = trial, after
    state.depths, state.loss = found.depths, found.loss
    return found.plain_loss


def downhill(gradient: np.ndarray, state: State) -> tuple[np.ndarray, float]:
    """(step (m,), the loss's slope along it, below 0)."""
    direction = state.memory.direction(gradient, state.metric)
    slope = float(gradient @ direction)
    if slope >= 0.0:
        state.memory.kept.clear()
        direction = -state.metric.solve(gradient)
        slope = float(gradient @ direction)
    return direction, slope
