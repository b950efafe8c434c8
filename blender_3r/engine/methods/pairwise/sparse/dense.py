"""From the aligned cameras to depth maps of all pixels, and to the coloured points of the matches."""

from __future__ import annotations

import numpy as np
import torch

from .canonical import CanonicalImage
from .condense import Condensed
from .losses import match_pixels
from .parameters import Geometry, follow


def dense_depth(index: int, image: CanonicalImage, condensed: Condensed, geometry: Geometry) -> np.ndarray:
    """(H, W) float32 depth of image `index`, every pixel following its block (spec mast3r_sfm, section 3.8)."""
    y, x = torch.meshgrid(torch.arange(image.height), torch.arange(image.width), indexing="ij")
    block, offset = image.anchors(torch.stack([x, y], dim=-1).reshape(-1, 2))
    core = geometry.depth[condensed.block_image == index].cpu()
    ratio = condensed.base_focal[index] / geometry.focal[index]
    return (core[block] * follow(offset, ratio.cpu())).reshape(image.height, image.width).numpy()


def sparse_points(condensed: Condensed, geometry: Geometry, colors: list[np.ndarray] | None) -> dict[str, np.ndarray]:
    """The matched pixels as a cloud, in the arrays of JobFolder.write_sparse: each pixel of an image once.

    colors: (H, W, 3) uint8 of each image; grey when None. error: mean distance in pixels (of the network's image)
    over the pixel's matches. views: 1 + number of images it is matched with. Pixels of unmatched pairs take no part.
    """
    used = condensed.confidence.cpu().numpy() > 0
    pixel = condensed.anchor_pixel[:2].T.cpu().numpy()
    off = np.linalg.norm(match_pixels(condensed, geometry).T.cpu().numpy() - pixel, axis=1)
    image, pixel = condensed.anchor_image.numpy()[used], np.rint(pixel[used]).astype(np.int64)
    rows = np.column_stack([image, pixel])
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    number = np.bincount(inverse, minlength=len(first))
    error = np.bincount(inverse, off[used], minlength=len(first))
    image, pixel = image[first], pixel[first]
    color = np.full((len(first), 3), 128, np.uint8)
    if colors is not None:
        for index in np.unique(image):
            x, y = pixel[image == index].T
            color[image == index] = colors[index][y, x]
    return {
        "points": geometry.world_points.T.cpu().numpy()[used][first].astype(np.float32),
        "color": color,
        "error": (error / np.maximum(number, 1)).astype(np.float32),
        "views": (number + 1).astype(np.int32),
    }
