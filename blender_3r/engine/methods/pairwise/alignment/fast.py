"""The optimal aligner: the published loss, minimised by second-order steps on a sample of the pixels.

Cameras, focals and the transforms of the pairs are a few hundred numbers that millions of pixels agree on, so a few
thousand pixels of each image settle them. What every pixel has for itself, its depth, is solved afterwards at full
resolution in closed rounds. Source of the loss: DUSt3R (arXiv 2312.14132) section 3.3; specs/dust3r.md section 5.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..predictions import PairPredictions
from .fast_descent import Memory, State, descend, polish
from .fast_full import AllPixels
from .fast_sample import ImageSample, Role, principal_points, roles_of_images, sample_images
from .fast_start import start
from .fast_system import evaluate
from .fast_variables import Unknowns, Variables
from .scene import AlignSettings, Check, Report, Scene, no_check, no_report

STAGE = "Joining pairs"
# Pixels of an image per level, coarse to fine, and the most steps of each. The last is what cameras are as exact as:
# with 6000, eight views of a shallow scene at 2 % noise were up to 1 % of their path off, with 24000 0.1 %.
LEVELS = ((800, 30), (6000, 20), (24000, 10))
PASSES = 6  # over all pixels at the end, at most
# Observations of one level at most; larger graphs look at fewer pixels per image, down to FEWEST.
MOST_OBSERVATIONS = 4_000_000
FEWEST = 400
# Promised decrease of the loss, as a share of it, at which a level ends, and the last.
TOLERANCE = 1e-6
LAST_TOLERANCE = 1e-7
# Softening of the distance near 0, as a share of the typical residual, and its smallest value as a share of the scene.
SOFT_SHARE = 0.05
SOFT_FLOOR = 1e-6


def align_fast(
    predictions: PairPredictions,
    settings: AlignSettings,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> Scene:
    """Join pairs into one scene.

    The pairs must connect all images. Known poses, focals and principal points are kept; the world is that of the
    known poses, or else of the strongest pair with the pairs' scales at a geometric mean of 0.5. Two known poses or
    more fix the scale; the published loss then gains by drawing all depths in, so distances are taken in the pairs' own
    scales instead, and the loss returned, which is the published one, can lie above the published aligner's. Runs on
    the predictions' device; the small systems on the processor. Raises EngineError when the pairs do not connect the
    images, and whatever check_cancelled raises, which is asked several times a second.
    """
    roles = roles_of_images(predictions, settings.equal_pairs)
    centers = principal_points(predictions, settings)
    unknowns = Unknowns.of(len(predictions.edges), predictions.count, settings)
    progress = Progress(report, sum(most for _, most in LEVELS) + PASSES)
    state, soft = minimise(predictions, settings, None, check_cancelled, progress)
    pixels = AllPixels(predictions, roles, centers, check_cancelled)
    loss = polish(pixels, unknowns, state, soft, PASSES, LAST_TOLERANCE, progress.step)
    progress.reach(progress.total)
    return Scene(
        state.variables.world_from_camera,
        state.variables.focals,
        centers,
        [depth.reshape(size).cpu().numpy() for depth, size in zip(state.depths, predictions.sizes)],
        [pixels.confidence(image) for image in range(predictions.count)],
        loss,
    )


def minimise(
    predictions: PairPredictions,
    settings: AlignSettings,
    variables: Variables | None,
    check_cancelled: Check = no_check,
    progress: Progress | None = None,
) -> tuple[State, float]:
    """The minimum of the loss over samples of the pixels, level by level, and the softening it is that of.

    variables: where to begin, which leaves out the coarsest level; a start of its own when None.
    """
    roles = roles_of_images(predictions, settings.equal_pairs)
    centers = principal_points(predictions, settings)
    unknowns = Unknowns.of(len(predictions.edges), predictions.count, settings)
    limit = most_pixels(roles)
    progress = progress or Progress(no_report, 0)
    done = 0
    for count, most in LEVELS if variables is None else LEVELS[1:]:
        progress.reach(done)
        samples = sample_images(predictions, roles, centers, min(count, limit))
        check_cancelled()
        if variables is None:
            variables = start(predictions, samples, roles, settings, check_cancelled)
        state = lowest(samples, unknowns, variables, most, check_cancelled, progress.step)
        variables = state.variables
        done += most
    progress.reach(done)
    return state, softening(samples, unknowns, variables, check_cancelled)


def most_pixels(roles: list[list[Role]]) -> int:
    """Pixels of an image that a level may take at most."""
    return max(FEWEST, MOST_OBSERVATIONS // max(1, sum(len(own) for own in roles)))


def lowest(
    samples: list[ImageSample],
    unknowns: Unknowns,
    variables: Variables,
    steps: int,
    check_cancelled: Check,
    on_step: Callable[[], None],
) -> State:
    """Where at most so many steps on samples lead from these variables."""
    soft = softening(samples, unknowns, variables, check_cancelled)
    loss, depths = evaluate(samples, unknowns, variables, None, soft, check_cancelled)
    state = State(variables, depths, loss, Memory())
    descend(samples, unknowns, state, soft, steps, TOLERANCE, check_cancelled, on_step)
    return state


@dataclass
class Progress:
    """Steps done, told in order."""

    report: Report
    total: int
    done: int = 0

    def reach(self, done: int) -> None:
        self.done = max(self.done, done)
        self.report(STAGE, self.done, self.total)

    def step(self) -> None:
        self.reach(self.done + 1)


def softening(samples: list[ImageSample], unknowns: Unknowns, variables: Variables, check_cancelled: Check) -> float:
    """The length below which residuals count as 0: small beside the typical one."""
    floor = SOFT_FLOOR * variables.size
    loss, _ = evaluate(samples, unknowns, variables, None, floor, check_cancelled)
    rates = unknowns.rates(variables)
    weight = sum(float(rates[sample.pairs] @ sample.weights.sum(dim=1).cpu().double().numpy()) for sample in samples)
    return max(floor, SOFT_SHARE * loss / max(weight, np.finfo(float).tiny))
