"""Accuracy and time of the engine on known scenes, beside other programs; see README.md."""
