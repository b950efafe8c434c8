"""Networks that stay loaded from one job to the next, as long as nobody needs their memory."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .loading import load_model
from .records import Record

if TYPE_CHECKING:
    import torch
    from torch import nn

IDLE_S = 600.0
Key = tuple[Any, ...]


@dataclass
class _Entry:
    id: str
    model: Any
    device: str
    users: int
    last_used: float


class ModelCache:
    """Loaded networks by their files, device and type of number. Safe to use from several threads.

    idle_s: how long an unused network stays. load: as loading.load_model. free_bytes: the memory left on a device, None
    where nobody knows. clock: seconds.
    """

    def __init__(
        self,
        idle_s: float = IDLE_S,
        load: Callable[..., nn.Module] = load_model,
        free_bytes: Callable[[str], int | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.idle_s = idle_s
        self._load, self._free, self._clock = load, free_bytes or free_memory, clock
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()  # the one used last comes last
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None

    @contextmanager
    def use(
        self,
        record: Record,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> Iterator[nn.Module]:
        """The network of a record, loaded if it is not; while in use it is not released.

        Networks that nobody uses make room first when the device has less memory left than the record needs. options:
        for load. Raises what load raises.
        """
        key = (record.files, _own_files(record), repr(record.config), str(device), str(dtype))
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self.make_room(record.memory_bytes, str(device))
                entry = _Entry(record.id, self._load(record, device, dtype, **options), str(device), 0, self._clock())
                self._entries[key] = entry
            self._entries.move_to_end(key)
            entry.users += 1
        try:
            yield entry.model
        finally:
            with self._lock:
                entry.users -= 1
                entry.last_used = self._clock()
                self._wake_later()

    def make_room(self, needed: int, device: str = "cpu") -> None:
        """Release unused networks on a device, the longest unused first, until it has needed bytes left.

        For whoever else needs the memory too, for instance a step that runs out of it.
        """
        with self._lock:
            idle = [key for key, one in self._entries.items() if not one.users and _same_device(one.device, device)]
            for key in idle:
                free = self._free(device)
                if free is not None and free >= needed:
                    return
                self._release(key)

    def release_idle(self) -> None:
        """Release what nobody has used for idle_s."""
        with self._lock:
            now = self._clock()
            due = [key for key, one in self._entries.items() if not one.users and now - one.last_used >= self.idle_s]
            for key in due:
                self._release(key)
            self._wake_later()

    def release_all(self) -> None:
        """Release everything that is not in use."""
        with self._lock:
            for key in [key for key, one in self._entries.items() if not one.users]:
                self._release(key)

    def loaded(self) -> list[str]:
        """Ids of the records in memory."""
        with self._lock:
            return [entry.id for entry in self._entries.values()]

    def _release(self, key: Key) -> None:
        del self._entries[key]
        gc.collect()  # networks hold circles of references
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _wake_later(self) -> None:
        """Have release_idle() called when the first entry can be due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        idle = [entry.last_used for entry in self._entries.values() if entry.users == 0]
        if idle:
            wait = max(0.0, min(idle) + self.idle_s - self._clock())
            self._timer = threading.Timer(wait, self.release_idle)
            self._timer.daemon = True
            self._timer.start()


_shared: list[ModelCache] = []


def shared_cache() -> ModelCache:
    """The one of this process."""
    if not _shared:
        _shared.append(ModelCache())
    return _shared[0]


def free_memory(device: str) -> int | None:
    """Bytes left on a device ("cpu", "cuda", "cuda:1", ...); None where nobody knows."""
    if device.startswith("cuda"):
        import torch

        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own reserve
        return torch.cuda.mem_get_info(torch.device(device))[0] + kept
    if device.startswith("cpu") and sys.platform == "linux":
        try:
            with open("/proc/meminfo", encoding="ascii") as lines:
                for line in lines:
                    if line.startswith("MemAvailable:"):
                        return int(line.split()[1]) * 1024
        except OSError:
            return None
    return None


def _same_device(one: str, other: str) -> bool:
    return one.split(":")[0] == other.split(":")[0]


def _own_files(record: Record) -> tuple[tuple[int, int], ...]:
    """Size and time of the user's own files: they may change as the user likes."""
    paths = [Path(file.path) for file in record.files if file.path]
    facts = [path.stat() for path in paths if path.is_file()]
    return tuple((fact.st_size, fact.st_mtime_ns) for fact in facts)
