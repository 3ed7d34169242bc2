"""The contract of a feature store, as checks that run over any implementation.

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    def test_my_store(check):
        check(MyStore)

Each check opens an empty store, and fails with an AssertionError that says which promise was broken.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float

from headstart._fingerprint import sha256_bytes
from headstart._randomness import generator
from headstart.data.identify import KnownHashes
from headstart.errors import OptionError
from headstart.features.namespace import Dtype, Namespace
from headstart.features.protocol import FeatureStore, KnownSpeeds

__all__ = ["STORE_CHECKS", "FullStore", "MakeStore", "batch", "check_store", "namespace"]


class FullStore(FeatureStore, KnownHashes, KnownSpeeds, Protocol):
    """All that a run asks of the place where it keeps things."""

    def count_opening(self, test_fingerprint: str, run_name: str) -> int:
        """Note that a run looks at sealed test targets; returns how often that happened, this time included."""


MakeStore = Callable[[], AbstractContextManager[FullStore]]
"""Opens an empty store."""


def namespace(*, width: int = 5, dtype: Dtype = "float32", view: str = "plain", backbone: str = "tiny") -> Namespace:
    """A namespace of two layers, at least 2 wide together."""
    layers = (("early", 1), ("late", width - 1))
    return Namespace("0" * 64, {"size": 32, "mean": [0.5, 0.5, 0.5]}, layers, dtype, view, backbone)


def batch(
    n_rows: int, *, width: int = 5, start: int = 0, seed: int = 0
) -> tuple[list[str], Float[np.ndarray, "rows width"]]:
    """Keys and rows of the items `start`, `start + 1`, …; the same item always has the same row."""
    items = range(start, start + n_rows)
    keys = [sha256_bytes(f"item {item}".encode()) for item in items]
    rows = [generator(seed, "row", item).normal(size=width) for item in items]
    return keys, np.asarray(rows, dtype=np.float32).reshape(n_rows, width)


def check_store(make_store: MakeStore) -> int:
    """Run all checks.

    Args:
        make_store: Opens an empty store; it is called once for each check.

    Returns:
        How many checks ran.

    Raises:
        AssertionError: If the store breaks a promise.
    """
    for check in STORE_CHECKS:
        check(make_store)
    return len(STORE_CHECKS)


def check_rows_come_back_in_the_order_asked_for(make_store: MakeStore) -> None:
    """What was appended is read in any order, also twice."""
    keys, rows = batch(7)
    with make_store() as store:
        with store.writer(namespace()) as writer:
            writer.append(keys[:3], rows[:3])
            writer.append(keys[3:], rows[3:])
        order = [6, 0, 3, 3, 1]
        features, there = store.read(namespace(), [keys[row] for row in order])
    _equal(features, rows[order], "rows must come back as they were appended, in the order of the keys")
    _demand(bool(there.all()) and features.dtype == np.float32, "all rows must be there, as float32")


def check_unknown_keys_are_zero_and_not_there(make_store: MakeStore) -> None:
    """Keys that were never appended, and no keys at all, are no error."""
    keys, rows = batch(3)
    with make_store() as store:
        with store.writer(namespace()) as writer:
            writer.append(keys[:1], rows[:1])
        features, there = store.read(namespace(), keys)
        nothing, none = store.read(namespace(), [])
    _equal(there, np.array([True, False, False]), "only the appended row must be there")
    _equal(features[1:], np.zeros((2, 5)), "rows that are not there must be zero")
    _demand(nothing.shape == (0, 5) and none.shape == (0,), "no keys must give no rows of the right width")


def check_a_batch_is_visible_when_append_returns(make_store: MakeStore) -> None:
    """A reader need not wait for the end of the writer."""
    keys, rows = batch(2)
    with make_store() as store, store.writer(namespace()) as writer:
        writer.append(keys, rows)
        _demand(bool(store.read(namespace(), keys)[1].all()), "a batch must be visible as soon as append returns")


def check_the_first_row_of_a_key_stays(make_store: MakeStore) -> None:
    """Keys that are there, or twice in a batch, are ignored."""
    keys, rows = batch(3)
    with make_store() as store:
        with store.writer(namespace()) as writer:
            writer.append(keys[:1], rows[:1])
            writer.append([keys[0], keys[1], keys[1]], rows[::-1])
        features, _ = store.read(namespace(), keys[:2])
    _equal(features, rows[[0, 1]], "a key that is there already must keep its row")


def check_namespaces_do_not_mix(make_store: MakeStore) -> None:
    """Features of one view are not found in another; the backbone's human name does not matter."""
    keys, rows = batch(2)
    with make_store() as store:
        with store.writer(namespace()) as writer:
            writer.append(keys, rows)
        _demand(not store.read(namespace(view="flipped"), keys)[1].any(), "another view must not have the rows")
        _demand(bool(store.read(namespace(backbone="alias"), keys)[1].all()), "another name must have the same rows")


