"""How much memory there is, and how a job says that it is not enough. No torch at the top."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from ..errors import EngineError

USABLE = 0.85  # of the free memory

_CGROUP = Path("/sys/fs/cgroup")


class DoesNotFit(EngineError):
    """A job that needs more memory than there is."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("machine", message, hint)


def in_gigabytes(count: float) -> str:
    """1234567890 as "1.2 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def free_memory(device: str = "cpu", number: int | None = None) -> int | None:
    """Bytes that a job may still take on a device ("cpu", "cuda", "mps"); None where the system does not tell.

    What PyTorch holds in reserve on a graphics card counts as free.
    """
    if device != "cuda":
        return _free_main_memory()  # Apple's graphics processors share the computer's memory
    import torch

    free, _ = torch.cuda.mem_get_info(number)
    return free + torch.cuda.memory_reserved(number) - torch.cuda.memory_allocated(number)


# -- the computer's memory


def _free_main_memory() -> int | None:
    found = [value for value in (_system_free(), _container_free()) if value is not None]
    return min(found) if found else None


def _system_free() -> int | None:
    if sys.platform == "win32":
        return _windows_free()
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:  # no system call tells what is free on macOS: half of what is built in is a careful guess
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _container_free() -> int | None:
    """What the control group that this process runs in still allows."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        facts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(facts.get("inactive_file", 0)))
    except (OSError, ValueError):  # no such group, or its limit is "max"
        return None


def _windows_free() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in ("total", "free", "page", "page_free", "virtual", "virtual_free", "x")
        ]

    status = Status()
    status.length = ctypes.sizeof(Status)
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.free)
