from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from headstart import _records
from headstart._home import default_home
from headstart.errors import OptionError, StoreError
from headstart.features import _reading
from headstart.features.memory import MemoryStore
from headstart.features.store import Store
from headstart.testing.stores import STORE_CHECKS, MakeStore, batch, check_store, namespace

FLOAT32 = 4
WIDTH = 5


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def fill(store: Store, n_rows: int, *, start: int = 0, backbone: str = "tiny", view: str = "plain") -> list[str]:
    keys, rows = batch(n_rows, start=start)
    with store.writer(namespace(backbone=backbone, view=view)) as writer:
        writer.append(keys, rows)
    return keys


def shards(home: Path) -> list[Path]:
    return sorted((home / "features" / "shards").iterdir())


@pytest.fixture(params=["disk", "memory"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    def on_disk() -> AbstractContextManager[Store]:
        return Store.open(tmp_path)

    return on_disk if request.param == "disk" else MemoryStore


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[MakeStore], None], make_store: MakeStore) -> None:
    check(make_store)


def test_check_store_runs_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    import headstart.testing.stores as suite

    named = [name for name in vars(suite) if name.startswith("check_") and name != "check_store"]
    assert check_store(MemoryStore) == len(STORE_CHECKS) == len(named) == 12


def test_the_contract_catches_a_store_that_breaks_it() -> None:
    class Forgetful(MemoryStore):
        def read(self, namespace, keys):
            features, there = super().read(namespace, keys)
            return features, there & False

    with pytest.raises(AssertionError, match="all rows must be there"):
        check_store(Forgetful)


def test_rows_survive_closing(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        fill(store, 4)
    keys, rows = batch(4)
    with Store.open(tmp_path) as store:
        assert store.notes == ()
        np.testing.assert_array_equal(store.read(namespace(), keys)[0], rows)


def test_adding_items_writes_only_the_new_rows(store: Store, tmp_path: Path) -> None:
    fill(store, 4)
    fill(store, 6)
    assert sum(path.stat().st_size for path in shards(tmp_path)) == 6 * WIDTH * FLOAT32


def test_a_writer_without_rows_leaves_no_file(store: Store, tmp_path: Path) -> None:
    with store.writer(namespace()) as writer:
        writer.append([], np.zeros((0, WIDTH), dtype=np.float32))
    assert shards(tmp_path) == []


def test_bfloat16_takes_half_the_room(store: Store, tmp_path: Path) -> None:
    keys, rows = batch(10)
    with store.writer(namespace(dtype="bfloat16")) as writer:
        writer.append(keys, rows)
    assert shards(tmp_path)[0].stat().st_size == 10 * WIDTH * 2


def test_reading_in_small_chunks_from_many_shards_gives_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in range(0, 30, 10):
        fill(store, 10, start=start)
    keys, rows = batch(30)
    order = np.random.default_rng(0).permutation(30)
    monkeypatch.setattr(_reading, "_CHUNK_BYTES", 3 * WIDTH * FLOAT32)
    features, there = store.read(namespace(), [keys[row] for row in order])
    np.testing.assert_array_equal(features, rows[order])
    assert there.all()


def test_a_row_wider_than_a_chunk_can_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reading, "_CHUNK_BYTES", 1)
    assert store.read(namespace(), fill(store, 3))[1].all()


def test_threads_share_a_store(store: Store) -> None:
    failures: list[str] = []

    def work(start: int) -> None:
        for more in range(0, 40, 4):
            keys = fill(store, 4, start=start + more)
            if not np.array_equal(store.read(namespace(), keys)[0], batch(4, start=start + more)[1]):
                failures.append(f"{start} + {more}")

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.read(namespace(), batch(80)[0])[1].all()


