"""Everything that computes. Never imports bpy; runs in its own Python, as a child process or as a command line."""

__version__ = "0.1.0"
