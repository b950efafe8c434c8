"""Photos, movies, sequences and rigs to frames in memory, one at a time."""

import os

# OpenCV reads these when it is first used. EXR files are refused without the first; the others keep its decoders from
# printing what the user is told in a sentence anyway.
os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
