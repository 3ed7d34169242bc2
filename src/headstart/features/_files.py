"""When a file can be taken for unchanged without reading it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from headstart._fingerprint import sha256_bytes

_UNSETTLED_NS = 2_000_000_000
"""File systems keep times as coarsely as 2 s (FAT). A file that is changed twice within one tick and keeps its size
looks the same both times, so a file younger than a tick is not yet known: the "racy git" problem, see
https://git-scm.com/docs/racy-git."""


class FileStates:
    """What files looked like when somebody asked about them.

    A state is a digest of absolute path, size and modification time. Between asking and answering a file is read to be
    hashed, which takes a while, so a file is settled only if it looks now as it did when it was asked about.
    """

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[str, bool]] = {}

    def look(self, paths: Iterable[Path]) -> dict[Path, str]:
        """The state of each of these files; those that are not there are left out."""
        now_ns = time.time_ns()
        seen = {path: found for path in paths if (found := _state(path, now_ns)) is not None}
        self._seen.update(seen)
        return {path: state for path, (state, _) in seen.items()}

    def settled(self, paths: Iterable[Path]) -> dict[Path, str]:
        """The state of those that have not changed since `look`, nor in the two seconds before it."""
        now_ns = time.time_ns()
        states = {}
        for path in paths:
            now = _state(path, now_ns)
            then = self._seen.pop(path, None) or now
            if now is not None and then is not None and then[1] and then[0] == now[0]:
                states[path] = now[0]
        return states


def _state(path: Path, now_ns: int) -> tuple[str, bool] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    # As bytes, because a file name need not be valid text.
    identity = b"%d %d " % (stat.st_size, stat.st_mtime_ns) + os.fsencode(path.absolute())
    return sha256_bytes(identity), stat.st_mtime_ns < now_ns - _UNSETTLED_NS
