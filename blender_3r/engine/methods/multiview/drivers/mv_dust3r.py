"""MV-DUSt3R and MV-DUSt3R+: points in a reference view's frame, poses by PnP, and a Gaussian for every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....models.mv_dust3r import MvDust3r, MvDust3rPrediction, view_order
from ..cameras import cameras_after_mv_dust3r, cameras_with_lenses, lowest_confidence
from ..gaussians import gaussian_arrays
from ..options import Options
from ..predictions import Prediction
from . import View


class MvDust3rDriver:
    """Drives a MvDust3r."""

    most = 24  # published for 4 to 24

    def __init__(self, network: MvDust3r, options: Options) -> None:
        self.network = network
        self.fewest = max(2, network.config.n_ref)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.encode(image)[0]

    def predict(self, views: Sequence[View], device: torch.device) -> Prediction:
        order = view_order(len(views))
        chosen = [views[k] for k in order]
        tokens = torch.stack([view.tokens.to(device) for view in chosen])[None]
        images = torch.stack([torch.from_numpy(view.picture.tensor) for view in chosen])[None].to(device)
        found = self.network.predict(tokens, images)
        back = np.argsort(order)
        points, confidence = (list(values[0].cpu().numpy()[back]) for values in (found.points, found.confidence))
        # The reference, the first of the order, is the first of the views: order[0] is 0.
        cameras = cameras_after_mv_dust3r(points, confidence)
        prediction = cameras.as_prediction(
            [view.number for view in views], points, confidence, lowest_confidence(np.stack(confidence))
        )
        prediction.extras.extend(_extras(found, back, points, views))
        return cameras_with_lenses(prediction, views, points)


def _extras(
    found: MvDust3rPrediction, back: np.ndarray, points: list[np.ndarray], views: Sequence[View]
) -> list[dict[str, np.ndarray]]:
    """The Gaussians of each view, in the pass's world."""
    gaussians = found.gaussians
    opacity, scale, rotation = (
        part[0].cpu().numpy()[back] for part in (gaussians.opacity, gaussians.scale, gaussians.rotation)
    )
    unit = float(np.mean([np.linalg.norm(cloud, axis=-1).mean() for cloud in points]))
    return [
        gaussian_arrays(points[k], view.picture.color, opacity[k, ..., 0], scale[k], rotation[k], unit)
        for k, view in enumerate(views)
    ]
