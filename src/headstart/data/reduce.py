"""Datasets in another order or with fewer items: what to compute first, and what is left when some cannot be used."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from headstart._randomness import generator
from headstart.data.dataset import Dataset, LeftOut
from headstart.errors import DataError

_ALTERNATING = 300  # items of each side: an accuracy of 0.9 then has an interval of 7 points
_TRAINING_A_TEST = 4


def tell_apart(dataset: Dataset) -> Dataset:
    """The same items under names of which each occurs once.

    Rows of two tables may share a name, and so may rows that repeat a path: those on the test side are then called
    `test NAME`, and what still repeats is numbered in its order.

    Args:
        dataset: Items with targets.
    """
    names = dataset.items.names
    often = {name for name, count in Counter(names).items() if count > 1}
    if not often:
        return dataset
    sides = dataset.sides or ("train",) * len(names)
    sided = [
        f"test {name}" if name in often and side == "test" else name for name, side in zip(names, sides, strict=True)
    ]
    others, distinct = set(sided), dict[str, None]()
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))
    for name in sided:
        own = name
        while own in distinct or (own != name and own in others):
            own = f"{name} ({next(numbers[name])})"
        distinct[own] = None
    return replace(dataset, items=replace(dataset.items, names=tuple(distinct)))


def spread_out(dataset: Dataset, *, seed: int) -> Dataset:
    """The same items in an order of which every beginning is a stratified sample of each side.

    Where the user has made a split, training and test items alternate at first. Once a beginning has enough of both to
    say something, more is gained from learning than from a narrower interval: then a test item comes after each four of
    training, until one side is done.

    Args:
        dataset: Identified items.
        seed: 0 or greater.
    """
    by_key = sorted(range(len(dataset)), key=lambda row: (dataset.items.keys[row], dataset.items.names[row]))
    draws = np.empty(len(dataset))
    draws[by_key] = generator(seed, "order").random(len(dataset))
    sides = np.array(dataset.sides or ("train",) * len(dataset))
    place = np.empty(len(dataset))
    for side in np.unique(sides):
        of_side = np.flatnonzero(sides == side)
        within = np.empty(len(of_side))
        for target in np.unique(dataset.targets[of_side]):
            rows = np.flatnonzero(dataset.targets[of_side] == target)
            ranks = np.argsort(np.argsort(draws[of_side[rows]]))
            within[rows] = (ranks + draws[of_side[rows]]) / len(rows)
        rank = np.argsort(np.argsort(within))
        later = np.maximum(0, rank - _ALTERNATING)
        place[of_side] = rank + (_TRAINING_A_TEST - 1) * later if side == "test" else rank
    return dataset.take(np.argsort(place, kind="stable"))


def known_first(dataset: Dataset) -> Dataset:
    """The same dataset with its classes in another order: those that the training side has, then the others.

    Args:
        dataset: Items with targets; without sides every class is known.
    """
    if dataset.sides is None:
        return dataset
    training = np.array([side == "train" for side in dataset.sides])
    known = np.isin(np.arange(len(dataset.classes)), dataset.targets[training])
    order = [*np.flatnonzero(known), *np.flatnonzero(~known)]
    place = np.argsort(order)
    return replace(dataset, classes=tuple(dataset.classes[target] for target in order), targets=place[dataset.targets])


def trainable(dataset: Dataset) -> Dataset:
    """Training items without the classes that none of them has, which must be the last ones (see `known_first`).

    Args:
        dataset: The training side.
    """
    return replace(dataset, classes=dataset.classes[: int(dataset.targets.max()) + 1])


def leave_out(dataset: Dataset, reasons: Mapping[int, str]) -> Dataset:
    """The dataset without some items, which are listed in `left_out`; classes without any item go too.

    Args:
        dataset: Items with targets.
        reasons: Why, by the position of the item.

    Raises:
        DataError: If fewer than two classes are left.
    """
    rows = np.array([row for row in range(len(dataset)) if row not in reasons], dtype=np.int64)
    lost = tuple(LeftOut(dataset.items.names[row], reasons[row]) for row in sorted(reasons))
    present = np.unique(dataset.targets[rows])
    if len(present) < 2:
        why = "; ".join(f"{each.name}: {each.reason}" for each in (*lost, *dataset.left_out)[:3])
        raise DataError(
            "items of at least two classes are needed, but "
            f"the {len(rows)} items that can be used have {len(present)} ({why})",
            hint="Mend or replace the items that cannot be used.",
        )
    fewer = replace(dataset.take(rows), left_out=(*dataset.left_out, *lost))
    return replace(
        fewer,
        targets=_renumbered(fewer.targets, present),
        classes=tuple(dataset.classes[target] for target in present),
    )


def _renumbered(targets: Int[np.ndarray, " items"], present: Int[np.ndarray, " classes"]) -> Int[np.ndarray, " items"]:
    return np.asarray(np.searchsorted(present, targets), dtype=np.int64)
