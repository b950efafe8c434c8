"""Passes of a network over some views: every picture encoded once, tokens kept as long as a pass may need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..memory import DoesNotFit, free_memory, in_gigabytes
from ..networks import cancellable, computing, is_memory_error, release
from ..pairwise.pictures import Picture
from ..pairwise.results import no_camera
from .drivers import Driver, View
from .known import Known
from .predictions import Prediction
from .reading import Pictures

ENCODING, RELATING = "Encoding views", "Relating views"  # the stages of a pass
Report = Callable[[str, int, int], None]


class PassDoesNotFit(DoesNotFit):
    """A pass that ran out of memory, though fewer views might fit."""


class Passes:
    """Runs a driver over the pictures of a source. encoded: how often a picture went through the encoder."""

    def __init__(
        self,
        driver: Driver,
        pictures: Pictures,
        known: Known,
        device: torch.device,
        precision: str,
        check_cancelled: Callable[[], None],
        min_confidence: float | None,
    ) -> None:
        """precision: a name in networks.PRECISIONS. min_confidence: takes the place of the model's own rule of which
        pixels are kept.
        """
        self.driver, self.pictures, self.known = driver, pictures, known
        self.device, self.precision = device, precision
        self.encoded = 0
        self._check = check_cancelled
        self._least = min_confidence
        self._tokens: dict[int, Any] = {}

    def run(self, numbers: Sequence[int], report: Report) -> Prediction:
        """A pass over pictures, ascending. report(stage, done, total).

        Raises PassDoesNotFit when memory runs out, "unsolved" when what comes is no number.
        """
        with cancellable(self.driver.network, self.device, self._check):
            self._encode(numbers, report)
            report(RELATING, 0, 1)
            views = [self._view(number) for number in numbers]
            # A model that takes no fewer sees some views more than once.
            given = [views[k % len(views)] for k in range(max(len(views), self.driver.fewest))]
            prediction = self._fitting(lambda: self.driver.predict(given, self.device), len(given))
        report(RELATING, 1, 1)
        return self._cleaned(_first(prediction, len(views)))

    def forget(self, before: int) -> None:
        """Tokens of pictures with lower numbers are needed no more."""
        self._tokens = {number: tokens for number, tokens in self._tokens.items() if number >= before}
        self.pictures.forget(before)

    def _encode(self, numbers: Sequence[int], report: Report) -> None:
        missing = [number for number in numbers if number not in self._tokens]
        for done, number in enumerate(missing):
            report(ENCODING, done, len(missing))
            image = torch.from_numpy(self.pictures.get(number).tensor)[None].to(self.device)
            tokens = self._fitting(lambda image=image: self.driver.encode(image), 1)
            self._tokens[number] = tokens.to("cpu")
            self.encoded += 1

    def _view(self, number: int) -> View:
        frame = self.pictures.used[number]
        depth = None if self.known.depth is None else self.known.depth.read(frame)
        return View(
            number,
            self.pictures.get(number),
            self._tokens[number],
            self.known.lenses[frame],
            self.known.pose(frame),
            depth,
        )

    def _fitting(self, compute: Callable[[], Any], views: int) -> Any:
        try:
            self._check()
            with computing(self.device, self.precision):
                return compute()
        except (MemoryError, RuntimeError) as error:
            if not is_memory_error(error):
                raise
        release(self.device)
        free = free_memory(self.device.type, self.device.index)
        there = f" {in_gigabytes(free)} are free now." if free is not None else ""
        height, width = self.pictures.layout.sizes[self.pictures.used[0]]
        raise PassDoesNotFit(
            f"Memory ran out with {views} {'view' if views == 1 else 'views'} of {width} x {height} pixels.{there}",
            "Use a smaller image size, allow smaller images, close other programs, or compute on another device.",
        )

    def _cleaned(self, prediction: Prediction) -> Prediction:
        """Without poses and pixels that are no numbers, and without what lies beside the frame."""
        poses = prediction.world_from_camera.copy()
        poses[~np.isfinite(poses).all(axis=(1, 2)) | ~np.isfinite(prediction.focals).all(axis=1)] = np.nan
        kept = []
        for view, own, depth, confidence in zip(
            prediction.views, prediction.kept, prediction.depth, prediction.confidence, strict=True
        ):
            good = own if self._least is None else confidence >= self._least
            kept.append(good & np.isfinite(depth) & (depth > 0) & inside(self.pictures.get(view)))
        if not np.isfinite(poses).any():
            raise no_camera()
        return replace(prediction, world_from_camera=poses, kept=kept)


def inside(picture: Picture) -> np.ndarray:
    """(h, w) bool: which pixels of a picture are of the frame, not added around it."""
    return picture.from_whole(np.ones(picture.scaled, dtype=bool))


def _first(prediction: Prediction, count: int) -> Prediction:
    """The first views of a prediction."""
    if len(prediction.views) == count:
        return prediction
    lists = ("views", "depth", "confidence", "kept", "extras")
    arrays = ("world_from_camera", "focals", "principal_points")
    return replace(prediction, **{name: getattr(prediction, name)[:count] for name in (*lists, *arrays)})
