"""Kill, cut short, fill the disk, corrupt: nothing that was kept is lost, nothing wrong is read, one clear sentence."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import StoreError
from headstart.features import _database, _prune
from headstart.features._index import Index
from headstart.features._shards import ShardFile
from headstart.features.store import Store
from headstart.testing.stores import batch, namespace

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and resource limits are those of POSIX")

ROWS = 8
WIDTH = 64
SPACE = namespace(width=WIDTH)
ROW_BYTES = WIDTH * 4

PRELUDE = """
import os, resource, signal, sys
from pathlib import Path
from headstart.errors import StoreError
from headstart.features._index import Index
from headstart.features.store import Store
from headstart.testing.stores import batch, namespace

home, space = Path(sys.argv[1]), namespace(width=64)
def append(writer, first):
    keys, rows = batch(8, width=64, start=first)
    writer.append(keys, rows)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def finish(script: str, *arguments: object) -> str:
    process = start(script, *arguments)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return printed


def fill(home: Path, n_rows: int, *, first: int = 0) -> list[str]:
    keys, rows = batch(n_rows, width=WIDTH, start=first)
    with Store.open(home) as store, store.writer(SPACE) as writer:
        writer.append(keys, rows)
    return keys


def visible(home: Path, n_rows: int, *, first: int = 0) -> np.ndarray:
    """Which items are there, after checking that those have the rows they were given."""
    keys, rows = batch(n_rows, width=WIDTH, start=first)
    with Store.open(home) as store:
        features, there = store.read(SPACE, keys)
    np.testing.assert_array_equal(features[there], rows[there])
    return there


def the_shard(home: Path) -> Path:
    (path,) = (home / "features" / "shards").iterdir()
    return path


def index_of(home: Path) -> Path:
    return home / "features" / "index.sqlite"


def check_integrity(home: Path) -> None:
    connection = sqlite3.connect(index_of(home))
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


@pytest.mark.parametrize("n_before_kill", [1, 5, 20])
def test_a_killed_writer_loses_at_most_its_last_batch(tmp_path: Path, n_before_kill: int) -> None:
    writing = start(
        """
        with Store.open(home) as store, store.writer(space) as writer:
            for number in range(100_000):
                append(writer, 8 * number)
                print(number, flush=True)
        """,
        tmp_path,
    )
    assert writing.stdout is not None
    for _ in range(n_before_kill):
        writing.stdout.readline()
    writing.kill()
    n_told = n_before_kill + len(writing.stdout.readlines())
    writing.communicate(timeout=60)

    check_integrity(tmp_path)
    there = visible(tmp_path, ROWS * (n_told + 2))
    n_there = int(there.sum())
    # The batch after the last one that was told may have been complete, but not told.
    assert n_there in (ROWS * n_told, ROWS * (n_told + 1))
    assert there[:n_there].all()
    fill(tmp_path, ROWS * (n_told + 2))
    assert visible(tmp_path, ROWS * (n_told + 2)).all()


def test_bytes_of_a_batch_that_was_not_completed_are_harmless_and_pruned(tmp_path: Path) -> None:
    killed = start(
        """
        with Store.open(home) as store, store.writer(space) as writer:
            append(writer, 0)
            Index.add_rows = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
            append(writer, 8)
        """,
        tmp_path,
    )
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert the_shard(tmp_path).stat().st_size == 2 * ROWS * ROW_BYTES

    assert visible(tmp_path, 16).tolist() == [True] * 8 + [False] * 8
    with Store.open(tmp_path) as store:
        result = store.prune()
    assert (result.n_rows, result.freed_bytes) == (0, ROWS * ROW_BYTES)
    assert visible(tmp_path, 16).tolist() == [True] * 8 + [False] * 8


def test_a_shard_whose_writer_was_killed_before_its_first_batch_is_pruned(tmp_path: Path) -> None:
    start(
        """
        Index.add_rows = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
        with Store.open(home) as store, store.writer(space) as writer:
            append(writer, 0)
        """,
        tmp_path,
    ).communicate(timeout=60)
    stray = tmp_path / "features" / "shards" / "stray.rows"
    stray.write_bytes(b"bytes that no index knows")
    with Store.open(tmp_path) as store:
        store.prune()
        assert store.info().namespaces == ()
    assert list(stray.parent.iterdir()) == []


