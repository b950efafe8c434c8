"""MASt3R-SfM: matches between images, canonical views, and the sparse global alignment that joins them."""

from __future__ import annotations

from .collector import SparseCollector, SparseScene
from .optimise import SparseSettings

__all__ = ["SparseCollector", "SparseScene", "SparseSettings"]
