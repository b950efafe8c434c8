"""Tracks, matches, mapping and bundle adjustment: what makes a camera stick to the plate."""
