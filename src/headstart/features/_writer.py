"""The writing side of the store on disk."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from headstart.errors import StoreError
from headstart.features._checks import check_reasons, checked_batch
from headstart.features._encoding import encode
from headstart.features._index import Index
from headstart.features._ledger import Ledger
from headstart.features._locks import locked
from headstart.features._places import LOCK, SHARDS, unwritable
from headstart.features._shards import ShardFile, checksums
from headstart.features.namespace import Namespace


class Writer:
    """Appends to a shard of its own, so writers never wait for each other's bytes.

    The bytes of a batch come first, then its rows in the index, in one transaction: whatever happens in between, the
    batch is not visible and its bytes are overwritten or cut off. Nothing is synced to the disk: the bytes survive a
    killed process, and after a power cut the checksums tell what was lost.
    """

    def __init__(self, folder: Path, index: Index, ledger: Ledger, namespace: Namespace) -> None:
        self._folder = folder
        self._index = index
        self._ledger = ledger
        self._namespace = namespace
        self._shard: tuple[int, ShardFile] | None = None

    def append(self, keys: Sequence[str], rows: Float[np.ndarray, "rows width"]) -> None:
        """Keep one batch; keys that are there already are left as they are.

        Raises:
            OptionError: If keys and rows do not fit together or the namespace, or a number is not finite.
            StoreError: If the batch cannot be written. The batches before it stay.
        """
        rounded = checked_batch(self._namespace, keys, rows)
        there = {place.key for place in self._index.places(self._namespace, keys)}
        first: dict[str, int] = {}
        for row, key in enumerate(keys):
            if key not in there:
                first.setdefault(key, row)
        if first:
            raw = encode(rounded[list(first.values())], self._namespace.dtype)
            try:
                self._write(list(first), raw)
            except OSError as error:
                raise unwritable(self._folder, error) from error

    def reject(self, keys: Sequence[str], reasons: Sequence[str]) -> None:
        """Remember that these items cannot be decoded, in any namespace, by the installed versions.

        Raises:
            OptionError: If there is not one reason for each key.
            StoreError: If it cannot be written.
        """
        check_reasons(keys, reasons)
        self._ledger.reject(dict(zip(keys, reasons, strict=True)))

    def close(self) -> None:
        """End the shard, if there is one. The next batch would begin another."""
        if self._shard is not None:
            self._shard[1].close()
            self._shard = None

    def _write(self, keys: Sequence[str], raw: UInt8[np.ndarray, "rows bytes"]) -> None:
        number, file = self._shard = self._shard or self._begin()
        file.write(raw)
        self._index.add_rows(number, file.n_rows, keys, checksums(raw))
        file.keep(raw)

    def _begin(self) -> tuple[int, ShardFile]:
        name = f"{secrets.token_hex(16)}.rows"
        # Pruning holds this lock too, so it never sees a shard that has no lock or is not in the index yet.
        with locked(self._folder / LOCK):
            file = ShardFile(self._folder / SHARDS / name)
            try:
                return self._index.add_shard(self._namespace, name), file
            except StoreError:
                file.close()
                raise
