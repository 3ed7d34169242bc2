"""Where trainings are kept while they run, so that one that was killed goes on, and when they are given up."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from headstart.data.dataset import Dataset

_FOLDER = "trainings"
WEEK_S = 7 * 24 * 3600.0
"""A training that nobody took up again for so long is removed by the next run."""
HOUR_S = 3600.0
"""One that was not written to for so long is not running."""


def scratch_of(dataset: Dataset, home: Path) -> Path:
    """Where the trainings of a dataset are kept until they are done.

    Args:
        dataset: The data.
        home: headstart's home.
    """
    return home / _FOLDER / dataset.fingerprint[:24]


def sweep(home: Path, *, idle_s: float) -> int:
    """Remove what trainings left behind that were killed and not taken up again.

    Args:
        home: headstart's home.
        idle_s: Seconds without a write after which one is removed.

    Returns:
        The bytes that were freed.
    """
    freed, now = 0, time.time()
    for folder in (home / _FOLDER).glob("*"):
        try:
            facts = [path.stat() for path in (folder, *folder.rglob("*"))]
        except FileNotFoundError:  # another run has just finished there
            continue
        if now - max(each.st_mtime for each in facts) > idle_s:
            shutil.rmtree(folder, ignore_errors=True)
            freed += sum(each.st_size for each in facts)
    return freed
