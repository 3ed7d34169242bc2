"""The identity of items: the SHA-256 of their contents."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from headstart._fingerprint import sha256_bytes, sha256_file
from headstart._progress import SILENT, Progress
from headstart.data.assemble import nothing_left
from headstart.data.dataset import Dataset, Items, LeftOut, Value
from headstart.data.readers.files import unreadable

_MAX_THREADS = 8


class KnownHashes(Protocol):
    """What was hashed before, so that a file whose path, size and time are known is not read again.

    Calls come from one thread. A hash that is not known, or no longer sure, is left out of the answer.
    """

    def lookup(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The hashes of those files that have not changed since they were remembered."""

    def remember(self, hashes: Mapping[Path, str]) -> None:
        """Keep the hashes of files."""


def identify(dataset: Dataset, *, known: KnownHashes | None = None, progress: Progress = SILENT) -> Dataset:
    """The dataset with the content keys of its items; those that cannot be read are left out.

    Args:
        dataset: What was read.
        known: Hashes from earlier, or None to read every file.
        progress: Where to say how far it is.

    Raises:
        DataError: If no item can be read.
    """
    keys, left_out = _keys(dataset.items, known, progress)
    rows = [row for row, key in enumerate(keys) if key]
    if not rows:
        raise nothing_left(dataset.source, left_out)
    items = replace(dataset.items, keys=tuple(keys))
    return replace(replace(dataset, items=items).take(rows), left_out=dataset.left_out + left_out)


def content_keys(
    items: Items, *, known: KnownHashes | None = None, progress: Progress = SILENT
) -> tuple[Items, tuple[LeftOut, ...]]:
    """The items with their content keys, and those that cannot be read.

    The key of a file is the SHA-256 of its bytes, of a text that of its UTF-8, of an array that of its shape and bytes.

    Args:
        items: What was read.
        known: Hashes from earlier, or None to read every file.
        progress: Where to say how far it is.
    """
    keys, left_out = _keys(items, known, progress)
    return replace(items, keys=tuple(keys)).take([row for row, key in enumerate(keys) if key]), left_out


def _keys(items: Items, known: KnownHashes | None, progress: Progress) -> tuple[list[str], tuple[LeftOut, ...]]:
    """A key for each item, empty for those that cannot be read."""
    paths = list(dict.fromkeys(value for value in items.values if isinstance(value, Path)))
    hashes = dict(known.lookup(paths)) if known is not None and paths else {}
    unknown = [path for path in paths if path not in hashes]
    problems: dict[Path, str] = {}
    with (
        ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as threads,
        progress.task("Reading files", len(unknown)) as task,
    ):
        # hashlib lets go of the interpreter while it works, so threads are enough.
        for path, key, problem in threads.map(_hash_file, unknown):
            if problem:
                problems[path] = problem
            else:
                hashes[path] = key
            task.advance()
    if known is not None and unknown:
        known.remember({path: hashes[path] for path in unknown if path in hashes})
    keys = [hashes.get(value, "") if isinstance(value, Path) else _hash_value(value) for value in items.values]
    left_out = tuple(
        LeftOut(name, problems[value])
        for name, value in zip(items.names, items.values, strict=True)
        if isinstance(value, Path) and value in problems
    )
    return keys, left_out


def _hash_file(path: Path) -> tuple[Path, str, str]:
    try:
        return path, sha256_file(path), ""
    except OSError as error:
        return path, "", unreadable(error)


def _hash_value(value: Value) -> str:
    if isinstance(value, np.ndarray):
        header = f"{value.dtype.str} {value.shape}\0".encode()
        return sha256_bytes(header + np.ascontiguousarray(value).tobytes())
    return sha256_bytes(str(value).encode("utf-8", "surrogatepass"))
