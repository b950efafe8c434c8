"""The two stages of the sparse alignment: points in the world first, then pixels (spec mast3r_sfm, section 3.7)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import Tensor

from ....errors import EngineError
from ..alignment.scene import Check, Report, no_check, no_report
from .condense import Condensed
from .losses import Loss, fallback_loss, match_loss_2d, match_loss_3d
from .parameters import Forward, Geometry, Parameters
from .tree import KinematicTree

BETAS = (0.9, 0.9)
TREES = ("hclust-ward", "mst")
COARSE, FINE = "coarse", "fine"
# Fewer images do not tell their focals from noisy matches as well as the network does from each of them. Measured with
# 2 % noise: of 2 images focals fall by 30 %, of 4 by 10 %, while 8 correct focals that the network has 6 % wrong.
IMAGES_FOR_FOCALS = 6


@dataclass(frozen=True)
class SparseSettings:
    """How matched images are joined into a scene. Whatever is per image follows the order of the images.

    coarse_iterations, coarse_rate, coarse_gamma: of the stage on points; fine_*: of the stage on pixels, which is left
    out with 0 iterations. fallback_gamma, fallback_weight: of pairs without matches. matching_threshold: a pair takes
    part with its matches when the best of them has more confidence. optimise_depth, optimise_center, optimise_focal:
    whether the fine stage moves relative depths, principal points and focals; focals are moved from
    IMAGES_FOR_FOCALS images on when None. The published demo moves all; principal points left free make cameras from
    noisy pairs two to three times less exact. shared_intrinsics: one focal and principal point for all images.
    depth_mode: "add" or "mul". tree: "hclust-ward" or "mst".
    known_focals: (n,) network pixels, nan where unknown. known_principal_points: (n, 2), the first pixel's centre at
    0, nan where unknown. known_poses: (n, 4, 4) world_from_camera, nan where unknown, two at least: when all are known
    they are kept, otherwise the result is moved onto them.
    joining_matches, joining_share: a pair connects its images when it has this many matches, and this share of the
    pixels of both views is predicted with some confidence (see SparseCollector).
    clean: lower the confidence of points that hide what other images see.
    """

    coarse_iterations: int = 300
    coarse_rate: float = 0.07
    coarse_gamma: float = 1.5
    fine_iterations: int = 300
    fine_rate: float = 0.01
    fine_gamma: float = 0.5
    fallback_gamma: float = 1.1
    fallback_weight: float = 0.01
    matching_threshold: float = 0.0
    optimise_depth: bool = True
    optimise_center: bool = False
    optimise_focal: bool | None = None
    shared_intrinsics: bool = False
    depth_mode: str = "add"
    tree: str = "hclust-ward"
    known_focals: np.ndarray | None = None
    known_principal_points: np.ndarray | None = None
    known_poses: np.ndarray | None = None
    joining_matches: int = 10
    joining_share: float = 0.02
    clean: bool = True

    def __post_init__(self) -> None:
        for name, known in (("tree", TREES), ("depth_mode", ("add", "mul"))):
            if getattr(self, name) not in known:
                raise EngineError(
                    "usage",
                    f"The alignment knows no {name} {getattr(self, name)!r}.",
                    f"Use one of {', '.join(known)}.",
                )
        if self.coarse_iterations < 0 or self.fine_iterations < 0:
            raise EngineError("usage", "The number of iterations is negative.", "Give 0 or more.")

    def select(self, images: Iterable[int]) -> SparseSettings:
        """The settings for some of the images, in their order."""
        chosen = list(images)
        names = ("known_focals", "known_principal_points", "known_poses")
        given = {name: np.asarray(value)[chosen] for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **given)


@dataclass
class SparseResult:
    """geometry: the forward pass before the last step. losses, rates: of every iteration made, the loss before its
    step. stages: name of each stage -> the geometry at its end.
    """

    geometry: Geometry
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    stages: dict[str, Geometry] = field(default_factory=dict)


class SparseOptimiser:
    """One alignment: parameters, what they give, and how they move."""

    def __init__(self, condensed: Condensed, tree: KinematicTree, settings: SparseSettings | None = None) -> None:
        self.condensed = condensed
        self.settings = settings or SparseSettings()
        poses = self.settings.known_poses
        fixed = None
        if poses is not None and np.isfinite(poses).all():
            fixed = torch.as_tensor(np.asarray(poses), dtype=torch.float32).to(condensed.core.device)
        self.forward = Forward(condensed, tree, self.settings.depth_mode, fixed)
        self.parameters = Parameters.initial(condensed, self.settings.shared_intrinsics)
        self._known_focal, self._known_center = self._preset()

    def _preset(self) -> tuple[Tensor | None, Tensor | None]:
        """Put known intrinsics into the parameters; which entries are known, or None."""
        settings, parameters, device = self.settings, self.parameters, self.condensed.core.device
        masks: list[Tensor | None] = [None, None]
        if settings.known_focals is not None:
            focals = _one_if_shared(settings.known_focals, settings.shared_intrinsics)
            masks[0] = torch.from_numpy(np.isfinite(focals)).to(device)
            known = torch.from_numpy(np.log(focals)).float().to(device)
            parameters.log_focal = torch.where(masks[0], known, parameters.log_focal)
        if settings.known_principal_points is not None:
            relative = np.asarray(settings.known_principal_points) / self.condensed.size.cpu().numpy()
            relative = _one_if_shared(relative, settings.shared_intrinsics)
            masks[1] = torch.from_numpy(np.isfinite(relative)).to(device)
            known = torch.from_numpy(relative).float().to(device)
            parameters.center = torch.where(masks[1], known, parameters.center)
        return masks[0], masks[1]

    def moving(self, stage: str) -> list[str]:
        """Names of the parameters that a stage moves."""
        names = ["log_size"] if self.forward.known_poses is not None else ["quaternion", "translation", "log_size"]
        if stage == FINE:
            free = self.settings.optimise_focal
            free = self.condensed.count >= IMAGES_FOR_FOCALS if free is None else free
            names += ["center"] * self.settings.optimise_center + ["log_focal"] * free
            names += ["core"] * self.settings.optimise_depth
        return names

    def evaluate(self, stage: str) -> tuple[Geometry, Loss]:
        """The geometry and loss of the present parameters."""
        geometry = self.forward(self.parameters)
        if stage == COARSE:
            main = match_loss_3d(self.condensed, geometry, self.settings.coarse_gamma)
        else:
            main = match_loss_2d(self.condensed, geometry, self.settings.fine_gamma)
        fallback = fallback_loss(self.condensed, geometry, self.settings.fallback_gamma)
        return geometry, Loss(main, fallback, main + self.settings.fallback_weight * fallback)

    def gradients(self, stage: str) -> tuple[Geometry, Loss]:
        """evaluate(), with the gradients of the total left in the parameters the stage moves."""
        for item in fields(Parameters):
            tensor = getattr(self.parameters, item.name)
            tensor.requires_grad_(item.name in self.moving(stage)).grad = None
        geometry, loss = self.evaluate(stage)
        if loss.total.requires_grad:
            loss.total.backward()
        for mask, tensor in (
            (self._known_focal, self.parameters.log_focal),
            (self._known_center, self.parameters.center),
        ):
            if mask is not None and tensor.grad is not None:
                tensor.grad[mask] = 0.0
        return geometry, loss

    def run(self, report: Report = no_report, check_cancelled: Check = no_check) -> SparseResult:
        """Both stages. report: ("Aligning cameras", iterations done, of all). Raises what check_cancelled raises,
        and EngineError when the very first loss is not a number.
        """
        total = self.settings.coarse_iterations + self.settings.fine_iterations
        result = SparseResult(self.forward(self.parameters).detached())

        def advance() -> None:
            check_cancelled()
            report("Aligning cameras", len(result.losses), total)

        for stage in (COARSE, FINE):
            self.run_stage(stage, result, advance)
        return result

    def run_stage(self, stage: str, result: SparseResult, advance: Check = no_check) -> None:
        """One stage, written into result; advance is called after every iteration."""
        settings = self.settings
        count, top_rate = settings.coarse_iterations, settings.coarse_rate
        if stage == FINE:
            count, top_rate = settings.fine_iterations, settings.fine_rate
        if count == 0:
            return
        steppers = self._steppers(stage)
        for number in range(count):
            rate = top_rate * (1.0 + math.cos(math.pi * number / count)) / 2.0
            geometry, loss = self.gradients(stage)
            value = float(loss.total.detach())
            if not math.isfinite(value):
                if not result.losses:
                    raise EngineError(
                        "unsolved",
                        "The predictions of the model hold values that are not numbers.",
                        "Compute in float32, or leave out the images that cause it.",
                    )
                break
            result.geometry = geometry.detached()
            result.losses.append(value)
            result.rates.append(rate)
            for optimizer, times in steppers:
                optimizer.param_groups[0]["lr"] = rate
                for _ in range(times):
                    optimizer.step()
            with torch.no_grad():
                self.parameters.quaternion /= self.parameters.quaternion.norm(dim=1, keepdim=True)
            advance()
        result.stages[stage] = result.geometry

    def _steppers(self, stage: str) -> list[tuple[torch.optim.Adam, int]]:
        """Optimisers and how often each steps per iteration."""
        own, shared = [], []
        for name in self.moving(stage):
            is_shared = self.settings.shared_intrinsics and name in ("center", "log_focal")
            (shared if is_shared else own).append(getattr(self.parameters, name).requires_grad_())
        # The published program lists the shared tensors once per image, which steps them that often.
        groups = ((own, 1), (shared, self.condensed.count))
        return [(torch.optim.Adam(tensors, betas=BETAS, eps=1e-8), times) for tensors, times in groups if tensors]


def _one_if_shared(values: np.ndarray, shared: bool) -> np.ndarray:
    """(n, ...) as it is, or the mean of what is known of it as (1, ...)."""
    values = np.asarray(values, dtype=np.float64)
    if not shared:
        return values
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    number = known.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)[None]
