"""Hold-outs, folds and the seal on the test."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from headstart.data import Dataset, Items, SealedTest, folds, split
from headstart.errors import DataError, OptionError


def make(
    targets: Sequence[int], *, groups: Sequence[str] | None = None, keys: Sequence[str] | None = None, **more: object
) -> Dataset:
    names = tuple(f"item {number}" for number in range(len(targets)))
    items = Items("text", names, names, keys=tuple(keys) if keys is not None else names)
    n_classes = max(targets) + 1
    return Dataset(
        items,
        np.array(targets),
        tuple(f"class {number}" for number in range(n_classes)),
        groups=tuple(groups) if groups is not None else None,
        **more,
    )


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
def test_the_held_out_share_is_right_in_every_class(fraction: float) -> None:
    parts = split(make([0] * 200 + [1] * 100 + [2] * 40), fraction=fraction)
    test = np.bincount(parts.test.open())
    np.testing.assert_allclose(test, np.array([200, 100, 40]) * fraction, atol=0.5)
    assert parts.test.n + len(parts.train) == 340


def test_small_classes_are_on_both_sides_and_single_items_in_training() -> None:
    parts = split(make([0] * 50 + [1] * 2 + [2]), fraction=0.05)
    assert np.bincount(parts.test.open(), minlength=3).tolist()[1:] == [1, 0]


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    dataset = make([0, 1] * 50)
    names = [set(split(dataset, seed=seed).test.items.names) for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_a_few_more_items_hardly_move_the_others() -> None:
    small, large = (set(split(make([0, 1] * n)).test.items.names) for n in (200, 202))
    assert len(small & large) >= 0.9 * len(small)


def test_the_users_own_sides_are_kept() -> None:
    parts = split(make([0, 1, 0, 1], sides=("train", "train", "test", "test")))
    assert (parts.test.items.names, parts.how) == (("item 2", "item 3"), "The sides are the user's own.")
    assert parts.train.sides is None


@pytest.mark.parametrize("seed", range(5))
def test_near_copies_stay_on_one_side_and_in_one_fold(seed: int) -> None:
    copies = tuple(number if number < 20 else number - 20 for number in range(60))
    dataset = make([number % 2 for number in range(60)], copies=copies)
    parts = split(dataset, fraction=0.3, seed=seed)
    number_of = {name: copies[row] for row, name in enumerate(dataset.items.names)}
    test, train = ({number_of[name] for name in items.names} for items in (parts.test.items, parts.train.items))
    assert test
    assert not test & train
    of_fold = folds(dataset, n_folds=4, seed=seed)
    assert all(len({int(of_fold[row]) for row in range(60) if copies[row] == number}) == 1 for number in set(copies))


def test_how_is_a_sentence_with_the_numbers() -> None:
    parts = split(make([0, 1] * 10, groups=[f"g{number}" for number in range(20)]), seed=3)
    assert parts.how == (
        "4 of 20 items (20%) were held out at random, stratified by class, "
        "with copies and groups kept together (seed 3)."
    )


def test_large_groups_do_not_all_go_to_training() -> None:
    groups = [f"g{min(number // 10, 10)}" for number in range(110)]
    sizes = {len(split(make([0, 1] * 55, groups=groups), seed=seed).test.items) for seed in range(5)}
    assert sizes <= {20, 30}


def test_the_seal_hides_the_targets_and_counts_openings() -> None:
    test = SealedTest(make([0, 1, 1]))
    assert (repr(test), test.openings) == ("SealedTest(n=3, openings=0)", 0)
    targets = test.open()
    targets[:] = 7
    assert test.open().tolist() == [0, 1, 1]
    assert test.openings == 2
    assert not hasattr(test, "targets")
    assert not hasattr(test, "__dict__")


def test_the_fingerprint_of_the_test_depends_on_contents_and_targets_only() -> None:
    one = make([0, 1, 1])
    assert SealedTest(one).fingerprint == SealedTest(one.take([2, 0, 1])).fingerprint
    assert SealedTest(one).fingerprint != SealedTest(make([0, 1, 0])).fingerprint


def test_what_cannot_be_split_is_refused() -> None:
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(OptionError, match=f"above 0 and below 1, but got {fraction}"):
            split(make([0, 1]), fraction=fraction)
    with pytest.raises(DataError, match="no test side can be made: every class lies in one group"):
        split(make([0, 1] * 5, groups=["g"] * 10))
    with pytest.raises(DataError, match="no test side can be made: no item is on the test side"):
        split(make([0, 1], sides=("train", "train")))
    with pytest.raises(DataError, match="no item is on the training side"):
        split(make([0, 1], sides=("test", "test")))
    with pytest.raises(DataError, match="at least two classes, but all training items have the label 'class 0'"):
        split(make([0, 1], sides=("train", "test")))
    with pytest.raises(DataError, match="only when their content keys are known") as caught:
        split(make([0, 1], keys=()))
    assert caught.value.hint == "Call identify first."


def test_folds_are_of_one_size_and_stratified() -> None:
    dataset = make([0] * 52 + [1] * 23 + [2] * 5)
    fold = folds(dataset, n_folds=5)
    assert np.ptp(np.bincount(fold)) <= 2
    for label in range(3):
        assert np.ptp(np.bincount(fold[dataset.targets == label], minlength=5)) <= 1


def test_there_are_fewer_folds_when_the_data_has_fewer_units() -> None:
    assert folds(make([0] * 3 + [1] * 2)).max() + 1 == 3
    assert folds(make([0, 1])).max() + 1 == 2
    assert folds(make([0, 1] * 10, groups=["a", "b", "c", "d"] * 5)).max() + 1 == 2


def test_folds_balance_groups_of_different_sizes() -> None:
    sizes = [30, 25, 20, 15, 10, 10, 5, 5]
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    fold = folds(make([0, 1] * 60, groups=groups), n_folds=4)
    assert np.bincount(fold).tolist() == [30, 30, 30, 30]


def test_wrong_numbers_of_folds_are_refused() -> None:
    with pytest.raises(OptionError, match="n_folds must be 2 or more, but got 1"):
        folds(make([0, 1]), n_folds=1)
    with pytest.raises(DataError, match="the 4 items cannot be separated"):
        folds(make([0, 1, 0, 1], groups=["g"] * 4))


def test_fifty_thousand_groups_take_less_than_two_seconds() -> None:
    n_items = 50_000
    dataset = make((np.arange(n_items) % 10).tolist(), groups=[f"g{number}" for number in range(n_items)])
    begin = time.process_time()
    split(dataset)
    assert time.process_time() - begin < 2
