"""What trainings leave behind is found by its data, and removed when nobody comes back."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.data.dataset import Dataset, Items
from headstart.recipes.trainings import HOUR_S, WEEK_S, scratch_of, sweep


def _dataset(*texts: str) -> Dataset:
    return Dataset(Items("text", texts, texts, texts), np.zeros(len(texts), dtype=np.int64), ("x",))


def _left(folder: Path, *, idle_s: float) -> Path:
    folder.mkdir(parents=True)
    (folder / "state.training").write_bytes(b"12345")
    for path in (folder / "state.training", folder):
        os.utime(path, (time.time() - idle_s, time.time() - idle_s))
    return folder


def test_trainings_of_the_same_data_have_the_same_folder(tmp_path: Path) -> None:
    data = _dataset("a", "b")
    assert scratch_of(data, tmp_path) == scratch_of(replace(data, source="elsewhere"), tmp_path)
    assert scratch_of(data, tmp_path) != scratch_of(_dataset("a", "c"), tmp_path)


def test_only_what_was_left_long_ago_is_removed(tmp_path: Path) -> None:
    old = _left(scratch_of(_dataset("old"), tmp_path), idle_s=WEEK_S + 60)
    new = _left(scratch_of(_dataset("new"), tmp_path), idle_s=60)
    assert sweep(tmp_path, idle_s=WEEK_S) >= 5
    assert not old.exists()
    assert (new / "state.training").read_bytes() == b"12345"
    assert sweep(tmp_path, idle_s=HOUR_S) == 0
    assert sweep(tmp_path / "nowhere", idle_s=0) == 0


def test_a_training_that_is_written_to_in_an_old_folder_is_running(tmp_path: Path) -> None:
    folder = _left(scratch_of(_dataset("old"), tmp_path), idle_s=WEEK_S + 60)
    (folder / "state.training").write_bytes(b"new")
    assert sweep(tmp_path, idle_s=WEEK_S) == 0
    assert folder.exists()
