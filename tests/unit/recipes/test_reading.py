"""The data as recipes read it: what it is called, what is said of it, and the order of the items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.features.memory import MemoryStore
from headstart.recipes.options import FitOptions
from headstart.recipes.reading import name_of, read
from recipes.made import Said

TEXTS = [f"text number {row}" for row in range(40)]
LABELS = ["rare" if row < 8 else "frequent" for row in range(40)]


def test_data_is_called_after_its_file_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos.v2").mkdir()
    monkeypatch.chdir(tmp_path / "photos.v2")
    assert name_of(tmp_path / "photos.v2") == name_of(".") == "photos.v2"
    assert name_of("reviews.csv") == "reviews"
    assert name_of(["a", "b"]) == "run"


def _read(seed: int = 0, **options: object) -> tuple[list[str], np.ndarray, Said]:
    progress = Said()
    asked = FitOptions(targets=LABELS, seed=seed, modality="text", **options)  # type: ignore[arg-type]
    dataset = read(TEXTS, asked, MemoryStore(), progress)
    assert all(dataset.items.keys)
    return [str(value) for value in dataset.items.values], dataset.targets, progress


def test_every_beginning_is_a_stratified_sample() -> None:
    values, targets, _ = _read()
    assert sorted(values) == sorted(TEXTS)
    rare = LABELS[TEXTS.index(values[int(np.flatnonzero(targets == targets.max())[0])])]
    share = np.cumsum(targets == (1 if rare == "rare" else 0))
    for n in (10, 20, 30, 40):
        assert abs(share[n - 1] - n * 0.2) <= 1


def test_the_order_is_that_of_the_seed() -> None:
    assert _read(1)[0] == _read(1)[0]
    assert _read(1)[0] != _read(2)[0]


def test_what_was_found_out_is_said_and_an_unused_share_too(tmp_path: Path) -> None:
    for side in ("train", "test"):
        for name in ("a", "b"):
            for number in range(4):
                file = tmp_path / "data" / side / name / f"{number}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{side} {name} {number}")
    progress = Said()
    dataset = read(tmp_path / "data", FitOptions(test="0.3"), MemoryStore(), progress)
    assert dataset.notes[-1] == "the test share 0.3 was not used, because the data has its own test side"
    assert progress.messages == list(dataset.notes)
