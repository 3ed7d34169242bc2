"""Where features are kept: on disk, or in memory where the disk cannot be written to."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headstart._progress import Progress
from headstart.errors import StoreError
from headstart.features.memory import MemoryStore
from headstart.features.store import Store


@contextlib.contextmanager
def open_store(home: Path, progress: Progress) -> Iterator[tuple[Store | MemoryStore, Path]]:
    """The store below a home, and the home itself; both are temporary where the home cannot be written to.

    Args:
        home: headstart's home.
        progress: Where it is said that nothing will be kept.
    """
    with contextlib.ExitStack() as stack:
        try:
            on_disk = stack.enter_context(Store.open(home))
        except StoreError as error:
            progress.say(f"Features are kept in memory only: {error}")
            yield MemoryStore(), Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headstart-")))
        else:
            for note in on_disk.notes:
                progress.say(note)
            yield on_disk, home
