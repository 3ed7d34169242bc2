"""Which row of which shard holds the features of which item."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from headstart.features._database import Database
from headstart.features._encoding import bytes_per_row
from headstart.features.namespace import Namespace
from headstart.features.records import NamespaceInfo

_USED_EVERY_S = 600.0
"""Reading notes the time of use, but not more often than this, because noting is writing."""


class Place(NamedTuple):
    """Where the bytes of a row are, and their checksum."""

    key: str
    shard: int
    name: str
    position: int
    crc32: int
    used: float


class Shard(NamedTuple):
    """What the index knows of one file: `end` is the position after its last row that counts."""

    id: int
    name: str
    backbone: str
    row_bytes: int
    used: float
    n_rows: int
    end: int


class Index:
    """The tables `namespaces`, `shards` and `rows`. The guarantees are those of `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def places(self, namespace: Namespace, keys: Iterable[str]) -> list[Place]:
        """Where the rows of these items are, by shard and position; items without one are left out."""
        rows = self._database.query(
            "SELECT rows.key, rows.shard, shards.name, rows.position, rows.crc32, shards.used"
            " FROM rows JOIN shards ON shards.id = rows.shard"
            " WHERE rows.namespace = (SELECT id FROM namespaces WHERE fingerprint = ?)"
            " AND rows.key IN (SELECT value FROM json_each(?)) ORDER BY rows.shard, rows.position",
            namespace.id,
            json.dumps(list(keys)),
        )
        return [Place(*row) for row in rows]

    def note_use(self, places: Iterable[Place]) -> None:
        """Put the shards of these rows at the end of the queue to be pruned."""
        now = time.time()
        stale = {place.shard for place in places if place.used < now - _USED_EVERY_S}
        if stale:
            with self._database.transaction() as change:
                change.executemany("UPDATE shards SET used = ? WHERE id = ?", [(now, shard) for shard in stale])

    def add_shard(self, namespace: Namespace, name: str) -> int:
        """Make a shard known before its first row; returns its id."""
        row_bytes = bytes_per_row(namespace.width, namespace.dtype)
        layers = json.dumps([layer for layer, _ in namespace.layers])
        with self._database.transaction() as change:
            change.execute(
                "INSERT INTO namespaces (fingerprint, backbone, view, dtype, layers, row_bytes)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET backbone = excluded.backbone",
                (namespace.id, namespace.backbone, namespace.view, namespace.dtype, layers, row_bytes),
            )
            shard = change.execute(
                "INSERT INTO shards (namespace, name, used) SELECT id, ?, ? FROM namespaces WHERE fingerprint = ?",
                (name, time.time(), namespace.id),
            ).lastrowid
        return int(shard or 0)

    def add_rows(self, shard: int, start: int, keys: Sequence[str], crcs: Sequence[int]) -> None:
        """Make rows visible, whose bytes are in the shard from position `start` on."""
        with self._database.transaction() as change:
            change.executemany(
                "INSERT OR IGNORE INTO rows (namespace, key, shard, position, crc32)"
                " SELECT namespace, ?, id, ?, ? FROM shards WHERE id = ?",
                [
                    (key, position, crc, shard)
                    for position, (key, crc) in enumerate(zip(keys, crcs, strict=True), start=start)
                ],
            )

    def drop_rows(self, places: Iterable[Place]) -> None:
        """Forget rows whose bytes are lost, unless they have been written again elsewhere meanwhile."""
        lost = [(place.shard, place.key, place.shard, place.position) for place in places]
        if not lost:
            return
        with self._database.transaction() as change:
            change.executemany(
                "DELETE FROM rows WHERE namespace = (SELECT namespace FROM shards WHERE id = ?)"
                " AND key = ? AND shard = ? AND position = ?",
                lost,
            )

    def shards(self) -> list[Shard]:
        """All shards, the one that was not used for longest first."""
        rows = self._database.query(
            "SELECT shards.id, shards.name, backbone, row_bytes, used, coalesce(n_rows, 0), coalesce(last + 1, 0)"
            " FROM shards JOIN namespaces ON namespaces.id = shards.namespace LEFT JOIN"
            " (SELECT shard, count(*) AS n_rows, max(position) AS last FROM rows GROUP BY shard) AS held"
            " ON held.shard = shards.id ORDER BY used, shards.id"
        )
        return [Shard(*row) for row in rows]

    def forget_shards(self, shards: Iterable[int]) -> None:
        """Forget shards, their rows, and the namespaces of which nothing is left."""
        with self._database.transaction() as change:
            change.executemany("DELETE FROM shards WHERE id = ?", [(shard,) for shard in shards])
            change.execute("DELETE FROM rows WHERE shard NOT IN (SELECT id FROM shards)")
            change.execute("DELETE FROM namespaces WHERE id NOT IN (SELECT namespace FROM shards)")

    def namespaces(self) -> tuple[NamespaceInfo, ...]:
        """All namespaces, the one that was used last first."""
        rows = self._database.query(
            "SELECT fingerprint, backbone, view, dtype, layers, row_bytes,"
            " (SELECT count(*) FROM rows WHERE rows.namespace = namespaces.id), max(used) AS last_used"
            " FROM namespaces JOIN shards ON shards.namespace = namespaces.id"
            " GROUP BY namespaces.id ORDER BY last_used DESC"
        )
        return tuple(
            NamespaceInfo(
                id=identity,
                backbone=backbone,
                view=view,
                dtype=dtype,
                layers=tuple(json.loads(layers)),
                n_rows=n_rows,
                n_bytes=n_rows * row_bytes,
                used=datetime.fromtimestamp(used, tz=UTC),
            )
            for identity, backbone, view, dtype, layers, row_bytes, n_rows, used in rows
        )

    def backbones(self) -> set[str]:
        """The names of all backbones of which there are features."""
        return {name for (name,) in self._database.query("SELECT DISTINCT backbone FROM namespaces")}