def test_two_processes_write_the_same_items_at_once(tmp_path: Path) -> None:
    script = """
        with Store.open(home) as store, store.writer(space) as writer:
            print("ready", flush=True)
            sys.stdin.readline()
            for number in range(int(sys.argv[2]), int(sys.argv[2]) + 30):
                append(writer, 8 * number)
                keys, rows = batch(8, width=64, start=8 * number)
                features, there = store.read(space, keys)
                assert there.all() and (features == rows).all()
        """
    writers = [start(script, tmp_path, first) for first in (0, 0, 15)]
    for process in writers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in writers:
        process.communicate(timeout=120)
        assert process.returncode == 0
    check_integrity(tmp_path)
    assert visible(tmp_path, ROWS * 45).all()


def test_pruning_spares_the_shard_of_a_living_writer(tmp_path: Path) -> None:
    writing = start(
        """
        with Store.open(home) as store, store.writer(space) as writer:
            append(writer, 0)
            print("half", flush=True)
            sys.stdin.readline()
            append(writer, 8)
        """,
        tmp_path,
    )
    assert writing.stdout is not None
    writing.stdout.readline()
    fill(tmp_path, 8, first=100)
    with Store.open(tmp_path) as store:
        result = store.prune(0)
        assert (result.n_rows, result.n_bytes) == (8, ROWS * ROW_BYTES)
    writing.communicate("go on\n", timeout=60)
    assert visible(tmp_path, 16).all()
    with Store.open(tmp_path) as store:
        assert store.prune(0).n_rows == 16


def test_a_writer_that_ends_while_pruning_looks_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path) as store, store.writer(SPACE) as writer:
        writer.append(*batch(8, width=WIDTH))

        calls = iter(("before", "while"))

        def sizes(folder: Path) -> dict[str, int]:
            if next(calls, "after") == "while":
                writer.append(*batch(8, width=WIDTH, start=8))
                writer.close()
            return real(folder)

        real = _prune._sizes
        monkeypatch.setattr(_prune, "_sizes", sizes)
        assert store.prune().n_rows == 0
    assert visible(tmp_path, 16).all()


