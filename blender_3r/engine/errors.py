"""The one exception that reaches users: what happened, and what to do next."""

from __future__ import annotations

# Exit status of the command line per kind of failure; documented in the README, so scripts may rely on it.
EXIT_OK = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_UNSOLVED = 4
EXIT_MACHINE = 5
EXIT_CANCELLED = 130

EXIT_CODES = {
    "usage": EXIT_USAGE,
    "input": EXIT_INPUT,
    "unsolved": EXIT_UNSOLVED,
    "machine": EXIT_MACHINE,
    "cancelled": EXIT_CANCELLED,
    "internal": EXIT_BUG,
}


class EngineError(Exception):
    """A failure told as a sentence, with a hint what to do next.

    kind: one of EXIT_CODES: "usage" (wrong request), "input" (footage missing or unreadable), "unsolved" (footage
    read, but no camera can be had from it), "machine" (disk, memory, missing package), "cancelled", "internal".
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        if kind not in EXIT_CODES:
            raise ValueError(f"unknown kind of error: {kind}")
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.kind]

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Cancelled(EngineError):
    """The user asked to stop."""

    def __init__(self) -> None:
        super().__init__(
            "cancelled", "The job was cancelled.", "What was computed is kept; press Reconstruct to go on."
        )
