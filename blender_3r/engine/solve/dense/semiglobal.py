"""Semi-global aggregation of a matching cost over eight paths, in bytes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

# A path's cost is at most COST_MAX + P2 and is compared after one more P1: the three must fit a byte together.
COST_MAX = 140


def aggregate(
    cost: np.ndarray,
    small_jump: int,
    large_jump: np.ndarray,
    check_cancelled: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Sum of the path costs from eight directions.

    cost: (h, labels, w) uint8 up to COST_MAX; labels lie in the middle so that every operation runs along contiguous
    pixels. small_jump: penalty of one label between neighbours. large_jump: (h, w) uint8 penalty of a larger change,
    small where the picture has an edge. COST_MAX + small_jump + max(large_jump) must stay below 256.
    Returns (h, labels, w) uint16.
    """
    height, labels, width = cost.shape
    total = np.zeros(cost.shape, dtype=np.uint16)
    rows = range(height)
    for order, step in ((rows, 1), (rows[::-1], -1)):
        _sweep(cost, small_jump, large_jump, order, step, (-1, 0, 1), total)
        check_cancelled()
    turned = np.empty((width, labels, height), dtype=np.uint8)
    for label in range(labels):
        turned[:, label] = cv2.transpose(np.ascontiguousarray(cost[:, label]))
    sideways = np.zeros(turned.shape, dtype=np.uint16)
    columns = range(width)
    jump = np.ascontiguousarray(large_jump.T)
    for order, step in ((columns, 1), (columns[::-1], -1)):
        _sweep(turned, small_jump, jump, order, step, (0,), sideways)
        check_cancelled()
    for label in range(labels):
        total[:, label] += cv2.transpose(np.ascontiguousarray(sideways[:, label]))
    return total


def _sweep(
    cost: np.ndarray,
    small_jump: int,
    large_jump: np.ndarray,
    order: range,
    step: int,
    slants: tuple[int, ...],
    total: np.ndarray,
) -> None:
    """Run paths line by line, one per slant (columns moved per line), and add their costs to total."""
    _, labels, width = cost.shape
    # One column of zeros on either side: a path that enters at the border starts there.
    path = np.zeros((len(slants), labels, width + 2), dtype=np.uint8)
    before = np.empty((len(slants), labels, width), dtype=np.uint8)
    best = np.empty_like(before)
    jumped = np.empty_like(before)
    small = np.uint8(small_jump)
    for line in order:
        for k, slant in enumerate(slants):
            before[k] = path[k, :, 1 - slant : 1 - slant + width]
        before -= before.min(axis=1, keepdims=True)
        np.minimum(before, large_jump[line], out=best)
        np.add(before, small, out=jumped)
        np.minimum(best[:, 1:], jumped[:, :-1], out=best[:, 1:])
        np.minimum(best[:, :-1], jumped[:, 1:], out=best[:, :-1])
        best += cost[line]
        path[:, :, 1:-1] = best
        for k in range(len(slants)):
            np.add(total[line], best[k], out=total[line])
