"""VGGT: the camera head's cameras, depth of the depth head or of the point head, and points that are followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ....errors import EngineError
from ....geometry.pose_encoding import decode_pose
from ....models.vggt import Aggregated, Vggt, VggtPrediction
from ...views import unit_confidence
from ..cameras import cameras_with_lenses
from ..options import TRACKS, Options
from ..predictions import FOLLOWED, Followed, Prediction
from ..queries import choose_queries, usable_tracks
from . import View

DROPPED = 0.25  # share of a pass's pixels, the least sure, that the authors' viewer leaves out


class VggtDriver:
    """Drives a Vggt."""

    fewest, most = 1, 200  # the authors measured up to 200

    def __init__(self, network: Vggt, options: Options) -> None:
        """Raises EngineError("usage") when the weights lack a head that is asked for."""
        self.network, self.options = network, options
        heads = network.config.heads
        chosen = ("depth" if "depth" in heads else "points") if options.head == "auto" else options.head
        self.head = {"depth": "depth", "points": "point"}[chosen]
        wanted = ["camera", self.head, *(["track"] if options.learned_tracks else [])]
        missing = [head for head in wanted if head not in heads]
        if missing:
            raise EngineError(
                "usage",
                f"These weights have no {' and no '.join(missing)} head.",
                "Choose VGGT 1B, or do without what needs it.",
            )

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.encode(image)[0]

    def predict(self, views: Sequence[View], device: torch.device) -> Prediction:
        size = views[0].picture.size
        patches = torch.stack([view.tokens.to(device) for view in views])[None]
        aggregated = self.network.aggregate(patches, size)
        found = self.network.predict(aggregated, ("camera", self.head))
        prediction = self._read(views, found, size)
        if self.options.learned_tracks and len(views) > 1:
            return replace(prediction, followed=self._follow(views, patches, aggregated))
        return prediction

    def _read(self, views: Sequence[View], found: VggtPrediction, size: tuple[int, int]) -> Prediction:
        camera_from_world, matrices = decode_pose(found.pose_encoding[0].cpu().numpy(), size)
        poses = np.linalg.inv(camera_from_world)
        if self.head == "depth":
            depth, raw = found.depth[0].cpu().numpy(), found.depth_confidence[0].cpu().numpy()
        else:
            points, raw = found.points[0].cpu().numpy(), found.confidence[0].cpu().numpy()
            turned = np.einsum("sij,shwj->shwi", camera_from_world[:, :3, :3], points)
            depth = (turned + camera_from_world[:, None, None, :3, 3])[..., 2].astype(np.float32)
        least = np.quantile(raw, DROPPED)
        prediction = Prediction(
            [view.number for view in views],
            poses,
            np.stack([matrices[:, 0, 0], matrices[:, 1, 1]], axis=1),
            matrices[:, :2, 2],
            list(depth),
            list(unit_confidence(raw)),
            list(raw >= least),
        )
        return cameras_with_lenses(prediction, views)

    # -- points followed

    def _follow(self, views: Sequence[View], patches: torch.Tensor, first: Aggregated) -> Followed:
        """Corners of some of the views in all others. Points are of a pass's first view, so each takes a pass."""
        count, points = TRACKS[self.options.quality]
        asked = sorted({round(k) for k in np.linspace(0, len(views) - 1, count + 1)[:-1]})
        parts, tracks = [], 0
        for one in asked:
            order = [one, *(k for k in range(len(views)) if k != one)]
            queries = choose_queries(views[one].picture, points)
            if len(queries) == 0:
                continue
            aggregated = first if one == 0 else self.network.aggregate(patches[:, order], views[one].picture.size)
            asked_points = torch.from_numpy(queries)[None].to(patches.device)
            found = self.network.predict(aggregated, ("track",), asked_points).tracks
            part = usable_tracks(
                found.positions[0].cpu().numpy(),
                (found.visibility[0] * found.confidence[0]).cpu().numpy(),
                [views[k].picture for k in order],
                [views[k].number for k in order],
            )
            parts.append(replace(part, track=part.track + tracks))
            tracks += len(queries)
        if not parts:
            return Followed(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0))
        return Followed(*(np.concatenate([getattr(part, name) for part in parts]) for name in FOLLOWED))
