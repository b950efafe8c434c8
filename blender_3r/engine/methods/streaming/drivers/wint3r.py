"""WinT3R: windows that overlap by half, and a pool of camera tokens. Specification section 5."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ....errors import EngineError
from ....geometry.poses import poses_from_encoding, relative_encodings
from ....models.dust3r import Encoded
from ....models.wint3r import WinT3r
from ....models.wint3r_stream import StreamState, WindowResult, WinT3rStream
from ..options import Options
from .finished import Finished, encoded_from, focal_of, taken, taken_count, to_numpy

NUMBERS = 7  # of a pose
FARTHEST = 500.0  # in the network's units; what lies beyond is dropped, as in the demo: sky


class WinT3rDriver:
    """A window's views are there when its last frame is. The next window, which has half of them too, corrects their
    cameras, and their points where it is surer of them.
    """

    def __init__(self, network: WinT3r, options: Options, device: torch.device, image_size: int) -> None:
        self.network, self.device = network, device
        self._stream = WinT3rStream(network, size=options.window)
        self._reference: np.ndarray | None = None  # the first frame's pose in the network's world

    @property
    def reach(self) -> int:
        return self._stream.size

    def push(self, view: Encoded, pinhole: np.ndarray | None = None) -> list[Finished]:
        return self._whole(lambda: self._stream.push(view))

    def finish(self) -> list[Finished]:
        return self._whole(self._stream.finish)

    def again(self) -> None:
        raise EngineError("usage", "WinT3R goes through the frames once.", "Leave out --revisit.")

    def _whole(self, step: Callable[[], WindowResult | None]) -> list[Finished]:
        """A step of the stream, or none of it."""
        before = self._stream.state
        try:
            result = step()
            return [] if result is None else self._finished(result)
        except BaseException:
            self._stream.state = before
            raise

    def _finished(self, result: WindowResult) -> list[Finished]:
        encodings = to_numpy(result.poses).astype(np.float64)
        last_place = {view: place for place, view in enumerate(result.views)}
        best_place = {view: place for place, view in enumerate(result.views) if result.improves[place]}
        reference = encodings[last_place[0]] if 0 in last_place else self._reference
        with np.errstate(divide="ignore", invalid="ignore"):
            poses = poses_from_encoding(relative_encodings(encodings, reference, "xyzw"), "xyzw")
        found = []
        for view, place in last_place.items():
            pose = poses[place] if np.isfinite(poses[place]).all() else None
            if view not in best_place:
                found.append(Finished(view, pose))
                continue
            points = to_numpy(result.points[best_place[view]])
            confidence = to_numpy(result.confidence[best_place[view]])
            focal = focal_of(points)
            points[points[..., 2] > FARTHEST] = np.nan
            found.append(Finished(view, pose, points, confidence, focal))
        self._reference = reference
        return found

    def state(self) -> dict[str, np.ndarray]:
        state = self._stream.state
        waiting = torch.cat([view.tokens for view in state.waiting]) if state.waiting else state.tokens[:0, :0]
        arrays = {"tokens": state.tokens, "pool": state.pool, "waiting": waiting}
        arrays = {name: tensor.float().cpu().numpy() for name, tensor in arrays.items()}
        arrays |= {"views": np.array(state.views), "surest_views": np.array(list(state.surest), dtype=np.int64)}
        arrays["surest"] = np.array(list(state.surest.values()), dtype=np.float64)
        if self._reference is not None:
            arrays["reference"] = self._reference
        return arrays

    def restore(self, arrays: dict[str, np.ndarray], grid: tuple[int, int]) -> None:
        size, config = self._stream.size, self.network.config
        pool = taken(arrays, "pool", 1, None, 2 * config.dec_embed_dim)
        waiting = arrays["waiting"]
        if len(waiting):
            waiting = taken(arrays, "waiting", len(waiting), grid[0] * grid[1], config.enc_embed_dim)
        surest, views = arrays["surest"], arrays["surest_views"]
        if pool.shape[1] % size or len(waiting) >= size or surest.shape != views.shape or surest.ndim != 1:
            raise ValueError("the windows do not fit together")
        reference = arrays.get("reference")
        if (reference is None) != (pool.shape[1] == 0) or (reference is not None and reference.shape != (NUMBERS,)):
            raise ValueError("the first frame's pose is missing")
        tokens = taken(arrays, "tokens", *self.network.start().shape)
        self._stream.state = StreamState(
            torch.from_numpy(tokens).to(self.device),
            torch.from_numpy(pool).to(self.device),
            taken_count(arrays, "views"),
            tuple(encoded_from(one[None], grid, self.device) for one in waiting),
            {int(view): float(sure) for view, sure in zip(views, surest, strict=True)},
        )
        self._reference = reference
