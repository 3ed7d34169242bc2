"""Files with nothing but rows in them, one after the other: written by one writer, read by anybody."""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8

from headstart.features._locks import try_lock, unlock


class ShardFile:
    """A shard while it is written. Its lock says that the writer lives.

    Rows that are written but not yet kept lie after the end, where the next batch overwrites them.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._n_bytes = 0
        self.n_rows = 0
        # Nobody else knows the name yet, so the lock is free.
        try_lock(self._file.fileno())

    def write(self, raw: UInt8[np.ndarray, "rows bytes"]) -> None:
        """Put the bytes of a batch after the end."""
        self._file.seek(self._n_bytes)
        left = np.ascontiguousarray(raw).reshape(-1).data
        while left:
            left = left[self._file.write(left) :]

    def keep(self, raw: UInt8[np.ndarray, "rows bytes"]) -> None:
        """Move the end behind the batch that was written last."""
        self._n_bytes += raw.size
        self.n_rows += len(raw)

    def close(self) -> None:
        """Cut off what was not kept, and let the lock go."""
        # On a full or broken disk this may fail; pruning does it again.
        with suppress(OSError):
            self._file.truncate(self._n_bytes)
        unlock(self._file.fileno())
        self._file.close()


def checksums(raw: UInt8[np.ndarray, "rows bytes"]) -> list[int]:
    """The CRC-32 of each row."""
    return [zlib.crc32(row) for row in raw]


def read_rows(
    path: Path, positions: Int[np.ndarray, " rows"], row_bytes: int
) -> tuple[UInt8[np.ndarray, "rows bytes"], Bool[np.ndarray, " rows"]]:
    """The bytes of these rows, and which of them the file still has; the others are undefined.

    Rows are read, not mapped: a mapped file that somebody cuts short kills the process that looks at it.

    Args:
        path: The shard.
        positions: Ascending positions of rows.
        row_bytes: How long one row is.
    """
    raw = np.zeros((len(positions), row_bytes), dtype=np.uint8)
    complete = np.zeros(len(positions), dtype=np.bool_)
    starts = np.flatnonzero(np.diff(positions, prepend=-2) != 1)
    stops = np.append(starts[1:], len(positions))
    # A shard that was pruned meanwhile has no rows any more.
    with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            file.seek(int(positions[start]) * row_bytes)
            n_read = _fill(file, raw[start:stop].reshape(-1).data)
            complete[start : start + n_read // row_bytes] = True
    return raw, complete


def _fill(file: io.FileIO, target: memoryview) -> int:
    """Read until the target is full or the file ends; one read may give less than it was asked for."""
    n_read = 0
    while n_read < len(target) and (n_more := file.readinto(target[n_read:])):
        n_read += n_more
    return n_read
