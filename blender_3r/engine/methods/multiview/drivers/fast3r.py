"""Fast3R: points of all views in the first one's frame, sharper ones in each view's own, poses by PnP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....geometry.focal import estimate_focal
from ....models.dust3r import Encoded
from ....models.fast3r import Fast3r
from ..cameras import (
    FOCAL_QUANTILE,
    ViewCameras,
    align_local_points,
    cameras_from_points,
    cameras_of_focals,
    cameras_with_lenses,
)
from ..options import Options
from ..predictions import Prediction
from . import View

DROPPED = 0.1  # share of a pass's pixels, the least sure, that the authors' viewer leaves out


class Fast3rDriver:
    """Drives a Fast3r."""

    fewest = 1

    def __init__(self, network: Fast3r, options: Options) -> None:
        self.network, self.options = network, options
        self.most = network.config.max_image_index + 1

    def encode(self, image: torch.Tensor) -> Encoded:
        return self.network.encode(image)

    def predict(self, views: Sequence[View], device: torch.device) -> Prediction:
        found = self.network.predict([view.tokens.to(device) for view in views])
        points, confidence, local, trust = (
            [tensor[0].cpu().numpy() for tensor in column] for column in zip(*found, strict=True)
        )
        del found
        cameras = self._cameras(views, points, confidence, local)
        if self.options.head != "points":
            points = [align_local_points(*maps) for maps in zip(local, points, confidence, strict=True)]
            confidence = trust
        least = np.quantile(np.concatenate([values.ravel() for values in confidence]), DROPPED)
        prediction = cameras.as_prediction([view.number for view in views], points, confidence, least)
        return cameras_with_lenses(prediction, views, points)

    def _cameras(
        self,
        views: Sequence[View],
        points: list[np.ndarray],
        confidence: list[np.ndarray],
        local: list[np.ndarray],
    ) -> ViewCameras:
        """One focal for all, as published, where one camera took all; else each view's own."""
        one_camera = len({view.picture.original for view in views}) == 1 and self.options.lens != "zoom"
        if one_camera or self.options.lens == "shared":
            return cameras_from_points(points, confidence)
        return cameras_of_focals(points, [_own_focal(*maps) for maps in zip(local, confidence, strict=True)])


def _own_focal(local: np.ndarray, confidence: np.ndarray) -> float:
    """Of one view, from its points in its own frame."""
    return estimate_focal(local, usable=confidence >= np.quantile(confidence, FOCAL_QUANTILE))
