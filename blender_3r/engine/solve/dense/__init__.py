"""Dense depth from solved cameras: which views, matched with which others, checked against which."""

from .neighbours import choose_views
from .pipeline import DenseSettings, dense_depth

__all__ = ["DenseSettings", "choose_views", "dense_depth"]
