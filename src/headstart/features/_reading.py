"""The reading side of the store on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from headstart.errors import StoreError
from headstart.features._encoding import bytes_per_row, decode
from headstart.features._index import Index, Place
from headstart.features._places import SHARDS, unreadable
from headstart.features._shards import checksums, read_rows
from headstart.features.namespace import Namespace

_CHUNK_BYTES = 32 * 2**20
"""Bytes to hold in memory beside the result."""


def read_features(
    folder: Path, index: Index, namespace: Namespace, keys: Sequence[str]
) -> tuple[Float[np.ndarray, "rows width"], Bool[np.ndarray, " rows"]]:
    """The features of these items, and which of them are there; rows whose bytes are lost are forgotten.

    Raises:
        StoreError: If the index or a shard cannot be read.
    """
    slots = {key: slot for slot, key in enumerate(dict.fromkeys(keys))}
    features = np.zeros((len(slots), namespace.width), dtype=np.float32)
    there = np.zeros(len(slots), dtype=np.bool_)
    places = index.places(namespace, slots)
    try:
        for chunk in _chunks(places, bytes_per_row(namespace.width, namespace.dtype)):
            rows, sound = _read_chunk(folder, namespace, chunk)
            into = np.array([slots[place.key] for place in chunk])
            features[into[sound]] = rows[sound]
            there[into] = sound
    except OSError as error:
        raise unreadable(folder, error) from error
    lost = [place for place in places if not there[slots[place.key]]]
    # The features are right whether or not the index takes these notes, as on a full disk.
    with suppress(StoreError):
        index.drop_rows(lost)
        index.note_use(places)
    if len(slots) == len(keys):
        return features, there
    order = np.array([slots[key] for key in keys])
    return features[order], there[order]


def _read_chunk(
    folder: Path, namespace: Namespace, places: Sequence[Place]
) -> tuple[Float[np.ndarray, "rows width"], Bool[np.ndarray, " rows"]]:
    """Rows of one shard, and which of them are as they were written."""
    positions = np.array([place.position for place in places])
    row_bytes = bytes_per_row(namespace.width, namespace.dtype)
    raw, complete = read_rows(folder / SHARDS / places[0].name, positions, row_bytes)
    sound = complete & (np.array(checksums(raw)) == [place.crc32 for place in places])
    return decode(raw, namespace.dtype), sound


def _chunks(places: Sequence[Place], row_bytes: int) -> Iterator[Sequence[Place]]:
    """Pieces of one shard each, of at most `_CHUNK_BYTES` or one row."""
    limit = max(1, _CHUNK_BYTES // row_bytes)
    start = 0
    for stop in range(1, len(places) + 1):
        if stop == len(places) or stop - start == limit or places[stop].shard != places[start].shard:
            yield places[start:stop]
            start = stop
