"""Images through a pair network: every image is encoded once, pairs are decoded in batches that fit the memory.

Results are streamed: whoever takes them decides what is kept (all pointmaps, or only what matching makes of them).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...models.outputs import ViewPrediction
from ..memory import DoesNotFit, free_memory, in_gigabytes
from ..networks import cancellable, computing, is_memory_error, release

if TYPE_CHECKING:
    from ...models.dust3r import Encoded

Value = TypeVar("Value")
Report = Callable[[int, int], None]

LARGEST_BATCH = 32
ENCODER_BATCH = 8
TOKEN_SHARE = 0.25  # of the device's free memory; more tokens than that are kept in the computer's memory
LEVELS_FROM = 3  # pairs per image from which on it pays to keep what the heads make of it alone
LEVEL_SHARE = 0.3  # of the device's free memory for that
BATCH_SHARE = 0.7  # of the device's free memory for one batch of pairs


class Predictor(Protocol):
    """What predicts pairs: a network of models/, or what stands in for one."""

    def encode(self, images: Tensor) -> Encoded:
        """Images (B, 3, H, W) in -1..1 to tokens."""
        ...

    def predict(self, first: Encoded, second: Encoded) -> tuple[ViewPrediction, ViewPrediction]:
        """Both views of B pairs, in the frame of the first."""
        ...


@dataclass
class DecodedPairs:
    """One batch of pairs, all of the same sizes.

    indices: which of the edges asked for. first, second: the predictions, batch first, on the compute device.
    """

    indices: list[int]
    first: ViewPrediction
    second: ViewPrediction


@dataclass
class EncodedImages:
    """Tokens of every image, each an Encoded with a batch of one, on the compute device or in main memory."""

    images: list[Encoded]

    def batch(self, indices: Sequence[int], device: torch.device) -> Encoded:
        """Images of equal grid shape as one batch on the device."""
        chosen = [self.images[index].to(device) for index in indices]
        return chosen[0] if len(chosen) == 1 else chosen[0].join(chosen)

    def move(self, device: torch.device) -> None:
        """Take all tokens to a device."""
        self.images = [image.to(device) for image in self.images]

    @property
    def device(self) -> torch.device:
        return self.images[0].tokens.device


@dataclass
class PairRunner:
    """Runs a predictor over images and pairs.

    device: where the predictor lies. precision: a name in PRECISIONS; the heads compute in float32 whatever it is.
    batch: pairs decoded at once; None begins with one and grows to what the memory holds. memory_limit: bytes of the
    device's memory that may be used, None = what is free. check_cancelled raises to stop; it is called between batches,
    and on a processor before every layer.
    """

    predictor: Predictor
    device: torch.device
    precision: str = "float32"
    batch: int | None = None
    memory_limit: int | None = None
    check_cancelled: Callable[[], None] = lambda: None
    log: Callable[[str], None] = lambda text: None
    encoded_images: int = field(default=0, init=False)
    _fitted: int = field(default=1, init=False)

    def encode(
        self, images: Iterable[np.ndarray | Tensor], total: int, report: Report = lambda d, t: None
    ) -> EncodedImages:
        """Every image (3, H, W) float32 in -1..1 through the encoder, once.

        images may be lazy: no more than a batch of them is held. total: how many there are. report(done, total).
        Raises EngineError("machine") when not even one image fits.
        """
        found = EncodedImages([])
        place: torch.device | None = None
        size = 1 if self.device.type == "cpu" else ENCODER_BATCH
        with cancellable(self.predictor, self.device, self.check_cancelled):
            for group in _runs_of_equal_shape(images, size):
                for image in self._encode_group(group):
                    place = place or self._place_of_tokens(image, total)
                    found.images.append(image.to(place))
                report(len(found.images), total)
        return found

    def decode(
        self, encoded: EncodedImages, edges: Sequence[tuple[int, int]], report: Report = lambda d, t: None
    ) -> Generator[DecodedPairs, None, None]:
        """Every directed pair (i, j) through decoder and heads, in batches of equal grid shapes.

        Batches come about in the order of edges: a pair and its mirror image stay near each other where they are
        neighbours in edges. When memory runs out the batch is halved, then the tokens go to main memory.
        Raises EngineError("machine") when one pair alone does not fit.
        """
        waiting = _by_shape(encoded, edges)
        done = 0
        with cancellable(self.predictor, self.device, self.check_cancelled):
            if len(edges) >= LEVELS_FROM * len(encoded.images):
                self._keep_head_levels(encoded)
            while waiting:
                key = min(waiting, key=lambda shapes: waiting[shapes][0])
                indices = [waiting[key].popleft() for _ in range(min(self._batch_size(), len(waiting[key])))]
                self.check_cancelled()
                result = self._fitting(lambda chosen=indices: self._decode(encoded, edges, chosen))
                if result is None:
                    waiting[key].extendleft(reversed(indices))
                    self._back_off(len(indices), encoded)
                    continue
                if not waiting[key]:
                    del waiting[key]
                done += len(indices)
                yield DecodedPairs(indices, *result)
                del result  # before the next batch is computed
                report(done, len(edges))

    # -- inside

    def _encode_group(self, group: list[Tensor]) -> list[Encoded]:
        """One Encoded per image."""
        self.check_cancelled()
        result = self._fitting(lambda: self._run(self.predictor.encode, torch.stack(group).to(self.device)))
        if result is None:
            self._release()
            if len(group) == 1:
                raise self._too_large("One image")
            half = len(group) // 2
            return [*self._encode_group(group[:half]), *self._encode_group(group[half:])]
        self.encoded_images += len(group)
        return result.split()

    def _keep_head_levels(self, encoded: EncodedImages) -> None:
        """What the heads make of one image alone, once instead of in every pair, where memory is plenty.

        On the compute device only: carried back and forth it would cost more than it saves.
        """
        prepare = getattr(self.predictor, "with_head_levels", None)
        if prepare is None or encoded.device.type != self.device.type:
            return
        plain = list(encoded.images)
        for index, image in enumerate(plain):
            kept = self._fitting(lambda image=image: self._run(prepare, image))
            levels = [level for level in (kept.finest1, kept.finest2) if level is not None] if kept else []
            needed = sum(level.nbytes for level in levels) * (len(plain) - index)
            if kept is None or needed > LEVEL_SHARE * self._free():
                encoded.images = plain
                self._release()
                self.log("memory is short: what the heads make of single images is made in every pair")
                return
            encoded.images[index] = kept

    def _decode(
        self, encoded: EncodedImages, edges: Sequence[tuple[int, int]], indices: list[int]
    ) -> tuple[ViewPrediction, ViewPrediction]:
        first = encoded.batch([edges[index][0] for index in indices], self.device)
        second = encoded.batch([edges[index][1] for index in indices], self.device)
        free = self._free() if self.batch is None else 0
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
        result = self._run(self.predictor.predict, first, second)
        if self.device.type == "cuda" and self.batch is None:
            per_pair = max(1, torch.cuda.max_memory_allocated(self.device) - before) / len(indices)
            fitting = int(BATCH_SHARE * free / per_pair)
            self._fitted = max(1, min(LARGEST_BATCH, 4 * len(indices), fitting))
        return result

    def _run(self, network: Callable[..., Value], *inputs: Any) -> Value:
        with computing(self.device, self.precision):
            return network(*inputs)

    def _fitting(self, compute: Callable[[], Value]) -> Value | None:
        """The result, or None when memory ran out; what the failed attempt held is free again then."""
        try:
            return compute()
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not is_memory_error(error):
                raise
        return None

    def _batch_size(self) -> int:
        return self.batch or self._fitted

    def _back_off(self, tried: int, encoded: EncodedImages) -> None:
        """After a batch that did not fit: a smaller one, or room for it."""
        self._release()
        if tried > 1:
            self.batch = tried // 2
            self.log(f"memory ran out: {self.batch} pairs at once from now on")
        elif encoded.device.type != "cpu":
            encoded.images = [image._replace(finest1=None, finest2=None) for image in encoded.images]
            encoded.move(torch.device("cpu"))
            self._release()
            self.log("memory ran out: the encoded images go to main memory")
        else:
            raise self._too_large("One pair of images")

    def _release(self) -> None:
        release(self.device)

    def _place_of_tokens(self, one: Encoded, total: int) -> torch.device:
        wanted = one.tokens.nbytes * total
        if self.device.type == "cpu" or wanted <= TOKEN_SHARE * self._free():
            return self.device
        self.log(f"{total} encoded images ({in_gigabytes(wanted)}) are kept in main memory")
        return torch.device("cpu")

    def _free(self) -> int:
        free = free_memory(self.device.type, self.device.index)
        free = 1 << 62 if free is None else free
        return free if self.memory_limit is None else min(free, self.memory_limit)

    def _too_large(self, what: str) -> DoesNotFit:
        free = free_memory(self.device.type, self.device.index)
        known = f"; {in_gigabytes(free)} are free" if free is not None else ""
        place = "the computer's memory" if self.device.type == "cpu" else f"the memory of {self.device}"
        return DoesNotFit(
            f"{what} of this size does not fit into {place}{known}.",
            "Close other programs, use image size 224, or compute on another device (--device cpu).",
        )


def _runs_of_equal_shape(images: Iterable[np.ndarray | Tensor], size: int) -> Iterator[list[Tensor]]:
    """Neighbours of equal shape, at most size of them, in order."""
    group: list[Tensor] = []
    for image in images:
        tensor = torch.as_tensor(image)
        if group and (tensor.shape != group[0].shape or len(group) == size):
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group


def _by_shape(
    encoded: EncodedImages, edges: Sequence[tuple[int, int]]
) -> dict[tuple[tuple[int, int], tuple[int, int]], deque[int]]:
    """Indices of edges, in order, by the grid shapes of their two images."""
    groups: dict[Any, deque[int]] = {}
    for index, (i, j) in enumerate(edges):
        groups.setdefault((tuple(encoded.images[i].grid), tuple(encoded.images[j].grid)), deque()).append(index)
    return groups
