"""Pi3 and Pi3X: no view is special; each gives its own points, pose and rays. Pi3X takes what is known into account."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....geometry.edges import depth_normal_edges
from ....geometry.focal import intrinsics_from_rays
from ....models.pi3 import Pi3, Pi3Prediction
from ....models.pi3x import Pi3X
from ....models.pi3x_priors import Priors
from ..cameras import cameras_with_lenses
from ..options import Options
from ..pictures import depth_prior, intrinsics_prior
from ..predictions import Prediction
from . import View

LEAST_CONFIDENCE = 0.1  # of the authors' demo


class Pi3Driver:
    """Drives a Pi3 or a Pi3X."""

    fewest, most = 1, 1000  # the authors measured up to 1024

    def __init__(self, network: Pi3, options: Options) -> None:
        self.network = network
        self.takes_priors = isinstance(network, Pi3X)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.encode(image)[0]

    def predict(self, views: Sequence[View], device: torch.device) -> Prediction:
        size = views[0].picture.size
        patches = torch.stack([view.tokens.to(device) for view in views])[None]
        if self.takes_priors:
            prediction = self._read(views, self.network.predict(patches, size, make_priors(views, size)))
            return _with_given_lenses(prediction, views)
        return cameras_with_lenses(self._read(views, self.network.predict(patches, size)), views)

    @staticmethod
    def _read(views: Sequence[View], found: Pi3Prediction) -> Prediction:
        local = found.local_points[0].cpu().numpy()
        matrices = intrinsics_from_rays(found.rays[0].cpu().numpy())
        confidence = found.confidence[0].float().sigmoid().cpu().numpy()
        kept = []
        for points, trust in zip(local, confidence, strict=True):
            sure = (trust > LEAST_CONFIDENCE) & np.isfinite(points).all(axis=-1) & (points[..., 2] > 0)
            kept.append(sure & ~depth_normal_edges(points, sure))
        return Prediction(
            [view.number for view in views],
            found.world_from_camera[0].cpu().numpy().astype(np.float64),
            np.stack([matrices[:, 0, 0], matrices[:, 1, 1]], axis=1),
            matrices[:, :2, 2],
            list(local[..., 2]),
            list(confidence),
            kept,
        )


def make_priors(views: Sequence[View], size: tuple[int, int]) -> Priors | None:
    """What is known of the views, for pictures of (h, w); None when nothing is."""
    given: dict[str, torch.Tensor] = {}
    lenses = [view.lens for view in views]
    if any(lenses):
        matrices = [
            np.eye(3) if lens is None else intrinsics_prior(lens.matrix, (lens.height, lens.width), size)
            for lens in lenses
        ]
        given["intrinsics"], given["use_rays"] = _scene(matrices), _mask(lenses)
    poses = [view.pose for view in views]
    if any(pose is not None for pose in poses):
        # Poses are taken relative to the first view's, so that one without a pose must not be at the origin.
        start = next(pose for pose in poses if pose is not None)
        filled = [start if pose is None else pose for pose in poses]
        given["world_from_camera"], given["use_poses"] = _scene(filled), _mask(poses)
    depths = [view.depth for view in views]
    if any(depth is not None for depth in depths):
        maps = [np.zeros(size, np.float32) if depth is None else depth_prior(depth, size) for depth in depths]
        given["depth"], given["use_depth"] = _scene(maps), _mask(depths)
    return Priors(**given) if given else None


def _with_given_lenses(prediction: Prediction, views: Sequence[View]) -> Prediction:
    """The network was told the lenses, so its points fit them: they take the place of what its rays say."""
    for k, view in enumerate(views):
        if view.lens is not None:
            prediction.focals[k], prediction.principal_points[k] = view.picture.pinhole(view.lens)
    return prediction


def _scene(values: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(values).astype(np.float32))[None]


def _mask(values: Sequence[object]) -> torch.Tensor:
    return torch.tensor([[value is not None for value in values]])
