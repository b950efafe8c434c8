"""Any failure of a job as a sentence for people."""

from __future__ import annotations

import cv2

from ..errors import Cancelled, EngineError


def as_engine_error(error: BaseException) -> EngineError:
    """Any exception as a sentence; what it was in detail belongs into the log."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled()
    if isinstance(error, MemoryError) or _is_torch_memory_error(error):
        return EngineError(
            "machine", "The computer ran out of memory.", "Close other programs, or use quality Draft or fewer frames."
        )
    if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
        return as_engine_error(MemoryError())
    if isinstance(error, OSError):
        return EngineError(
            "machine",
            f"The system refused to read or write ({error.strerror or error}).",
            "Check free disk space and permissions; what was computed is kept.",
        )
    name = type(error).__name__
    return EngineError(
        "internal", f"The engine failed unexpectedly ({name}).", "The log file in the job folder says more; report it."
    )


def _is_torch_memory_error(error: BaseException) -> bool:
    """torch's own error of a device, or its allocator's of main memory; torch is not imported for that."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
