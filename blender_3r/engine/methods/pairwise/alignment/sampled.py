"""The default alignment: the published optimisation on a grid of the pixels, then the depth of every pixel.

Cameras and pairs are a few hundred numbers on which millions of pixels agree, so every third pixel of every third
row leads them the same way: same start, same steps, hence the same result even where the published number of steps
ends a little before its minimum. Over shallow scenes it can end far before, at places that depend on which pixels take
part; where that is more than a result may be off, second-order steps go the rest of the way (finish.py). Depths of all
pixels follow in closed rounds. Source of the optimisation: DUSt3R (arXiv 2312.14132) section 3.3; specs/dust3r.md
section 5.5.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..predictions import PairPredictions
from .connections import edge_scores
from .fast_full import AllPixels
from .fast_sample import principal_points, roles_of_images
from .fast_variables import Unknowns, Variables
from .finish import finished
from .problem import Parameters, Problem, build_problem, camera_poses, focal_lengths, pair_transforms
from .reference import optimize
from .scene import AlignSettings, Check, Report, Scene, no_check, no_report
from .start import make_start

STAGE = "Computing depth of all pixels"
PIXELS = 24_000  # of an image that take part in the steps, at most
MOST_OBSERVATIONS = 4_000_000  # of all pairs; larger graphs take fewer pixels of each image
DEPTH_ROUNDS = 12
SOFT_SHARE = 1e-4  # of the scene's size: residuals below it count as 0 while depths are solved for


def align_sampled(
    predictions: PairPredictions, settings: AlignSettings, report: Report = no_report, check_cancelled: Check = no_check
) -> Scene:
    """A scene from three or more connected images; see align_reference(), whose result this is up to what the pixels
    left out would have said. Runs on the predictions' device; needs little memory beside them.

    Raises EngineError: "unsolved" when the pairs do not connect the images or predict nothing finite, "usage" when
    known poses do not suffice for the start. Whatever check_cancelled raises ends it between two steps.
    """
    step = grid_step(predictions)
    sample, on_grid = take_grid(predictions, settings, step)
    problem = build_problem(sample, settings.equal_pairs)
    start = make_start(sample, problem, on_grid, edge_scores(predictions))
    parameters, _ = optimize(problem, start, on_grid, report, check_cancelled)
    variables = _variables(problem, parameters, start.normalized, step)
    del problem, parameters
    if start.normalized:  # with known poses the minimum is that of another loss
        variables = finished(predictions, settings, variables, report, check_cancelled)
    return with_depth(predictions, settings, variables, report, check_cancelled)


def with_depth(
    predictions: PairPredictions,
    settings: AlignSettings,
    variables: Variables,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> Scene:
    """The scene of these cameras and pairs with the best depth of every pixel."""
    centers = principal_points(predictions, settings)
    pixels = AllPixels(predictions, roles_of_images(predictions, settings.equal_pairs), centers, check_cancelled)
    report(STAGE, 0, 1)
    unknowns = Unknowns.of(len(predictions.edges), predictions.count, settings)
    survey = pixels.survey(unknowns, variables, None, SOFT_SHARE * variables.size, DEPTH_ROUNDS)
    report(STAGE, 1, 1)
    return Scene(
        variables.world_from_camera,
        variables.focals,
        centers,
        [depth.reshape(size).cpu().numpy() for depth, size in zip(survey.depths, predictions.sizes)],
        [pixels.confidence(image) for image in range(predictions.count)],
        survey.plain_loss,
    )


def grid_step(predictions: PairPredictions) -> int:
    """Every how many-th pixel and row takes part."""
    most = min(PIXELS, MOST_OBSERVATIONS // max(1, 2 * len(predictions.edges)))
    area = max(height * width for height, width in predictions.sizes)
    return max(1, math.ceil((area / most) ** 0.5))


def take_grid(
    predictions: PairPredictions, settings: AlignSettings, step: int
) -> tuple[PairPredictions, AlignSettings]:
    """The pixels of a grid as predictions of smaller images, without copying, and the settings that go with them.

    The first pixel taken, number step // 2, becomes the small image's first: focals and principal points follow.
    """
    first = step // 2

    def taken(values: list[Tensor]) -> list[Tensor]:
        return [value[first::step, first::step] for value in values]

    sizes = [tuple(len(range(first, side, step)) for side in size) for size in predictions.sizes]
    sample = PairPredictions(
        sizes,
        predictions.edges,
        taken(predictions.points_i),
        taken(predictions.points_j),
        taken(predictions.confidence_i),
        taken(predictions.confidence_j),
    )
    focals = settings.known_focals
    on_grid = replace(
        settings,
        known_focals=None if focals is None else np.asarray(focals, dtype=np.float64) / step,
        known_principal_points=(principal_points(predictions, settings) - first) / step,
    )
    return sample, on_grid


def _variables(problem: Problem, parameters: Parameters, normalized: bool, step: int) -> Variables:
    """The parameters in the form in which all pixels are looked at, focals in pixels of the whole images."""
    with torch.no_grad():
        exact = parameters.map(lambda value: value.cpu().double())
        rotations, positions = camera_poses(exact)
        linear, shift = pair_transforms(exact, normalized)
        weights = (problem.weights_i + 1e-12)[..., None]
        middles = (problem.points_i * weights).sum(dim=1) / weights.sum(dim=1)
        focals = step * focal_lengths(problem, exact)
    return Variables(
        *(value.cpu().double().numpy() for value in (linear, shift, middles, rotations, positions, focals))
    )
