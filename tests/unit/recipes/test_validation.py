"""Cross-validation again, as often as is asked for and there is time, and what is said about its folds."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from search.synthetic import features, spec

from headstart.adaptation.strategies import Linear
from headstart.data.dataset import Dataset, Items
from headstart.data.folds import folds as make_folds
from headstart.features.extract import Features
from headstart.features.memory import MemoryStore
from headstart.recipes import validation as module
from headstart.recipes.climb import Climb
from headstart.recipes.options import FitOptions
from headstart.recipes.validation import Validation, repeat, selection_of, without_repeats
from headstart.recipes.workspace import Clock, NoLog
from headstart.search.candidates import Candidate, proposals, try_out
from headstart.search.choice import choose
from recipes.made import COMPUTE, Said

N = 60


def _dataset(targets: np.ndarray, groups: tuple[str, ...] | None = None) -> Dataset:
    names = tuple(f"item {row}" for row in range(len(targets)))
    classes = tuple(f"class {target}" for target in range(int(targets.max()) + 1))
    items = Items("image", names, names, tuple(f"{row:064x}" for row in range(len(targets))))
    return Dataset(items, targets, classes, groups=groups)


def _climb(train: Dataset, first: np.ndarray, *, budget_s: float = 600.0) -> Climb:
    """A climb with two candidates on features of one backbone."""
    backbone = spec("a", layers=(("early", 4), ("last", 6)))
    seen = {"a": features(backbone, train.targets, apart=1.5)}
    store = MemoryStore()
    climb = Climb(train.items, store, store, COMPUTE, Clock(time.monotonic(), budget_s), NoLog(), Said())
    climb.seen.update(seen)
    for proposal in proposals(backbone)[:2]:
        climb.candidates.append(
            try_out(
                proposal,
                seen,
                train.targets,
                first,
                make=Linear,
                n_classes=len(train.classes),
                seed=0,
                groups=train.groups,
            )
        )
    return climb


def _repeat(climb: Climb, train: Dataset, first: np.ndarray, options: FitOptions) -> Validation:
    return repeat(climb, train, without_repeats(train, first, options), options)


def _said(climb: Climb) -> list[str]:
    assert isinstance(climb.progress, Said)
    return climb.progress.messages


def test_every_candidate_has_as_many_repeats_on_the_same_folds_whole_groups_together() -> None:
    groups = tuple(str(row // 3) for row in range(N))
    train = _dataset(np.arange(N) // 3 % 2, groups)
    first = make_folds(train, seed=3)
    climb = _climb(train, first)
    before = list(climb.candidates)
    validation = _repeat(climb, train, first, FitOptions(cv=(3, 5), seed=3))
    assert validation.folds.shape == (3, N)
    assert np.array_equal(validation.folds[0], first)
    assert len({fold.tobytes() for fold in validation.folds}) == 3
    for fold in validation.folds:
        assert all(len(set(fold[row : row + 3])) == 1 for row in range(0, N, 3))
    assert validation.record == module.ValidationRecord(5, 3, 3, ())
    for old, new in zip(before, climb.candidates, strict=True):
        assert isinstance(new, Candidate)
        assert len(new.rounds) == 3
        assert np.array_equal(new.right, old.right)
        assert new.accuracy.value == pytest.approx(new.rounds.mean())
    again = _climb(train, first)
    _repeat(again, train, first, FitOptions(cv=(3, 5), seed=3))
    assert [each.accuracy for each in again.candidates] == [each.accuracy for each in climb.candidates]


def test_one_repeat_changes_nothing() -> None:
    train = _dataset(np.arange(N) % 2)
    first = make_folds(train)
    climb = _climb(train, first)
    before = list(climb.candidates)
    validation = _repeat(climb, train, first, FitOptions())
    assert climb.candidates == before
    assert (validation.record.n_repeats, validation.record.notes, _said(climb)) == (1, (), [])


@pytest.mark.parametrize(("reserved_s", "n_repeats"), [(0.0, 3), (10.0, 2)])
def test_repeats_end_when_the_time_is_up_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, reserved_s: float, n_repeats: int
) -> None:
    train = _dataset(np.arange(N) % 2)
    first = make_folds(train)
    # Of 34 s four are for the report, and some for a last training; a repeat of two candidates takes twelve.
    climb = _climb(train, first, budget_s=34.0)
    climb.reserved_s = reserved_s
    climb.candidates = [replace(each, seconds=6.0) for each in climb.candidates if isinstance(each, Candidate)]

    def again(climb: Climb, candidate: Candidate, *_: Any) -> Candidate:
        climb.clock.started -= 6.0
        return candidate

    monkeypatch.setattr(module, "_again", again)
    record = _repeat(climb, train, first, FitOptions(cv=(10, 5))).record
    assert (record.n_repeats, record.n_wanted) == (n_repeats, 10)
    note = f"The budget allowed {n_repeats} of 10 repeats of the cross-validation: another takes about 12.0 s."
    assert record.notes == (note,)
    assert _said(climb) == [note]


def test_more_folds_than_a_rare_class_has_items_is_no_error_and_is_said() -> None:
    targets = np.array([0] * 40 + [1] * 3 + [2])
    train = _dataset(targets)
    first = make_folds(train, n_folds=10)
    climb = _climb(train, first)
    validation = _repeat(climb, train, first, FitOptions(cv=(2, 10)))
    assert validation.record.n_folds == 10
    assert validation.record.notes == (
        "Some folds hold out no item of 'class 1': fewer of them can be separated than there are folds.",
        "Out-of-fold no model knows 'class 2': all items of it that there are share a fold.",
    )
    assert all(0 < each.accuracy.value < 1 for each in climb.candidates)


def test_fewer_folds_than_asked_for_is_said() -> None:
    train = _dataset(np.arange(8) % 2)
    first = make_folds(train, n_folds=20)
    validation = _repeat(_climb(train, first), train, first, FitOptions(cv=(1, 20)))
    assert validation.record.n_folds == 4
    assert validation.record.notes[0] == (
        "There are 4 folds instead of 20: no class has more items that can be separated."
    )


def test_what_the_choice_adds_is_in_the_record_and_in_words() -> None:
    rng = np.random.default_rng(1)
    train = _dataset(rng.permutation(N) % 2)
    first = make_folds(train)
    climb = _climb(train, first)
    values = rng.normal(size=(N, 10)).astype(np.float32)
    climb.seen["a"] = Features(climb.seen["a"].backbone, values, np.ones(N, dtype=bool))
    luckless = selection_of(
        climb.candidates[:1], climb.candidates[0], train, _repeat(climb, train, first, FitOptions()), seed=0
    )
    assert (luckless.n_candidates, luckless.optimism, luckless.corrected) == (1, 0.0, luckless.apparent)
    assert luckless.sentence.startswith("There was nothing to choose from")
    noise = [replace(climb.candidates[0], right=rng.random(N) < 0.6) for _ in range(10)]
    validation = _repeat(climb, train, first, FitOptions())
    selection = selection_of([*noise], choose(noise).winner, train, validation, seed=0)
    assert selection.n_candidates == 10
    assert selection.optimism == pytest.approx(selection.apparent.value - selection.corrected.value)
    assert selection.optimism > 0
    assert f"{100 * selection.optimism:.1f} points better than it is" in selection.sentence
