"""Where trainings are kept while they run, so that one that was killed goes on, and when they are given up."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headstart._fingerprint import fingerprint
from headstart.errors import BackboneError, DataError, OptionError
from headstart.features._locks import try_lock, unlock

_FOLDER, _LOCK = "trainings", "lock"
WEEK_S = 7 * 24 * 3600.0
"""A training that nobody took up again for so long is removed by the next run."""


@dataclass
class Trainings:
    """A place for the trainings of one run.

    Attributes:
        folder: Where they are.
        keep: Whether it stays when the run ends, because the same run is to go on from there.
    """

    folder: Path
    keep: bool = False


@contextlib.contextmanager
def training_folder(home: Path, identity: object) -> Iterator[Trainings]:
    """A folder for the trainings of one run: that of the same run when it was killed before, if no other has it.

    It is removed at the end, unless it is to be kept, and when the user's request is what cannot be done; else, also
    when the disk is full, it stays for the next attempt.

    Args:
        home: headstart's home.
        identity: What makes two runs the same: data, strategies with their settings, seed, device and precision.

    Raises:
        OptionError: If it was raised inside; so it is for a BackboneError or DataError.
    """
    folder = home / _FOLDER / fingerprint(identity)[:24]
    with contextlib.ExitStack() as stack:
        if not stack.enter_context(_hold(folder)):
            folder = folder.with_name(f"{folder.name}-{os.getpid()}")
            stack.enter_context(_hold(folder))
        trainings = Trainings(folder)
        try:
            yield trainings
        except (OptionError, BackboneError, DataError):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if not trainings.keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _hold(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which is made; False where another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    held = try_lock(descriptor)
    try:
        yield held
    finally:
        if held:
            unlock(descriptor)
        os.close(descriptor)


def sweep(home: Path, *, idle_s: float) -> int:
    """Remove what trainings left behind that were killed and not taken up again.

    Args:
        home: headstart's home.
        idle_s: Seconds without a write after which one is removed, unless it runs.

    Returns:
        The bytes that were freed.
    """
    freed, now = 0, time.time()
    for folder in (home / _FOLDER).glob("*"):
        with contextlib.suppress(FileNotFoundError):  # another run may have just finished there
            facts = [path.stat() for path in (folder, *folder.rglob("*"))]
            if now - max(each.st_mtime for each in facts) <= idle_s:
                continue
            with _hold(folder) as held:
                if held:
                    shutil.rmtree(folder, ignore_errors=True)
                    freed += sum(each.st_size for each in facts)
    return freed
