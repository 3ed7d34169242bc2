"""A feature store that ends with the process: for tests, and for machines where nothing can be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from headstart.features._checks import check_reasons, check_speed, checked_batch
from headstart.features._files import FileStates
from headstart.features.namespace import Namespace
from headstart.features.protocol import FeatureWriter

__all__ = ["MemoryStore"]


class MemoryStore:
    """All that `Store` does but look after a disk. It keeps everything and may be used from several threads."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, np.ndarray]] = {}
        self._rejected: dict[str, str] = {}
        self._files = FileStates()
        self._hashes: dict[str, str] = {}
        self._speeds: dict[tuple[str, str, str], float] = {}
        self._openings: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held that would have to be let go."""

    def read(
        self, namespace: Namespace, keys: Sequence[str]
    ) -> tuple[Float[np.ndarray, "rows width"], Bool[np.ndarray, " rows"]]:
        """The features of these items, and which of them are there; the rows of the others are zero."""
        rows = self._rows.get(namespace.id, {})
        features = np.zeros((len(keys), namespace.width), dtype=np.float32)
        there = np.array([key in rows for key in keys], dtype=np.bool_)
        for slot, key in enumerate(keys):
            if there[slot]:
                features[slot] = rows[key]
        return features, there

    @contextmanager
    def writer(self, namespace: Namespace) -> Iterator[FeatureWriter]:
        """A place to put features of this namespace."""
        yield _MemoryWriter(namespace, self._rows.setdefault(namespace.id, {}), self._rejected)

    def rejected(self, keys: Sequence[str]) -> dict[str, str]:
        """Those of these items that are known not to be decodable, with the reason."""
        return {key: self._rejected[key] for key in keys if key in self._rejected}

    def lookup(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The content hash of those files that are known and have the size and modification time they had then."""
        states = self._files.look(paths)
        return {path: self._hashes[state] for path, state in states.items() if state in self._hashes}

    def remember(self, hashes: Mapping[Path, str]) -> None:
        """Keep the content hash of files that were not modified in the two seconds before lookup, or since."""
        self._hashes |= {state: hashes[path] for path, state in self._files.settled(hashes).items()}

    def speed(self, backbone: str, *, device: str, dtype: str) -> float | None:
        """Items per second when it was last measured, or None when it never was."""
        return self._speeds.get((backbone, device, dtype))

    def remember_speed(self, backbone: str, items_per_s: float, *, device: str, dtype: str) -> None:
        """Keep a measurement in place of the one before.

        Raises:
            OptionError: If the speed is not a positive number.
        """
        check_speed(items_per_s)
        self._speeds[backbone, device, dtype] = float(items_per_s)

    def count_opening(self, test_fingerprint: str, run_name: str) -> int:
        """How often these test targets have been looked at by this process, this time included."""
        self._openings.append((test_fingerprint, run_name))
        return sum(fingerprint == test_fingerprint for fingerprint, _ in self._openings)


class _MemoryWriter:
    def __init__(self, namespace: Namespace, rows: dict[str, np.ndarray], rejected: dict[str, str]) -> None:
        self._namespace = namespace
        self._rows = rows
        self._rejected = rejected

    def append(self, keys: Sequence[str], rows: Float[np.ndarray, "rows width"]) -> None:
        """Keep one batch; keys that are there already are left as they are."""
        for key, row in zip(keys, checked_batch(self._namespace, keys, rows), strict=True):
            self._rows.setdefault(key, row.copy())

    def reject(self, keys: Sequence[str], reasons: Sequence[str]) -> None:
        """Remember that these items cannot be decoded."""
        check_reasons(keys, reasons)
        self._rejected |= dict(zip(keys, reasons, strict=True))
