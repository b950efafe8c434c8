"""The parts that a pairwise job's stages take of the progress bar."""

from __future__ import annotations

# Part of the job, 0..1, at which a stage begins; the next one's beginning is its end.
READING, LOADING, ENCODING, PREDICTING, ALIGNING, CLEANING, VIEWS = 0.0, 0.03, 0.06, 0.1, 0.6, 0.9, 0.95
