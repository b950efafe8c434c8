"""A method turns frames into posed views; one module each."""

from __future__ import annotations

import importlib

from ..errors import EngineError
from .base import Method, MethodInfo

# Method id to the module that holds its INFO and run(); imported only when asked for, since they import much.
METHODS: dict[str, str] = {
    "classic": f"{__name__}.classic",
    "pairwise": f"{__name__}.pairwise.method",
    "streaming": f"{__name__}.streaming.method",
    "multiview": f"{__name__}.multiview.method",
}


def load_method(method_id: str) -> Method:
    """The method's module. Raises EngineError: "usage" for an unknown id, "machine" when a package is missing."""
    if method_id not in METHODS:
        raise EngineError(
            "usage", f"There is no method called {method_id!r}.", f"Choose one of: {', '.join(sorted(METHODS))}."
        )
    try:
        return importlib.import_module(METHODS[method_id])
    except ImportError as error:
        raise EngineError(
            "machine",
            f"The method {method_id} cannot be loaded ({error}).",
            "The engine's installation is incomplete: install the engine again.",
        ) from error


def list_methods() -> list[MethodInfo]:
    """What can be used on this machine, in the order of the registry."""
    return [load_method(method_id).INFO for method_id in METHODS]