def test_a_shard_that_was_cut_short_loses_only_its_end(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    os.truncate(the_shard(tmp_path), 6 * ROW_BYTES + 1)
    assert visible(tmp_path, 10).tolist() == [True] * 6 + [False] * 4
    with Store.open(tmp_path) as store:
        assert store.info().namespaces[0].n_rows == 6
    fill(tmp_path, 10)
    assert visible(tmp_path, 10).all()


def test_a_row_with_a_flipped_bit_is_not_there(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    with the_shard(tmp_path).open("r+b") as file:
        file.seek(3 * ROW_BYTES + 7)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    assert visible(tmp_path, 10).tolist() == [True] * 3 + [False] + [True] * 6
    fill(tmp_path, 10)
    assert visible(tmp_path, 10).all()


def test_a_shard_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    the_shard(tmp_path).unlink()
    assert not visible(tmp_path, 10).any()
    with Store.open(tmp_path) as store:
        store.prune()
        assert store.info().namespaces == ()


def test_a_row_that_was_written_again_meanwhile_is_not_dropped(tmp_path: Path) -> None:
    keys = fill(tmp_path, 4)
    with Store.open(tmp_path) as late:
        places = late._index.places(SPACE, keys)
        the_shard(tmp_path).unlink()
        assert not visible(tmp_path, 4).any()
        fill(tmp_path, 4)
        late._index.drop_rows(places)
    assert visible(tmp_path, 4).all()


@pytest.mark.parametrize("garbage", [b"this is no index" * 300, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_garbage_index_is_set_aside(tmp_path: Path, garbage: bytes) -> None:
    fill(tmp_path, 4)
    index_of(tmp_path).write_bytes(garbage)
    with Store.open(tmp_path) as store:
        (note,) = store.notes
        assert note.startswith("the index of the feature store was damaged: it is now index.sqlite.damaged-")
    (aside,) = index_of(tmp_path).parent.glob("index.sqlite.damaged-*")
    assert aside.read_bytes() == garbage
    assert not visible(tmp_path, 4).any()
    fill(tmp_path, 4)
    assert visible(tmp_path, 4).all()
    with Store.open(tmp_path) as store:
        store.prune()
        assert store.notes == ()
    assert not aside.exists()
    assert len(list((tmp_path / "features" / "shards").iterdir())) == 1


def test_an_index_that_is_damaged_inside_is_set_aside_the_next_time(tmp_path: Path) -> None:
    keys = fill(tmp_path, 500)
    with index_of(tmp_path).open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * (index_of(tmp_path).stat().st_size - 8 * 4096))
    with Store.open(tmp_path) as store:
        with pytest.raises(StoreError, match="is damaged: database disk image is malformed") as caught:
            store.read(SPACE, keys)
        assert caught.value.hint.startswith("Run the command again")
        with Store.open(tmp_path) as healed:
            assert len(healed.notes) == 1
            assert not healed.read(SPACE, keys)[1].any()
            fill(tmp_path, 500)
        fill(tmp_path, 4, first=1000)
    # The store that had the old index open has closed: that must not touch the new index.
    check_integrity(tmp_path)
    assert visible(tmp_path, 500).all()
    assert visible(tmp_path, 4, first=1000).all()


def test_an_index_from_a_newer_version_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    connection = sqlite3.connect(index_of(tmp_path))
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(StoreError, match="must have version 1, but it has 7") as caught:
        Store.open(tmp_path)
    assert caught.value.hint.startswith("Upgrade headstart")


def test_an_index_from_an_older_version_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 4)
    monkeypatch.setattr(_database, "SCHEMA_VERSION", 2)
    with Store.open(tmp_path) as store:
        assert "was outdated: it is now index.sqlite.outdated-" in store.notes[0]
        assert not store.read(SPACE, batch(4)[0])[1].any()


@pytest.mark.parametrize("place", ["a file", "no folder"])
def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" if place == "a file" else Path("/proc/headstart")
    if place == "no folder" and not Path("/proc").is_dir():
        pytest.skip("there is no /proc here")
    with pytest.raises(StoreError, match=r"the feature store at .* cannot be written: ") as caught:
        Store.open(home)
    assert "HEADSTART_HOME" in caught.value.hint


def test_an_index_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    index_of(tmp_path).mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be opened: unable to open database file") as caught:
        Store.open(tmp_path)
    assert "HEADSTART_HOME" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "sentence", "hint"),
    [
        (errno.ENOSPC, "No space left on device", "Make room"),
        (errno.EDQUOT, "Disk quota exceeded", "Make room"),
        (errno.EROFS, "Read-only file system", "Set HEADSTART_HOME"),
    ],
)
def test_a_write_that_fails_keeps_the_batches_before_and_the_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str, hint: str
) -> None:
    def refuse(self: ShardFile, raw: np.ndarray) -> None:
        self._file.write(raw.tobytes()[: ROW_BYTES // 2])
        raise OSError(number, os.strerror(number))

    with Store.open(tmp_path) as store, store.writer(SPACE) as writer:
        writer.append(*batch(4, width=WIDTH))
        with monkeypatch.context() as full:
            full.setattr(ShardFile, "write", refuse)
            with pytest.raises(StoreError, match=f"the feature store at .* cannot be written: {sentence}") as caught:
                writer.append(*batch(4, width=WIDTH, start=4))
        assert caught.value.hint.startswith(hint)
        writer.append(*batch(4, width=WIDTH, start=8))
    assert the_shard(tmp_path).stat().st_size == 8 * ROW_BYTES
    assert visible(tmp_path, 12).tolist() == [True] * 4 + [False] * 4 + [True] * 4


def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path) -> None:
    printed = finish(
        """
        wide = namespace(width=4096)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        with Store.open(home) as store:
            try:
                with store.writer(wide) as writer:
                    for number in range(100):
                        writer.append(*batch(8, width=4096, start=8 * number))
            except StoreError as error:
                print(number, error, sep="|")
        """,
        tmp_path,
    )
    n_batches, sentence = printed.strip().split("|")
    assert sentence.endswith("cannot be written: File too large")
    assert int(n_batches) == 500_000 // (8 * 4096 * 4)
    check_integrity(tmp_path)
    n_kept = 8 * int(n_batches)
    keys, rows = batch(n_kept + 8, width=4096)
    with Store.open(tmp_path) as store:
        features, there = store.read(namespace(width=4096), keys)
    assert there.tolist() == [True] * n_kept + [False] * 8
    np.testing.assert_array_equal(features[:n_kept], rows[:n_kept])
    assert the_shard(tmp_path).stat().st_size == n_kept * 4096 * 4


def test_a_transaction_that_is_interrupted_leaves_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    def interrupted(store: Store) -> None:
        with store._database.transaction() as change:
            change.execute("INSERT INTO openings VALUES ('t', 'interrupted', 0)")
            raise KeyboardInterrupt

    with Store.open(tmp_path) as store:
        with pytest.raises(KeyboardInterrupt):
            interrupted(store)
        assert store.count_opening("t", "run") == 1


def test_a_batch_that_the_index_took_but_did_not_confirm_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsure(self: Index, *arguments: object) -> None:
        real(self, *arguments)
        raise StoreError("the connection was lost")

    real = Index.add_rows
    with Store.open(tmp_path) as store, store.writer(SPACE) as writer:
        with monkeypatch.context() as broken:
            broken.setattr(Index, "add_rows", unsure)
            with pytest.raises(StoreError, match="the connection was lost"):
                writer.append(*batch(8, width=WIDTH))
        writer.append(*batch(8, width=WIDTH, start=8))
    assert visible(tmp_path, 16).tolist() == [False] * 8 + [True] * 8


def test_a_full_disk_under_the_index_is_told_too(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        (n_pages,) = store._database.query("PRAGMA page_count")[0]
        store._database.query(f"PRAGMA max_page_count = {n_pages + 1}")
        with store.writer(SPACE) as writer:
            writer.append(*batch(4, width=WIDTH))
            with pytest.raises(StoreError, match=r"index .* cannot be used: database or disk is full") as caught:
                writer.append(*batch(2000, width=WIDTH, start=4))
            assert "headstart cache prune" in caught.value.hint
            writer.append(*batch(2, width=WIDTH, start=4))
    assert visible(tmp_path, 100).tolist() == [True] * 6 + [False] * 94


def test_an_index_that_is_held_for_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_database, "_BUSY_S", 0.01)
    with Store.open(tmp_path) as one, Store.open(tmp_path) as other, one._database.transaction():
        with pytest.raises(StoreError, match="cannot be used: database is locked") as caught:
            other.count_opening("t", "run")
        assert caught.value.hint.startswith("Another process holds it")


def test_a_shard_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    keys = fill(tmp_path, 4)
    path = the_shard(tmp_path)
    path.unlink()
    path.mkdir()
    with (
        Store.open(tmp_path) as store,
        pytest.raises(StoreError, match=r"the feature store at .* cannot be read: Is a directory") as caught,
    ):
        store.read(SPACE, keys)
    assert "HEADSTART_HOME" in caught.value.hint


def test_features_can_be_read_when_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = fill(tmp_path, 4)
    with Store.open(tmp_path) as store:
        store._database.query("PRAGMA query_only = ON")
        later = time.time() + 3600
        monkeypatch.setattr("time.time", lambda: later)
        os.truncate(the_shard(tmp_path), 3 * ROW_BYTES)
        assert store.read(SPACE, keys)[1].tolist() == [True] * 3 + [False]
        with pytest.raises(StoreError, match="attempt to write a readonly database"):
            store.count_opening("t", "run")


def test_a_bound_that_cannot_be_kept_does_not_fail_the_run(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    with Store.open(tmp_path, max_bytes=0) as store:
        store._database.query("PRAGMA query_only = ON")
    assert visible(tmp_path, 4).all()


def test_pruning_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    fill(tmp_path, 4)
    with Store.open(tmp_path) as store, monkeypatch.context() as readonly:
        readonly.setattr(Path, "unlink", refuse)
        with pytest.raises(StoreError, match="cannot be written: Read-only file system"):
            store.prune(0)
    assert not visible(tmp_path, 4).any()
