"""WinT3R's windows: which views each holds, and which of a view's several results counts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .dust3r import Encoded
from .wint3r import WinT3r


def plan_windows(count: int, size: int = 4) -> list[list[int]]:
    """The views of every window for a sequence of so many: each begins half a window behind the one before, and the
    last view is repeated until the last window is full.
    """
    step = size // 2
    missing = size - count if count < size else -count % step
    padded = [*range(count), *[count - 1] * missing]
    return [padded[first : first + size] for first in range(0, len(padded) - size + 1, step)]


def slots_of_views(windows: list[list[int]]) -> list[list[int]]:
    """Where each view is found when the windows are laid one behind the other."""
    slots: list[list[int]] = [[] for _ in range(max(map(max, windows)) + 1)]
    for slot, view in enumerate(view for window in windows for view in window):
        slots[view].append(slot)
    return slots


class WindowResult(NamedTuple):
    """A window's results, S places.

    views: which view of the sequence is at each place; the last one may be there several times. points: (S, H, W, 3)
    in each view's own camera frame, confidence: (S, H, W). poses: (S, 7), see WinT3r.cameras(). improves: whether a
    place's points are the surest of its view so far, and are to replace others. Poses always replace earlier ones of
    their view, at later places those at earlier ones.
    """

    views: list[int]
    points: Tensor
    confidence: Tensor
    poses: Tensor
    improves: list[bool]


class StreamState(NamedTuple):
    """All that is kept between windows, for storing it; grows by the pool only, 24 kB a window at the published sizes.

    tokens: (1, state_size, C). pool: (1, T, 2 C). views: how many were pushed. waiting: the newest views that are to be
    in the next window. surest: how sure the best points of the newest views are.
    """

    tokens: Tensor
    pool: Tensor
    views: int
    waiting: tuple[Encoded, ...]
    surest: dict[int, float]


class WinT3rStream:
    """A sequence view by view. A window's results come as soon as its last view is there, those of the last, which may
    need repeated views, with finish(). Every view is encoded once, before it is given here.
    """

    def __init__(self, network: WinT3r, state: StreamState | None = None, size: int | None = None) -> None:
        """state: to go on from. size: of windows, even; the network's own if None."""
        self.network = network
        self.size = size or network.config.window_size
        start = network.start()
        self.state = state or StreamState(start, start.new_empty(1, 0, 2 * start.shape[-1]), 0, (), {})

    def push(self, view: Encoded) -> WindowResult | None:
        """The next view. Raises ValueError for more than one, or one of another size than those before it."""
        if len(view.tokens) != 1:
            raise ValueError("a sequence goes view by view")
        waiting = (*self.state.waiting, view)
        if waiting[0].grid != view.grid:
            raise ValueError("views of a sequence have one size")
        self.state = self.state._replace(waiting=waiting, views=self.state.views + 1)
        if len(waiting) < self.size:
            return None
        return self._run(list(range(self.state.views - len(waiting), self.state.views)))

    def finish(self) -> WindowResult | None:
        """The end: the last window, if any view was in none yet."""
        count, size = self.state.views, self.size
        windows = plan_windows(count, size) if count else []
        done = self.state.pool.shape[1] // size
        return self._run(windows[done]) if done < len(windows) else None

    def _run(self, views: list[int]) -> WindowResult:
        state = self.state
        first = state.views - len(state.waiting)
        output = self.network.window([state.waiting[view - first] for view in views], state.tokens)
        pool = torch.cat([state.pool, output.camera_tokens], dim=1)
        poses = self.network.cameras(pool, self.size)[-1, 0, -len(views) :]
        sureness = output.confidence[0].sum(dim=(1, 2)).tolist()
        surest, improves = dict(state.surest), []
        for view, sure in zip(views, sureness, strict=True):
            improves.append(sure > surest.get(view, 0.0))
            surest[view] = max(sure, surest.get(view, 0.0))
        step = len(views) // 2
        self.state = StreamState(
            output.state,
            pool,
            state.views,
            state.waiting[step:],
            {view: sure for view, sure in surest.items() if view >= views[0] + step},
        )
        return WindowResult(views, output.points[0], output.confidence[0], poses, improves)
