"""Made-up pictures whose motion is known, as much of a FrameSource as the tracker asks for."""

from __future__ import annotations

import cv2
import numpy as np

from blender_3r.engine.media.info import FrameInfo


class Pictures:
    """images: (h, w) uint8 each. scale: how many times larger the frames are than that."""

    def __init__(self, images, scale=1):
        self.images = images
        self.infos = [
            FrameInfo(i, f"frame_{i:04d}", i, image.shape[1] * scale, image.shape[0] * scale, None, "")
            for i, image in enumerate(images)
        ]

    def __len__(self):
        return len(self.images)

    def read(self, index, max_side=None, gray=False):
        return self.images[index]

    def files(self):
        return {}


def texture(height=300, width=420, seed=0):
    """(height, width) uint8 with corners everywhere."""
    noise = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4)).astype(np.uint8)
    return cv2.GaussianBlur(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 1.5)


def shifted(image, dx, dy):
    """The image moved by (dx, dy) pixels."""
    return cv2.warpAffine(
        image, np.float32([[1, 0, dx], [0, 1, dy]]), image.shape[1::-1], borderMode=cv2.BORDER_REFLECT
    )
