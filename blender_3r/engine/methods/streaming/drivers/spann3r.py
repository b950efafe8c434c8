"""Spann3R: neighbouring frames with a memory of keys and values. Specification sections 3 and 5."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from ....errors import EngineError
from ....geometry.focal import estimate_focal
from ....geometry.poses import move_points
from ....models.dust3r import Encoded
from ....models.outputs import ViewPrediction
from ....models.spann3r import Spann3r, Spann3rStream
from ....models.spann3r_memory import GRACE_FRAMES, SpatialMemory
from ...multiview.cameras import pose_by_default_ransac
from ..options import Options
from .finished import Finished, encoded_from, taken, taken_count, to_numpy

LIMITS = {
    "work_mem_size": "memory_frames",
    "long_mem_size": "memory_tokens",
    "attn_thresh": "attention_threshold",
    "sim_thresh": "similarity_threshold",
}


class Spann3rDriver:
    """A frame's result is there when the next frame is; the last one's at the end.

    Points come in the first frame's camera. One focal length, of the first frame's points, and OpenCV's RANSAC place
    every camera, unless the user knows the lens.
    """

    reach = 2

    def __init__(self, network: Spann3r, options: Options, device: torch.device, image_size: int) -> None:
        self.network, self.device = network, device
        limits = network.config.limits
        given = {ours: getattr(options, name) for ours, name in LIMITS.items() if getattr(options, name) is not None}
        self._limits = replace(limits, **given)
        _refuse_small_memory(self._limits, (image_size // network.config.patch_size) ** 2)
        self._stream = Spann3rStream(network)
        self._stream.memory = SpatialMemory(self._limits)
        self._last: ViewPrediction | None = None  # of the newest frame, should none follow
        self._focal = float("nan")
        self._number = 0
        self._pinhole: np.ndarray | None = None

    def push(self, view: Encoded, pinhole: np.ndarray | None = None) -> list[Finished]:
        stream = self._stream
        before = (copy.copy(stream.memory), stream.newest, stream.query)
        try:
            step = stream.push(view)
            found = [] if step is None else [self._finished(self._number - 1, step.first)]
        except BaseException:
            stream.memory, stream.newest, stream.query = before
            raise
        self._last = None if step is None else step.second
        self._number += 1
        self._pinhole = pinhole
        return found

    def finish(self) -> list[Finished]:
        if self._last is not None:
            return [self._finished(self._number - 1, self._last)]
        alone = self._stream.newest
        return [] if alone is None else [self._finished(0, self.network.step(alone, alone, alone).first)]

    def again(self) -> None:
        raise EngineError("usage", "Spann3R goes through the frames once.", "Leave out --revisit.")

    def _finished(self, number: int, view: ViewPrediction) -> Finished:
        points, confidence = to_numpy(view.points[0]), to_numpy(view.confidence[0])
        height, width = confidence.shape
        if number == 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                self._focal = estimate_focal(points)
        matrix = self._pinhole
        if matrix is None:
            matrix = np.array([[self._focal, 0, width / 2], [0, self._focal, height / 2], [0, 0, 1]])
        found = None
        if np.isfinite(matrix).all() and matrix[0, 0] > 0:
            found = pose_by_default_ransac(points, np.isfinite(points).all(axis=-1), matrix)
        if found is None:
            return Finished(number, None)
        pose = found.world_from_camera
        return Finished(number, pose, move_points(np.linalg.inv(pose), points), confidence, self._focal)

    def state(self) -> dict[str, np.ndarray]:
        stream, memory = self._stream, self._stream.memory
        kept: dict[str, torch.Tensor] = {}
        if stream.newest is not None:
            kept["newest"] = stream.newest.tokens
        if stream.query is not None and self._last is not None:
            kept |= {"query": stream.query, "points": self._last.points, "confidence": self._last.confidence}
            kept |= {"keys": memory.keys, "values": memory.values, "counts": memory.counts, "reads": memory.attention}
        arrays = {name: tensor.float().cpu().numpy() for name, tensor in kept.items()}
        if self._pinhole is not None:
            arrays["pinhole"] = self._pinhole.astype(np.float32)
        arrays["focal"] = np.array(self._focal)
        counts = {"frames": memory.frames, "long_tokens": max(0, memory.long_tokens), "number": self._number}
        return arrays | {name: np.array(count) for name, count in counts.items()}

    def restore(self, arrays: dict[str, np.ndarray], grid: tuple[int, int]) -> None:
        config = self.network.config
        tokens, width, patch = grid[0] * grid[1], config.enc_embed_dim, config.patch_size
        number, frames, long = (taken_count(arrays, name) for name in ("number", "frames", "long_tokens"))
        newest = encoded_from(taken(arrays, "newest", 1, tokens, width), grid, self.device)
        memory, query, last = SpatialMemory(self._limits), None, None
        if number > 1:
            keys = taken(arrays, "keys", None, width)
            names = {"keys": keys, "values": taken(arrays, "values", len(keys), width)}
            names |= {"counts": taken(arrays, "counts", len(keys)), "attention": taken(arrays, "reads", len(keys))}
            for name, array in names.items():
                setattr(memory, name, torch.from_numpy(array).to(self.device))
            memory.frames, memory.long_tokens = frames, long
            query = torch.from_numpy(taken(arrays, "query", 1, tokens, width)).to(self.device)
            size = (grid[0] * patch, grid[1] * patch)
            last = ViewPrediction(
                torch.from_numpy(taken(arrays, "points", 1, *size, 3)),
                torch.from_numpy(taken(arrays, "confidence", 1, *size)),
            )
        self._focal = float(arrays["focal"])
        self._pinhole = taken(arrays, "pinhole", 3, 3).astype(np.float64) if "pinhole" in arrays else None
        self._stream.memory, self._stream.newest, self._stream.query = memory, newest, query
        self._last, self._number = last, number


def _refuse_small_memory(limits: object, per_frame: int) -> None:
    """Raise EngineError("usage") for a long-term memory that does not hold the frames that are never thrown out."""
    least = (limits.work_mem_size + GRACE_FRAMES) * per_frame
    if 0 < limits.long_mem_size < least:
        raise EngineError(
            "usage",
            f"Spann3R's memory of {limits.long_mem_size} tokens does not hold the newest "
            f"{limits.work_mem_size + GRACE_FRAMES} frames, {per_frame} tokens each.",
            f"Give --memory-tokens {least} or more, 0 for none, or fewer --memory-frames.",
        )
