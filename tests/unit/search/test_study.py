"""Trials in a database: what comes next, who has it, and files that cannot be used."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.adaptation.strategies.settings import Setting, Value
from headstart.errors import OptionError, StoreError
from headstart.search.space import Space, space_of
from headstart.search.study import Asked, Study, check_storage, open_study
from headstart.search.trials import GivenUp, Trial
from search.dial import Dial

SPACE = space_of(Dial(()), ())
WORDS: Space = {"kind": Setting("word", choices=("a", "b", "c"))}


def _found(asked: Asked) -> Trial:
    """As good as `x` is near to 0.3, on nine items."""
    x = float(asked.settings["x"])
    losses = (np.abs(x - 0.3) + np.linspace(0.1, 0.2, 9)).astype(np.float32)
    return Trial(asked.number, asked.settings, losses < 0.4, losses.astype(np.float64), 0.5)


def _go_on(study: Study, n: int) -> list[dict[str, Value]]:
    tried = []
    for _ in range(n):
        asked = study.ask()
        assert asked is not None
        tried.append(dict(asked.settings))
        study.complete(asked, _found(asked))
    return tried


def test_what_was_tried_is_within_the_range_of_each_kind_of_setting() -> None:
    with open_study(None, "a", SPACE, seed=0) as study:
        tried = _go_on(study, 15)
    assert all(SPACE[name].allows(value) for each in tried for name, value in each.items())
    assert {type(value) for value in tried[0].values()} == {float, int, str}
    assert len({each["kind"] for each in tried}) == 2


def test_the_same_seed_tries_the_same_and_another_one_does_not(tmp_path: Path) -> None:
    tried = []
    for file, seed in ((None, 3), (tmp_path / "b.db", 3), (None, 4)):
        with open_study(file, "a", SPACE, seed=seed) as study:
            tried.append(_go_on(study, 12))
    assert tried[0] == tried[1]
    assert tried[0] != tried[2]


def test_it_finds_what_is_good_better_than_by_chance() -> None:
    with open_study(None, "a", SPACE, seed=0) as study:
        tried = _go_on(study, 40)
    distance = [abs(float(each["x"]) - 0.3) for each in tried]
    assert np.mean(distance[20:]) < 0.6 * np.mean(distance[:10])


def test_a_few_settings_are_tried_one_after_the_other_and_none_twice() -> None:
    with open_study(None, "a", WORDS, seed=0) as study:
        study.know({"kind": "b"}, 1.0)
        tried = []
        while (asked := study.ask()) is not None:
            tried.append(asked.settings["kind"])
            study.prune(asked, GivenUp(1, 2.0, late=False))
    assert tried == ["a", "c"]


def test_a_trial_of_a_process_that_was_killed_is_tried_again(tmp_path: Path) -> None:
    numbers = []
    for _ in range(2):
        with open_study(tmp_path / "a.db", "a", WORDS, seed=0) as study:
            asked = study.ask()
        assert asked is not None
        assert asked.settings == {"kind": "a"}
        numbers.append(asked.number)
    assert numbers == [0, 1]


def test_what_has_ended_cannot_come_to_nothing() -> None:
    with open_study(None, "a", SPACE, seed=0) as study:
        asked = study.ask()
        assert asked is not None
        study.complete(asked, _found(asked))
        study.fail(asked)
        assert len(study.finished()[0]) == 1


def test_a_search_goes_on_where_it_ended_as_if_it_had_not_ended(tmp_path: Path) -> None:
    file = tmp_path / "some {odd} 100% name.db"
    with open_study(file, "a", SPACE, seed=0) as study:
        study.know({"x": 0.9, "n": 3, "kind": "plain"}, 0.7)
        tried = _go_on(study, 6)
    with open_study(file, "a", SPACE, seed=0) as study:
        study.know({"x": 0.9, "n": 3, "kind": "plain"}, 0.7)
        found, n_pruned = study.finished()
        tried += _go_on(study, 6)
    with open_study(None, "a", SPACE, seed=0) as study:
        study.know({"x": 0.9, "n": 3, "kind": "plain"}, 0.7)
        assert tried == _go_on(study, 12)
    assert ([each.number for each in found], n_pruned) == ([1, 2, 3, 4, 5, 6], 0)


def test_what_was_interrupted_is_tried_next(tmp_path: Path) -> None:
    with open_study(tmp_path / "a.db", "a", SPACE, seed=0) as study:
        tried = []
        for _ in range(2):
            asked = study.ask()
            assert asked is not None
            tried.append((asked.number, dict(asked.settings)))
            study.fail(asked, again=True)
    assert [number for number, _ in tried] == [0, 1]
    assert tried[0][1] == tried[1][1]
    with open_study(None, "a", WORDS, seed=0) as study:
        for _ in range(2):
            asked = study.ask()
            assert asked is not None
            assert asked.settings == {"kind": "a"}
            study.fail(asked, again=True)


def test_what_was_seen_on_the_way_of_the_defaults_is_kept(tmp_path: Path) -> None:
    plain = Trial(-1, {"x": 0.9}, np.ones(3, dtype=bool), np.full(3, 0.5), 1.0)
    seen = replace(plain, looks={2: np.array([0.5, 0.25, 1.0]), 4: np.array([0.5, 0.125, 2.0])})
    for known, expected in ((plain, plain), (seen, seen), (plain, seen)):
        with open_study(tmp_path / "a.db", "a", SPACE, seed=0) as study:
            found = study.looks(known)
        assert {epoch: losses.tolist() for epoch, losses in found.looks.items()} == {
            epoch: losses.tolist() for epoch, losses in expected.looks.items()
        }
        assert found.losses is known.losses


def test_what_was_found_comes_back_as_it_was(tmp_path: Path) -> None:
    with open_study(tmp_path / "a.db", "a", SPACE, seed=0) as study:
        asked = study.ask()
        assert asked is not None
        kept = replace(_found(asked), looks={3: np.array([0.5, 2.0])})
        study.complete(asked, kept)
    with open_study(tmp_path / "a.db", "a", SPACE, seed=0) as study:
        ((found,), _) = study.finished()
    assert (found.number, found.settings, found.seconds) == (kept.number, kept.settings, kept.seconds)
    np.testing.assert_array_equal(found.right, kept.right)
    np.testing.assert_array_equal(found.losses, kept.losses)
    assert {epoch: losses.tolist() for epoch, losses in found.looks.items()} == {3: [0.5, 2.0]}


def test_searches_of_other_names_share_a_file_and_nothing_else(tmp_path: Path) -> None:
    with open_study(tmp_path / "a.db", "a", SPACE, seed=0) as study:
        _go_on(study, 2)
    with open_study(tmp_path / "a.db", "b", SPACE, seed=0) as study:
        assert study.finished() == ([], 0)


def test_what_came_to_nothing_does_not_count_and_what_was_given_up_does() -> None:
    with open_study(None, "a", SPACE, seed=0) as study:
        for end in (study.fail, lambda asked: study.prune(asked, GivenUp(2, 0.9, late=False))):
            asked = study.ask()
            assert asked is not None
            end(asked)
        assert study.finished() == ([], 1)


_WORKER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from search.test_study import SPACE, _go_on
    from headstart.search.study import open_study
    with open_study(Path(sys.argv[1]), "a", SPACE, seed=0) as study:
        _go_on(study, 5)
    """
)


