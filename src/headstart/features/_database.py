"""The index of the store as an SQLite file: opening it, healing it, and saying what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headstart.errors import StoreError
from headstart.features._places import FULL_HINT

SCHEMA_VERSION = 1

_SCHEMA = f"""
BEGIN;
CREATE TABLE namespaces (
    id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, backbone TEXT NOT NULL, view TEXT NOT NULL,
    dtype TEXT NOT NULL, layers TEXT NOT NULL, row_bytes INTEGER NOT NULL
);
CREATE TABLE shards (
    id INTEGER PRIMARY KEY, namespace INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, used REAL NOT NULL
);
CREATE TABLE rows (
    namespace INTEGER NOT NULL, key TEXT NOT NULL, shard INTEGER NOT NULL, position INTEGER NOT NULL,
    crc32 INTEGER NOT NULL, PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
CREATE TABLE rejections (
    key TEXT PRIMARY KEY, reader TEXT NOT NULL, reason TEXT NOT NULL, since REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE files (state TEXT PRIMARY KEY, key TEXT NOT NULL, since REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE speeds (
    backbone TEXT, device TEXT, dtype TEXT, items_per_s REAL NOT NULL, PRIMARY KEY (backbone, device, dtype)
) WITHOUT ROWID;
CREATE TABLE openings (test_fingerprint TEXT NOT NULL, run TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX openings_by_fingerprint ON openings (test_fingerprint);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_HINTS = {
    sqlite3.SQLITE_BUSY: "Another process holds it for long: wait for that one, or stop it.",
    sqlite3.SQLITE_FULL: FULL_HINT,
}
_HINT = "Set HEADSTART_HOME to a folder on a local disk that can be written to."
_BUSY_S = 60.0


class Database:
    """One connection to the index.

    Several threads may use it: they take turns. A child process that was forked must not: it opens its own.
    Every statement outside `transaction` is a transaction of its own; several processes take turns at writing, and
    reading never waits.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._turn = threading.RLock()
        self._process = os.getpid()

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows that a statement gives.

        Raises:
            StoreError: If the index cannot be used.
        """
        with self._in_turn():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Statements that take effect together, or not at all.

        Raises:
            StoreError: If the index cannot be used, or one of the statements fails.
        """
        with self._in_turn():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back already after some errors, such as a full disk.
                with suppress(sqlite3.OperationalError):
                    self._connection.execute("ROLLBACK")
                raise

    def n_bytes(self) -> int:
        """How large the index is.

        Raises:
            StoreError: If the index cannot be used.
        """
        ((n_pages,),) = self.query("PRAGMA page_count")
        ((page_bytes,),) = self.query("PRAGMA page_size")
        return int(n_pages * page_bytes)

    def shrink(self) -> None:
        """Give the pages of deleted rows back to the file system.

        Raises:
            StoreError: If the index cannot be used.
        """
        with self._in_turn():
            # As a script, because one step of this statement gives back one page.
            self._connection.executescript("PRAGMA incremental_vacuum")

    def close(self) -> None:
        """Close the connection; a second time does nothing."""
        with self._turn:
            self._connection.close()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if os.getpid() != self._process:
            raise StoreError(
                f"a feature store belongs to the process that opened it, {self._process}, but {os.getpid()} used it",
                hint="Open the store again in each process.",
            )
        with self._turn:
            try:
                yield
            except sqlite3.Error as error:
                raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> StoreError:
        code = _code(error)
        if code not in _DAMAGE:
            return StoreError(
                f"the index of the feature store at {self._path} cannot be used: {error}", hint=_HINTS.get(code, _HINT)
            )
        with suppress(OSError):
            _suspicion(self._path).touch()
        return StoreError(
            f"the index of the feature store at {self._path} is damaged: {error}",
            hint="Run the command again: the index will be set aside, and features will be computed again.",
        )


def open_database(path: Path) -> tuple[Database, tuple[str, ...]]:
    """The index at `path`, made if need be, and what had to be done for that, one sentence each.

    An index that is damaged or from an older version is renamed and a new one is begun, since features can be computed
    again. The caller sees to it that nobody else opens the same index meanwhile.

    Raises:
        StoreError: If it is from a newer version, or cannot be opened at all.
    """
    try:
        reason = _unfit(path)
        notes = () if reason is None else (_set_aside(path, reason),)
        return Database(path, _connect(path)), notes
    except sqlite3.Error as error:
        raise StoreError(
            f"the index of the feature store at {path} cannot be opened: {error}", hint=_HINTS.get(_code(error), _HINT)
        ) from error


def _unfit(path: Path) -> str | None:
    """Why the index cannot be used as it is, in one word; None when it can, or is not there."""
    suspected = _suspicion(path).exists()
    _suspicion(path).unlink(missing_ok=True)
    if suspected or not path.exists():
        return "damaged" if path.exists() else None
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if _code(error) in _DAMAGE:
            return "damaged"
        raise
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the index of the feature store at {path} must have version {SCHEMA_VERSION}, but it has {version}",
            hint="Upgrade headstart, or set HEADSTART_HOME to another folder.",
        )
    return "outdated" if n_tables and version < SCHEMA_VERSION else None


def _set_aside(path: Path, reason: str) -> str:
    name = f"{path.name}.{reason}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    path.replace(path.with_name(name))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return f"the index of the feature store was {reason}: it is now {name}, and a new one was begun"


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    # Takes effect only before the first table, and lets a pruned index give its pages back.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    # Without a sync per commit a power cut may cost the last batches. Rows whose bytes it cost fail their checksum.
    connection.execute("PRAGMA synchronous = NORMAL")
    (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not n_tables:
        connection.executescript(_SCHEMA)
    return connection


def _suspicion(path: Path) -> Path:
    """The file whose presence says that the index turned out to be damaged while it was in use."""
    return path.with_name(path.name + ".suspect")


def _code(error: sqlite3.Error) -> int:
    # Errors that the module raises itself, such as "closed database", have no code; the upper bits are details.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
