"""What the networks of the family give for one view."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ViewPrediction(NamedTuple):
    """Dense outputs for a batch of views, channels last, float32.

    points: (B, H, W, 3) pointmap, OpenCV axes (x right, y down, z forward), in the camera frame of the pair's first
    view. confidence: (B, H, W), from 1 upwards. descriptors: (B, H, W, D), unit length, and descriptor_confidence:
    (B, H, W), from 0 upwards; None for models without them.
    """

    points: Tensor
    confidence: Tensor
    descriptors: Tensor | None = None
    descriptor_confidence: Tensor | None = None


class StreamPrediction(NamedTuple):
    """What a model that walks through a sequence gives for one view of a batch of sequences; channels last, float32.

    own_points: (B, H, W, 3) in the view's own camera frame, world_points in the sequence's world, which is the first
    view's camera frame; OpenCV axes, metres. own_confidence, world_confidence: (B, H, W), from 1 upwards. pose: (B, 7),
    world from camera: translation, then a unit quaternion (w, x, y, z) with w not negative. color: (B, H, W, 3), the
    view drawn again, in -1..1; None for models without it.
    """

    own_points: Tensor
    own_confidence: Tensor
    world_points: Tensor
    world_confidence: Tensor
    pose: Tensor
    color: Tensor | None = None
