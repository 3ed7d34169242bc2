"""What the store tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

__all__ = ["NamespaceInfo", "PruneResult", "StoreInfo"]


@dataclass(frozen=True, slots=True)
class NamespaceInfo:
    """What the store holds of one namespace.

    Attributes:
        id: `Namespace.id`.
        backbone: What people call the backbone.
        view: `plain`, or the name of an augmented view.
        dtype: `bfloat16` or `float32`.
        layers: The names of the layers, in the order in which they lie side by side.
        n_rows: How many items have features.
        n_bytes: What these features take.
        used: When they were last written or read, within ten minutes.
    """

    id: str
    backbone: str
    view: str
    dtype: str
    layers: tuple[str, ...]
    n_rows: int
    n_bytes: int
    used: datetime


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What the store holds.

    Attributes:
        folder: Where it is.
        n_bytes: What the shards take on the disk.
        index_bytes: What the index takes beside them.
        max_bytes: What the shards may take after the store is closed.
        namespaces: The namespaces, the one that was used last first.
    """

    folder: Path
    n_bytes: int
    index_bytes: int
    max_bytes: int
    namespaces: tuple[NamespaceInfo, ...]


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What pruning did.

    Attributes:
        n_rows: Rows that are no longer there.
        freed_bytes: How much smaller the shards are.
        n_bytes: What the shards take now.
    """

    n_rows: int
    freed_bytes: int
    n_bytes: int
