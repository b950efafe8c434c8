"""What can compute here, each proven by a small matrix product that is compared with the same in float64."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import Any

from ..errors import EngineError

SIZE = 64
TOLERANCE = 1e-2  # of the largest entry: graphics cards may multiply in TF32


def check_devices(profile: str, problems: list[str]) -> list[dict[str, Any]]:
    """Devices as {id, name, memory_bytes (None: unknown), text}; the processor first. Wrong results go to problems.

    profile: "classic" knows the processor only; "full" asks PyTorch, which must then be there or be a problem already.
    """
    import numpy as np

    left, right, true = _matrices()
    devices = [_device("cpu", platform.processor() or platform.machine(), None, f"{os.cpu_count() or 1} threads")]
    _compare("cpu", np.float32(left) @ np.float32(right), true, problems)
    if profile != "full":
        return devices
    try:
        import torch
    except Exception:  # told with the packages
        return devices
    for id_, name, memory in _torch_devices(torch, problems):
        if id_ != "cpu":
            devices.append(_device(id_, name, memory, f"{memory / 1e9:.1f} GB" if memory else ""))
        try:
            on_device = [torch.tensor(matrix, dtype=torch.float32).to(id_) for matrix in (left, right)]
            _compare(id_, (on_device[0] @ on_device[1]).cpu().numpy(), true, problems)
        except Exception as error:  # a driver may fail with any exception
            problems.append(f"PyTorch cannot compute on {name} ({error}). Update its driver, or choose another device.")
    return devices


def network_device(name: str) -> str:
    """Where a network would run, without failing: "cpu", "cuda" or "mps". name: as in a request ("auto", "cuda:1")."""
    if name == "cpu" or find_spec("torch") is None:
        return "cpu"
    from ..methods.networks import choose_device

    try:
        return choose_device(name).type
    except EngineError:
        return choose_device(None).type


def _torch_devices(torch: Any, problems: list[str]) -> list[tuple[str, str, int | None]]:
    """Id, name and memory of every device PyTorch sees; the processor is always one."""
    found: list[tuple[str, str, int | None]] = [("cpu", "the processor", None)]
    for kind in ("cuda", "xpu"):  # ROCm's cards are cuda here
        backend = getattr(torch, kind, None)
        try:
            for number in range(backend.device_count() if backend is not None and backend.is_available() else 0):
                facts = backend.get_device_properties(number)
                found.append((f"{kind}:{number}", facts.name, facts.total_memory))
        except Exception as error:  # an old driver
            problems.append(f"PyTorch cannot use {kind.upper()} ({error}). Update the graphics driver.")
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple graphics", None))
    return found


def _matrices() -> tuple[Any, Any, Any]:
    import numpy as np

    random = np.random.default_rng(3)
    left, right = random.standard_normal((2, SIZE, SIZE))
    return left, right, left @ right


def _compare(id_: str, product: Any, true: Any, problems: list[str]) -> None:
    import numpy as np

    if not np.allclose(product, true, atol=TOLERANCE * np.abs(true).max(), rtol=0):  # NaN does not pass either
        problems.append(f"The device {id_} multiplies matrices wrongly. Update its driver, or choose another device.")


def _device(id_: str, name: str, memory: int | None, note: str) -> dict[str, Any]:
    text = f"{id_}: {name}, {note}" if note else f"{id_}: {name}"
    return {"id": id_, "name": name, "memory_bytes": memory, "text": text}