def test_two_processes_share_a_file_that_neither_found(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WORKER, str(tmp_path / "a.db"), str(Path(__file__).parents[1])]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [worker.communicate(timeout=300)[1] for worker in workers]
    assert errors == ["", ""]
    with open_study(tmp_path / "a.db", "a", SPACE, seed=0) as study:
        found, _ = study.finished()
    assert sorted(each.number for each in found) == list(range(10))
    assert len({tuple(each.settings.values()) for each in found}) == 10


def _text(file: Path) -> None:
    file.write_text("my notes, which nobody may lose\n" * 50)


def _other(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE studies (patient TEXT)")


def _from_another_version(file: Path) -> None:
    check_storage(file)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_text, "must be a database of optuna, but '.*' is no SQLite file"),
        (_other, "must be a database of optuna, but '.*' is one of something else"),
        (_from_another_version, "the tables of '.*' are from another version of optuna than "),
        (Path.mkdir, "trials are kept in a file, but '.*' is a folder"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    file = tmp_path / "storage.db"
    make(file)
    before = file.read_bytes() if file.is_file() else b""
    with pytest.raises(OptionError, match=message) as raised:
        check_storage(file)
    assert raised.value.hint
    assert (file.read_bytes() if file.is_file() else b"") == before


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"of a folder that is there, but '.*nowhere' is none"):
        check_storage(tmp_path / "nowhere" / "a.db")


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    check_storage(tmp_path / "new.db")
    with open_study(tmp_path / "new.db", "a", SPACE, seed=0) as study:
        assert study.finished() == ([], 0)


def test_a_storage_that_breaks_on_the_way_is_told_in_one_sentence(tmp_path: Path) -> None:
    with open_study(tmp_path / "a.db", "a", SPACE, seed=0) as study:
        with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
            database.execute("DROP TABLE trials")
        with pytest.raises(StoreError, match=r"^trials can no longer be kept: no such table: trials$"):
            study.ask()


def test_optuna_says_nothing_and_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    level = logging.getLogger("optuna").level
    with open_study(None, "a", SPACE, seed=0) as study:
        _go_on(study, 3)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level == level
