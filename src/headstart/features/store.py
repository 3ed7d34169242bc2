"""The feature store on disk: every item goes through each layer of each backbone once ever.

Rows lie in append-only shards, `features/shards/*.rows`; `features/index.sqlite` says which row belongs to which item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from headstart._checks import did_you_mean
from headstart._home import default_home
from headstart.errors import OptionError, StoreError
from headstart.features._checks import check_speed
from headstart.features._database import Database, open_database
from headstart.features._files import FileStates
from headstart.features._index import Index
from headstart.features._ledger import Ledger
from headstart.features._locks import locked
from headstart.features._places import FOLDER, INDEX, LOCK, SHARDS, unwritable
from headstart.features._prune import prune_shards, shard_bytes
from headstart.features._reading import read_features
from headstart.features._writer import Writer
from headstart.features.namespace import Namespace
from headstart.features.records import PruneResult, StoreInfo

__all__ = ["DEFAULT_MAX_BYTES", "Store"]

DEFAULT_MAX_BYTES = 20 * 10**9


class Store:
    """Features by namespace and content hash, and what else was found out on this machine, in a folder.

    Guarantees:

    - Threads may share a store, and processes its folder: each process opens its own, also after a fork. A writer
      belongs to one thread. The disk should be a local one: SQLite's write-ahead log does not work between machines.
    - A batch is visible as a whole as soon as `append` returns, and never in part. A writer that is killed loses at
      most the batch that it was writing.
    - Every row that is read has passed its checksum. One that fails, or whose bytes are gone, is forgotten: it is not
      there, and can be written again.
    - An index that is damaged or from an older version is set aside, and `notes` says so.

    Attributes:
        notes: What had to be done to open the store, one sentence each; mostly empty.
    """

    def __init__(self, folder: Path, database: Database, *, max_bytes: int, notes: tuple[str, ...]) -> None:
        self.notes = notes
        self._folder = folder
        self._database = database
        self._max_bytes = max_bytes
        self._index = Index(database)
        self._ledger = Ledger(database)
        self._files = FileStates()

    @classmethod
    def open(cls, home: Path | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Store:
        """The store in a folder, which is made if need be.

        Args:
            home: Where headstart keeps things; None means `default_home()`.
            max_bytes: What the shards may take; when there is more on closing, what was not used for longest goes.

        Raises:
            OptionError: If `max_bytes` is negative.
            StoreError: If the folder cannot be written to, or the index is from a newer version.
        """
        if max_bytes < 0:
            raise OptionError(
                f"the size of the feature store must be 0 or more bytes, but got {max_bytes}",
                hint="Write for example 2 * 10**9 for 2 GB.",
            )
        folder = (home or default_home()) / FOLDER
        try:
            (folder / SHARDS).mkdir(parents=True, exist_ok=True)
            with locked(folder / LOCK):
                database, notes = open_database(folder / INDEX)
        except OSError as error:
            raise unwritable(folder, error) from error
        return cls(folder, database, max_bytes=max_bytes, notes=notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Prune to `max_bytes` if there is more, and let go of the index."""
        # What cannot be pruned today is pruned at the next closing; a finished run must not fail for it.
        with suppress(StoreError):
            if shard_bytes(self._folder) > self._max_bytes:
                self.prune()
        self._database.close()

    def read(
        self, namespace: Namespace, keys: Sequence[str]
    ) -> tuple[Float[np.ndarray, "rows width"], Bool[np.ndarray, " rows"]]:
        """The features of these items, and which of them are there; the rows of the others are zero.

        Args:
            namespace: Which features.
            keys: The content hash of each item; one may occur twice.

        Raises:
            StoreError: If the store cannot be read.
        """
        return read_features(self._folder, self._index, namespace, keys)

    @contextmanager
    def writer(self, namespace: Namespace) -> Iterator[Writer]:
        """A place to put features of this namespace; it ends with the context."""
        writer = Writer(self._folder, self._index, self._ledger, namespace)
        try:
            yield writer
        finally:
            writer.close()

    def rejected(self, keys: Sequence[str]) -> dict[str, str]:
        """Those of these items that the installed versions cannot decode, with the reason.

        Raises:
            StoreError: If the store cannot be read.
        """
        return self._ledger.rejected(keys)

    def lookup(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The content hash of those files that are known and have the size and modification time they had then.

        Raises:
            StoreError: If the store cannot be read.
        """
        states = self._files.look(paths)
        keys = self._ledger.keys_of(states.values())
        return {path: keys[state] for path, state in states.items() if state in keys}

    def remember(self, hashes: Mapping[Path, str]) -> None:
        """Keep the content hash of files for the next `lookup`.

        A file that was modified in the two seconds before it was looked up, or since, is not kept: its modification
        time does not tell yet whether it will change again.

        Raises:
            StoreError: If it cannot be written.
        """
        states = self._files.settled(hashes)
        self._ledger.remember_keys({state: hashes[path] for path, state in states.items()})

    def speed(self, backbone: str, *, device: str, dtype: str) -> float | None:
        """Items per second when it was last measured on this machine, or None when it never was.

        Raises:
            StoreError: If the store cannot be read.
        """
        return self._ledger.speed(backbone, device, dtype)

    def remember_speed(self, backbone: str, items_per_s: float, *, device: str, dtype: str) -> None:
        """Keep a measurement in place of the one before.

        Raises:
            OptionError: If the speed is not a positive number.
            StoreError: If it cannot be written.
        """
        check_speed(items_per_s)
        self._ledger.remember_speed(backbone, device, dtype, items_per_s)

    def count_opening(self, test_fingerprint: str, run_name: str) -> int:
        """Note that a run looks at sealed test targets.

        Returns:
            How often these targets have been looked at on this machine, this time included.

        Raises:
            StoreError: If it cannot be written.
        """
        return self._ledger.count_opening(test_fingerprint, run_name)

    def info(self) -> StoreInfo:
        """What the store holds.

        Raises:
            StoreError: If the store cannot be read.
        """
        return StoreInfo(
            folder=self._folder,
            n_bytes=shard_bytes(self._folder),
            index_bytes=self._database.n_bytes(),
            max_bytes=self._max_bytes,
            namespaces=self._index.namespaces(),
        )

    def prune(self, max_bytes: int | None = None, *, backbone: str | None = None) -> PruneResult:
        """Remove what killed writers left, then the shards that were not used for longest.

        Other processes may go on reading and writing. What a living writer has written stays.

        Args:
            max_bytes: What the shards may take; None means the bound of the store or, with a backbone, nothing.
            backbone: Only remove features of this backbone, and count only these.

        Raises:
            OptionError: If there are no features of this backbone, or `max_bytes` is negative.
            StoreError: If the store cannot be written.
        """
        if max_bytes is not None and max_bytes < 0:
            raise OptionError(
                f"features can be pruned to 0 or more bytes, but got {max_bytes}", hint="Use 0 for nothing."
            )
        known = self._index.backbones()
        if backbone is not None and backbone not in known:
            raise OptionError(
                f"the feature store has no features of the backbone {backbone!r}", hint=did_you_mean(backbone, known)
            )
        default = self._max_bytes if backbone is None else 0
        bound = default if max_bytes is None else max_bytes
        try:
            with locked(self._folder / LOCK):
                result = prune_shards(self._folder, self._index, max_bytes=bound, backbone=backbone)
        except OSError as error:
            raise unwritable(self._folder, error) from error
        self._ledger.forget_old()
        self._database.shrink()
        return result
