"""Advisory locks on files: held by an open file, let go by the system when its process ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
    import time

    # Windows locks bytes and forbids reading them, so the byte is one that no file has.
    _FAR = 1 << 40

    def try_lock(descriptor: int) -> bool:
        """Take the lock of an open file unless another has it; False when another has it."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _lock(descriptor: int) -> None:
        while not try_lock(descriptor):
            time.sleep(0.05)

    def unlock(descriptor: int) -> None:
        """Let the lock go."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Take the lock of an open file unless another has it; False when another has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def unlock(descriptor: int) -> None:
        """Let the lock go, also for child processes that were forked while it was held."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made if need be; wait while another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor)
        try:
            yield
        finally:
            unlock(descriptor)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether another holds the lock of this file."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        if not try_lock(descriptor):
            return True
        unlock(descriptor)
        return False
    finally:
        os.close(descriptor)
