"""The parts that a streaming job's stages take of the progress bar."""

from __future__ import annotations

# Part of the job, 0..1, at which a stage begins; the next one's beginning is its end.
LOADING, LOOKING = 0.0, 0.02
