"""The folder of a run's trainings: found again after a kill, one run's alone, and removed when nobody comes back."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from headstart.errors import OptionError, OutputError
from headstart.recipes.trainings import WEEK_S, sweep, training_folder


def _ended(home: Path, identity: object, error: BaseException) -> Path:
    """A run that has kept a state, and ends so."""
    with contextlib.suppress(type(error)), training_folder(home, identity) as trainings:
        (trainings.folder / "state.training").write_bytes(b"12345")
        raise error
    return trainings.folder


def test_a_run_that_was_killed_finds_its_folder_again_and_leaves_nothing(tmp_path: Path) -> None:
    folder = _ended(tmp_path, ["data", 1], KeyboardInterrupt())
    with training_folder(tmp_path, ["data", 2]) as other:
        assert other.folder != folder
    with training_folder(tmp_path, ["data", 1]) as again:
        assert again.folder == folder
        assert (folder / "state.training").read_bytes() == b"12345"
    assert list((tmp_path / "trainings").iterdir()) == []


def test_what_the_same_run_is_to_go_on_from_stays(tmp_path: Path) -> None:
    with training_folder(tmp_path, "same") as trainings:
        (trainings.folder / "state.training").touch()
        trainings.keep = True
    assert (trainings.folder / "state.training").exists()
    with training_folder(tmp_path, "same") as again:
        assert again.folder == trainings.folder
    assert not trainings.folder.exists()


def test_two_runs_at_once_never_share_a_folder(tmp_path: Path) -> None:
    with training_folder(tmp_path, "same") as first, training_folder(tmp_path, "same") as second:
        assert first.folder != second.folder
        (first.folder / "a").touch()
    assert list((tmp_path / "trainings").iterdir()) == []


def test_what_cannot_be_done_leaves_nothing_and_a_full_disk_all(tmp_path: Path) -> None:
    assert not _ended(tmp_path, "wrong", OptionError("no", hint="no")).exists()
    assert (_ended(tmp_path, "full", OutputError("no space", hint="Make room.")) / "state.training").exists()


def _left(tmp_path: Path, name: str, *, idle_s: float) -> Path:
    folder = _ended(tmp_path, name, KeyboardInterrupt())
    for path in (*folder.iterdir(), folder):
        os.utime(path, (time.time() - idle_s, time.time() - idle_s))
    return folder


def test_only_what_was_left_long_ago_is_swept_away(tmp_path: Path) -> None:
    old, new = (_left(tmp_path, name, idle_s=idle_s) for name, idle_s in (("old", WEEK_S + 60), ("new", 60.0)))
    assert sweep(tmp_path, idle_s=WEEK_S) >= 5
    assert not old.exists()
    assert (new / "state.training").read_bytes() == b"12345"
    assert sweep(tmp_path / "nowhere", idle_s=0) == 0


def test_a_training_that_runs_is_never_swept_away(tmp_path: Path) -> None:
    _left(tmp_path, "same", idle_s=WEEK_S + 60)
    with training_folder(tmp_path, "same") as trainings:
        for path in (*trainings.folder.iterdir(), trainings.folder):
            os.utime(path, (0, 0))
        assert sweep(tmp_path, idle_s=WEEK_S) == 0
        assert (trainings.folder / "state.training").exists()
