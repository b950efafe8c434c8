"""From the aligned cameras to depth maps of all pixels, and to the coloured points of the matches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .canonical import CanonicalImage
from .condense import Condensed
from .losses import match_pixels
from .parameters import Forward, Geometry


def dense_depth(index: int, image: CanonicalImage, forward: Forward, geometry: Geometry) -> np.ndarray:
    """(H, W) float32 depth of image `index`, every pixel following its block (spec mast3r_sfm, section 3.8)."""
    device = geometry.depth.device
    y, x = torch.meshgrid(torch.arange(image.height), torch.arange(image.width), indexing="ij")
    xy = torch.stack([x, y], dim=-1).reshape(-1, 2)
    block, offset = image.anchors(xy)
    first = int((forward.condensed.block_image < index).sum())
    number = torch.full((len(xy),), index, device=device)
    points = forward.camera_points(geometry, number, xy.float().to(device), block.to(device) + first, offset.to(device))
    return points[:, 2].reshape(image.height, image.width).cpu().numpy()


def match_errors(condensed: Condensed, geometry: Geometry) -> Tensor:
    """(K,) distance in pixels between the left end of each match and the projection of its right end."""
    return (condensed.anchor_pixel[condensed.left] - match_pixels(condensed, geometry)).norm(dim=1)


def sparse_points(condensed: Condensed, geometry: Geometry, colors: list[np.ndarray] | None) -> dict[str, np.ndarray]:
    """The matched pixels as a cloud, in the arrays of JobFolder.write_sparse: each pixel of an image once.

    colors: (H, W, 3) uint8 of each image; grey when None. error: mean distance in pixels (of the network's image)
    over the pixel's matches. views: 1 + number of images it is matched with. Pixels of unmatched pairs take no part.
    """
    image, pixel = condensed.anchor_image.cpu().numpy(), condensed.anchor_pixel.cpu().numpy().astype(np.int64)
    left = condensed.left.cpu().numpy()
    rows = np.column_stack([image, pixel])[left]
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    number = np.bincount(inverse, minlength=len(first))
    error = np.bincount(inverse, match_errors(condensed, geometry).cpu().numpy(), minlength=len(first))
    anchor = left[first]
    color = np.full((len(anchor), 3), 128, np.uint8)
    if colors is not None:
        for index in np.unique(image[anchor]):
            here = image[anchor] == index
            x, y = pixel[anchor[here]].T
            color[here] = colors[index][y, x]
    return {
        "points": geometry.world_points.cpu().numpy()[anchor].astype(np.float32),
        "color": color,
        "error": (error / np.maximum(number, 1)).astype(np.float32),
        "views": (number + 1).astype(np.int32),
    }