def test_rejections_are_forgotten_by_another_pillow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.writer(namespace()) as writer:
        writer.reject(["a"], ["truncated"])
    assert store.rejected(["a"]) == {"a": "truncated"}
    monkeypatch.setattr("headstart.features._ledger._reader", lambda: "headstart 0.1.0, pillow 99")
    assert store.rejected(["a"]) == {}


def test_file_names_that_are_no_text_can_be_remembered(store: Store, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    path.write_bytes(b"content")
    os.utime(path, (1e9, 1e9))
    store.remember({path: "key"})
    assert store.lookup([path]) == {path: "key"}


def test_what_was_found_out_survives_closing(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.remember_speed("tiny", 10.0, device="cpu", dtype="float32")
        store.count_opening("t", "first")
    with Store.open(tmp_path) as store:
        assert store.speed("tiny", device="cpu", dtype="float32") == 10.0
        assert store.count_opening("t", "second") == 2


def test_info_says_what_is_there(store: Store, tmp_path: Path, clock: Clock) -> None:
    fill(store, 4, backbone="old")
    clock.now += 3600
    fill(store, 6, start=4, backbone="old")
    fill(store, 2, backbone="new", view="flipped")
    info = store.info()
    assert info.n_bytes == 12 * WIDTH * FLOAT32
    assert info.folder == tmp_path / "features"
    assert info.index_bytes > 0
    assert info.max_bytes == 20 * 10**9
    assert {(kept.backbone, kept.view, kept.n_rows, kept.n_bytes) for kept in info.namespaces} == {
        ("old", "plain", 10, 200),
        ("new", "flipped", 2, 40),
    }
    assert {kept.used for kept in info.namespaces} == {datetime.fromtimestamp(1e9 + 3600, tz=UTC)}
    assert info.namespaces[0].layers == ("early", "late")
    assert '"n_rows": 10' in _records.to_json(info)


def test_prune_takes_what_was_not_read_for_longest(store: Store, clock: Clock) -> None:
    first = fill(store, 10)
    clock.now += 3600
    second = fill(store, 10, start=10)
    clock.now += 3600
    store.read(namespace(), first[:1])
    result = store.prune(10 * WIDTH * FLOAT32)
    assert (result.n_rows, result.freed_bytes, result.n_bytes) == (10, 200, 200)
    assert store.read(namespace(), first)[1].all()
    assert not store.read(namespace(), second)[1].any()


def test_prune_to_nothing_leaves_nothing_and_the_store_goes_on(store: Store, tmp_path: Path) -> None:
    keys = fill(store, 10)
    store.prune(0)
    assert shards(tmp_path) == []
    assert store.info().namespaces == ()
    assert store.read(namespace(), fill(store, 10))[1].all()
    assert keys == batch(10)[0]


def test_prune_within_the_bound_keeps_all(store: Store) -> None:
    keys = fill(store, 10)
    result = store.prune()
    assert (result.n_rows, result.freed_bytes) == (0, 0)
    assert store.read(namespace(), keys)[1].all()


def test_prune_of_a_backbone_leaves_the_others(store: Store) -> None:
    keys = fill(store, 5, backbone="one", view="one")
    fill(store, 5, backbone="two", view="two")
    assert store.prune(backbone="one").n_rows == 5
    assert not store.read(namespace(view="one"), keys)[1].any()
    assert store.read(namespace(view="two"), keys)[1].all()


def test_prune_of_a_backbone_to_a_size_counts_only_that_backbone(store: Store, clock: Clock) -> None:
    fill(store, 50, backbone="large", view="large")
    for start in (0, 5):
        clock.now += 1
        fill(store, 5, start=start, backbone="small")
    assert store.prune(5 * WIDTH * FLOAT32, backbone="small").n_rows == 5
    assert store.read(namespace(), batch(10)[0])[1].tolist() == [False] * 5 + [True] * 5


def test_prune_makes_the_index_smaller(store: Store, tmp_path: Path) -> None:
    fill(store, 3000)
    before = store.info().index_bytes
    store.prune(0)
    assert store.info().index_bytes < before / 2
    store.close()
    assert (tmp_path / "features" / "index.sqlite").stat().st_size < before / 2


def test_prune_forgets_old_hashes(store: Store, tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    store.remember({path: "key"})
    os.utime(path, (1e8, 1e8))
    store.lookup([path])
    store.remember({path: "key"})
    store.prune()
    assert store.lookup([path]) == {path: "key"}
    clock.now += 91 * 24 * 3600
    store.prune()
    assert store.lookup([path]) == {}


def test_closing_keeps_the_bound(tmp_path: Path, clock: Clock) -> None:
    with Store.open(tmp_path, max_bytes=200) as store:
        for start in (0, 10, 20):
            clock.now += 1
            fill(store, 10, start=start)
        assert store.read(namespace(), batch(30)[0])[1].all()
    with Store.open(tmp_path) as store:
        assert store.read(namespace(), batch(30)[0])[1].tolist() == [False] * 20 + [True] * 10


def test_home_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "elsewhere"))
    assert default_home() == tmp_path / "elsewhere"
    with Store.open() as store:
        assert store.info().folder == tmp_path / "elsewhere" / "features"
    monkeypatch.setenv("HEADSTART_HOME", "~/kept")
    assert default_home() == Path.home() / "kept"
    monkeypatch.delenv("HEADSTART_HOME")
    assert default_home() == Path.home() / ".cache" / "headstart"


def test_a_batch_of_another_shape_is_refused(store: Store) -> None:
    with store.writer(namespace()) as writer, pytest.raises(OptionError) as caught:
        writer.append(["a"], np.zeros((2, 3), dtype=np.float32))
    assert (
        str(caught.value)
        == "a batch must hold one row of 5 numbers for each key, but got an array of shape (2, 3) for 1 keys"
    )
    assert caught.value.hint


@pytest.mark.parametrize(("dtype", "value"), [("float32", np.nan), ("float32", np.inf), ("bfloat16", 3.4e38)])
def test_numbers_that_are_not_finite_are_refused(store: Store, dtype: str, value: float) -> None:
    rows = np.zeros((2, WIDTH), dtype=np.float32)
    rows[1, 2] = value
    with (
        store.writer(namespace(dtype=dtype)) as writer,
        pytest.raises(OptionError, match=f"must be finite numbers in {dtype}, but row 1 of the batch \\('b'\\) is not"),
    ):
        writer.append(["a", "b"], rows)


def test_a_rejection_needs_a_reason(store: Store) -> None:
    with store.writer(namespace()) as writer, pytest.raises(OptionError, match="got 2 keys and 1 reasons"):
        writer.reject(["a", "b"], ["truncated"])


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_must_be_positive(store: Store, speed: float) -> None:
    with pytest.raises(OptionError, match=f"a positive number of items per second, but got {speed}"):
        store.remember_speed("tiny", speed, device="cpu", dtype="float32")


def test_a_negative_size_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="size of the feature store must be 0 or more bytes, but got -1"):
        Store.open(tmp_path, max_bytes=-1)
    with pytest.raises(OptionError, match="can be pruned to 0 or more bytes, but got -1"):
        store.prune(-1)


def test_pruning_an_unknown_backbone_names_the_nearest(store: Store) -> None:
    fill(store, 1, backbone="resnet50")
    with pytest.raises(OptionError, match="has no features of the backbone 'resnet5O'") as caught:
        store.prune(backbone="resnet5O")
    assert caught.value.hint == "Did you mean 'resnet50'?"


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="cannot be used: Cannot operate on a closed database"):
        store.read(namespace(), ["a"])


def test_another_process_must_open_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: -1)
        with pytest.raises(StoreError, match=r"belongs to the process that opened it, \d+, but -1 used it") as caught:
            store.rejected(["a"])
    assert caught.value.hint == "Open the store again in each process."