def check_bfloat16_rows_come_back_rounded(make_store: MakeStore) -> None:
    """What is read is what `Namespace.rounded` predicts."""
    keys, rows = batch(4)
    half = namespace(dtype="bfloat16")
    with make_store() as store:
        with store.writer(half) as writer:
            writer.append(keys, rows)
        features, _ = store.read(half, keys)
    _equal(features, half.rounded(rows), "rows must come back as Namespace.rounded gives them")
    _demand(bool((features != rows).any()), "rows in bfloat16 must be rounded")


def check_bad_batches_are_refused_whole(make_store: MakeStore) -> None:
    """A batch of another width or with a NaN leaves nothing behind."""
    keys, rows = batch(3)
    spoilt = rows.copy()
    spoilt[2, 1] = np.nan
    with make_store() as store, store.writer(namespace()) as writer:
        for bad in (rows[:, :4], rows[:2], spoilt):
            try:
                writer.append(keys, bad)
            except OptionError:
                continue
            raise AssertionError("a batch that does not fit must raise OptionError")
        _demand(not store.read(namespace(), keys)[1].any(), "a refused batch must leave nothing behind")
        writer.append(keys, rows)
        _equal(store.read(namespace(), keys)[0], rows, "after a refused batch the writer must go on")


def check_rejections_are_remembered(make_store: MakeStore) -> None:
    """What cannot be decoded is known in every namespace; the last reason counts."""
    with make_store() as store:
        with store.writer(namespace()) as writer:
            writer.reject(["a", "b"], ["truncated", "empty"])
            writer.reject(["b"], ["no image"])
        known = store.rejected(["a", "b", "c"])
    _demand(known == {"a": "truncated", "b": "no image"}, f"rejections must be remembered, but got {known}")


def check_hashes_of_unchanged_files_are_known(make_store: MakeStore) -> None:
    """A hash holds as long as size and modification time do, and only for files that have settled."""
    with tempfile.TemporaryDirectory() as folder, make_store() as store:
        old, young, gone = (Path(folder) / name for name in ("old", "young", "gone"))
        for path in (old, young):
            path.write_bytes(b"content")
        os.utime(old, (1e9, 1e9))
        _demand(store.lookup([old, young, gone]) == {}, "files that were never remembered must not be known")
        store.remember({old: "key of old", young: "key of young", gone: "key of gone"})
        known = store.lookup([old, young, gone])
        _demand(known == {old: "key of old"}, f"only the file that has settled must be known, but got {known}")
        os.utime(old, (1e9, 1e9 + 1))
        _demand(store.lookup([old]) == {}, "a file with another modification time must not be known")


def check_files_that_change_while_they_are_hashed_are_not_known(make_store: MakeStore) -> None:
    """The hash belongs to what was looked up, not to what is there when the hash is remembered."""
    with tempfile.TemporaryDirectory() as folder, make_store() as store:
        path = Path(folder) / "file"
        path.write_bytes(b"before")
        os.utime(path, (1e9, 1e9))
        store.lookup([path])
        path.write_bytes(b"after, and longer")
        os.utime(path, (1e9, 1e9 + 60))
        store.remember({path: "key of before"})
        _demand(store.lookup([path]) == {}, "a file that changed since lookup must not be known")


def check_the_last_speed_counts(make_store: MakeStore) -> None:
    """A speed is known for its backbone, device and dtype alone."""
    with make_store() as store:
        _demand(store.speed("tiny", device="cpu", dtype="float32") is None, "a speed never measured must be None")
        store.remember_speed("tiny", 10.0, device="cpu", dtype="float32")
        store.remember_speed("tiny", 12.5, device="cpu", dtype="float32")
        _demand(store.speed("tiny", device="cpu", dtype="float32") == 12.5, "the last measurement must count")
        _demand(store.speed("tiny", device="cuda", dtype="float32") is None, "another device must not be known")


def check_openings_are_counted_per_test(make_store: MakeStore) -> None:
    """Each look at the same targets counts, whichever run it was."""
    with make_store() as store:
        counts = [store.count_opening(test, run) for test, run in (("t", "a"), ("t", "a"), ("u", "a"), ("t", "b"))]
    _demand(counts == [1, 2, 1, 3], f"openings must be counted per test, but got {counts}")


STORE_CHECKS: tuple[Callable[[MakeStore], None], ...] = (
    check_rows_come_back_in_the_order_asked_for,
    check_unknown_keys_are_zero_and_not_there,
    check_a_batch_is_visible_when_append_returns,
    check_the_first_row_of_a_key_stays,
    check_namespaces_do_not_mix,
    check_bfloat16_rows_come_back_rounded,
    check_bad_batches_are_refused_whole,
    check_rejections_are_remembered,
    check_hashes_of_unchanged_files_are_known,
    check_files_that_change_while_they_are_hashed_are_not_known,
    check_the_last_speed_counts,
    check_openings_are_counted_per_test,
)


def _demand(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(promise)


def _equal(got: np.ndarray, wanted: np.ndarray, promise: str) -> None:
    np.testing.assert_array_equal(got, wanted, err_msg=promise)
