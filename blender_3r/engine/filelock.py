"""One process at a time, by a lock on a file that the system takes back when the process ends, however it ends.

Standard library only: read by both sides.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import IO

TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file for this process; False when another has it. Closing the file gives the lock back.

    True also on a file system that knows no locks: better unguarded than never.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file.fileno(), 0, os.SEEK_SET)  # it locks from where the file stands
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in TAKEN
    return True
