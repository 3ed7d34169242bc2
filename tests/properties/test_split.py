"""What holds for every split and all folds, whatever the data."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data import Dataset, Items, folds, split
from headstart.errors import DataError


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Small datasets with copies (often of another label), and with groups or not."""
    n_items = draw(st.integers(4, 40))
    targets = draw(st.lists(st.integers(0, 3), min_size=n_items, max_size=n_items))
    few = draw(st.integers(3, 60))
    keys = draw(st.lists(st.integers(0, few), min_size=n_items, max_size=n_items))
    groups = draw(st.none() | st.lists(st.integers(0, few), min_size=n_items, max_size=n_items))
    names = tuple(f"item {number}" for number in range(n_items))
    return Dataset(
        Items("text", names, names, tuple(f"k{key}" for key in keys)),
        np.array(targets),
        ("a", "b", "c", "d"),
        groups=tuple(f"g{group}" for group in groups) if groups is not None else None,
    )


def _keep_together(dataset: Dataset, part: np.ndarray) -> None:
    for names in (dataset.items.keys, dataset.groups or ()):
        for name in set(names):
            where = {int(part[item]) for item, other in enumerate(names) if other == name}
            assert len(where) == 1


@settings(max_examples=150, deadline=None)
@given(datasets(), st.floats(0.05, 0.5), st.integers(0, 5), st.randoms(use_true_random=False))
def test_split(dataset: Dataset, fraction: float, seed: int, random: Random) -> None:
    try:
        parts = split(dataset, fraction=fraction, seed=seed)
    except DataError:
        return
    train, test = set(parts.train.items.names), set(parts.test.items.names)
    assert train
    assert test
    assert not train & test
    assert train | test == set(dataset.items.names)
    _keep_together(dataset, np.array([name in test for name in dataset.items.names]))
    order = list(range(len(dataset)))
    random.shuffle(order)
    assert set(split(dataset.take(order), fraction=fraction, seed=seed).test.items.names) == test


@settings(max_examples=150, deadline=None)
@given(datasets(), st.integers(2, 6), st.integers(0, 5), st.randoms(use_true_random=False))
def test_folds(dataset: Dataset, n_folds: int, seed: int, random: Random) -> None:
    try:
        fold = folds(dataset, n_folds=n_folds, seed=seed)
    except DataError:
        return
    n_made = int(fold.max()) + 1
    assert 2 <= n_made <= n_folds
    assert set(fold.tolist()) == set(range(n_made))
    _keep_together(dataset, fold)
    order = list(range(len(dataset)))
    random.shuffle(order)
    np.testing.assert_array_equal(folds(dataset.take(order), n_folds=n_folds, seed=seed), fold[order])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=60), st.floats(0.05, 0.5), st.integers(0, 5))
def test_single_items_of_a_class_are_on_both_sides_and_in_two_folds(
    targets: list[int], fraction: float, seed: int
) -> None:
    names = tuple(f"item {number}" for number in range(len(targets)))
    dataset = Dataset(Items("text", names, names, names), np.array(targets), tuple("abcde"))
    counts = np.bincount(targets, minlength=5)
    if (counts > 1).sum() < 1 or (counts > 0).sum() < 2:
        return
    parts = split(dataset, fraction=fraction, seed=seed)
    n_test = np.bincount(parts.test.open(), minlength=5)
    several = counts > 1
    assert ((n_test >= 1) & (n_test < counts))[several].all()
    assert not n_test[~several].any()
    assert (np.abs(n_test - fraction * counts)[several] <= 1).all()
    fold = folds(dataset, seed=seed)
    for label in np.flatnonzero(several):
        assert len(set(fold[dataset.targets == label].tolist())) >= 2
