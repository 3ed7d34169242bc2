"""What headstart has found out on this machine beside features: bad items, file hashes, speeds, openings of tests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version

from headstart.features._database import Database

_FORGET_AFTER_S = 90 * 24 * 3600.0


class Ledger:
    """The tables `rejections`, `files`, `speeds` and `openings`. The guarantees are those of `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reject(self, reasons: Mapping[str, str]) -> None:
        """Remember why items, by content hash, cannot be decoded."""
        now = time.time()
        with self._database.transaction() as change:
            change.executemany(
                "INSERT OR REPLACE INTO rejections (key, reader, reason, since) VALUES (?, ?, ?, ?)",
                [(key, _reader(), reason, now) for key, reason in reasons.items()],
            )

    def rejected(self, keys: Iterable[str]) -> dict[str, str]:
        """Those of these items that the installed decoder cannot decode, with the reason."""
        return dict(
            self._database.query(
                "SELECT key, reason FROM rejections WHERE reader = ? AND key IN (SELECT value FROM json_each(?))",
                _reader(),
                json.dumps(list(keys)),
            )
        )

    def keys_of(self, states: Iterable[str]) -> dict[str, str]:
        """The content hash of files by their state, for those that are known."""
        return dict(
            self._database.query(
                "SELECT state, key FROM files WHERE state IN (SELECT value FROM json_each(?))", json.dumps(list(states))
            )
        )

    def remember_keys(self, keys: Mapping[str, str]) -> None:
        """Keep the content hash of files by their state."""
        now = time.time()
        with self._database.transaction() as change:
            change.executemany(
                "INSERT OR REPLACE INTO files (state, key, since) VALUES (?, ?, ?)",
                [(state, key, now) for state, key in keys.items()],
            )

    def speed(self, backbone: str, device: str, dtype: str) -> float | None:
        """Items per second, or None when it was never measured."""
        rows = self._database.query(
            "SELECT items_per_s FROM speeds WHERE backbone = ? AND device = ? AND dtype = ?", backbone, device, dtype
        )
        return float(rows[0][0]) if rows else None

    def remember_speed(self, backbone: str, device: str, dtype: str, items_per_s: float) -> None:
        """Keep a measurement in place of the one before."""
        self._database.query(
            "INSERT OR REPLACE INTO speeds (backbone, device, dtype, items_per_s) VALUES (?, ?, ?, ?)",
            backbone,
            device,
            dtype,
            float(items_per_s),
        )

    def count_opening(self, test_fingerprint: str, run_name: str) -> int:
        """Note that a run looked at test targets; returns how often that happened, this time included."""
        with self._database.transaction() as change:
            change.execute("INSERT INTO openings VALUES (?, ?, ?)", (test_fingerprint, run_name, time.time()))
            (count,) = change.execute(
                "SELECT count(*) FROM openings WHERE test_fingerprint = ?", (test_fingerprint,)
            ).fetchone()
        return int(count)

    def forget_old(self) -> None:
        """Forget what is cheap to find out again: hashes and rejections from more than 90 days ago."""
        before = time.time() - _FORGET_AFTER_S
        with self._database.transaction() as change:
            change.execute("DELETE FROM files WHERE since < ?", (before,))
            change.execute("DELETE FROM rejections WHERE since < ? OR reader != ?", (before, _reader()))


@cache
def _reader() -> str:
    """What failed to decode the items: another version of it may succeed."""
    return f"headstart {version('headstart')}, pillow {version('pillow')}"
