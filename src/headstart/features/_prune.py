"""Making room: what nobody can read goes first, then what was not read for longest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from headstart.features._index import Index, Shard
from headstart.features._locks import is_locked
from headstart.features._places import INDEX, SHARDS
from headstart.features.records import PruneResult


def shard_bytes(folder: Path) -> int:
    """What all shards take on the disk."""
    return sum(_sizes(folder).values())


def prune_shards(folder: Path, index: Index, *, max_bytes: int, backbone: str | None) -> PruneResult:
    """Remove dead bytes, then the shards that were not used for longest, until the bound holds.

    The shard of a living writer stays, and counts. The caller holds the lock of the store, so no writer is born
    meanwhile; readers that come too late find rows not there.

    Args:
        folder: The folder of the store.
        index: Its index.
        max_bytes: What the shards may take.
        backbone: Only remove features of this backbone, and count only these; None means all.
    """
    before = shard_bytes(folder)
    n_rows_before = sum(shard.n_rows for shard in index.shards())
    _remove_dead(folder, index)
    sizes = _sizes(folder)
    shards = [shard for shard in index.shards() if backbone is None or shard.backbone == backbone]
    _forget(folder, index, _doomed(folder, shards, sizes, max_bytes))
    for damaged in folder.glob(f"{INDEX}.*-*"):
        damaged.unlink()
    after = shard_bytes(folder)
    n_rows = sum(shard.n_rows for shard in index.shards())
    # Another process may have written meanwhile.
    return PruneResult(n_rows=max(0, n_rows_before - n_rows), freed_bytes=max(0, before - after), n_bytes=after)


def _remove_dead(folder: Path, index: Index) -> None:
    """Remove what writers left that were killed, and what the index has lost."""
    dead = {name: size for name, size in _sizes(folder).items() if not is_locked(folder / SHARDS / name)}
    # After the locks, because a writer may add rows until it lets its lock go.
    shards = {shard.name: shard for shard in index.shards()}
    for name in dead.keys() - shards.keys():
        _unlink(folder / SHARDS / name)
    for name in dead.keys() & shards.keys():
        end = shards[name].end * shards[name].row_bytes
        if 0 < end < dead[name]:
            with (folder / SHARDS / name).open("r+b") as file:
                file.truncate(end)
    gone = shards.keys() - _sizes(folder).keys()
    empty = {name for name in dead.keys() & shards.keys() if not shards[name].n_rows}
    _forget(folder, index, [shards[name] for name in gone | empty])


def _doomed(folder: Path, shards: Sequence[Shard], sizes: dict[str, int], max_bytes: int) -> list[Shard]:
    doomed = []
    excess = sum(sizes.get(shard.name, 0) for shard in shards) - max_bytes
    for shard in shards:
        if excess > 0 and not is_locked(folder / SHARDS / shard.name):
            doomed.append(shard)
            excess -= sizes.get(shard.name, 0)
    return doomed


def _forget(folder: Path, index: Index, shards: Iterable[Shard]) -> None:
    doomed = list(shards)
    if doomed:
        # The index first: a row must never be visible when its bytes are not there.
        index.forget_shards(shard.id for shard in doomed)
        for shard in doomed:
            _unlink(folder / SHARDS / shard.name)


def _unlink(path: Path) -> None:
    # Where a file that somebody reads cannot be removed (Windows), the next pruning removes it.
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    for path in (folder / SHARDS).glob("*.rows"):
        with suppress(FileNotFoundError):
            sizes[path.name] = path.stat().st_size
    return sizes
