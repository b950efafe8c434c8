"""The Gaussians of a view, one for every pixel of the network's picture, as a job keeps them."""

from __future__ import annotations

import numpy as np

from ...geometry.pose_encoding import quaternion_from_rotation
from ...geometry.quaternions import multiply_quaternions
from ...geometry.similarity import Similarity

# Of a Gaussian's size, where the points' mean distance from the origin is 1; specs/mv_dust3r.md section 5.
SIZES = (1e-4, 4e-3)


def gaussian_arrays(
    points: np.ndarray,
    color: np.ndarray,
    opacity: np.ndarray,
    scale: np.ndarray,
    rotation: np.ndarray,
    unit: float,
) -> dict[str, np.ndarray]:
    """The arrays of JobFolder.write_gaussians, (h, w, ...), in the frame and scale of the points.

    color: (h, w, 3) uint8 of the picture, which the network was trained to give. scale: as predicted. rotation: unit
    quaternions (w, x, y, z). unit: mean distance of all points of the pass from its origin.
    """
    low, high = (size * unit for size in SIZES)
    return {
        "position": points.astype(np.float32),
        "color": color,
        "opacity": opacity.astype(np.float32),
        "scale": np.clip(scale, low, high).astype(np.float32),
        "rotation": rotation.astype(np.float32),
    }


def move_gaussians(arrays: dict[str, np.ndarray], move: Similarity) -> dict[str, np.ndarray]:
    """The same in another world."""
    x, y, z, w = quaternion_from_rotation(move.rotation)
    turned = multiply_quaternions(np.array([w, x, y, z]), arrays["rotation"].astype(np.float64), "wxyz")
    return {
        **arrays,
        "position": move.apply(arrays["position"]),
        "scale": (arrays["scale"] * np.float32(move.scale)).astype(np.float32),
        "rotation": turned.astype(np.float32),
    }
