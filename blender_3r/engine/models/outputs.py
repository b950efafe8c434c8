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
