"""Which items are for training and which are the sealed test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from headstart._fingerprint import fingerprint
from headstart.data._units import Units, hold_out, units_of
from headstart.data.dataset import Dataset, Items
from headstart.errors import DataError, OptionError


class SealedTest:
    """Test items whose targets are seen only by those who open it, and the openings are counted.

    Attributes:
        items: The items, without their targets.
        classes: The class names that targets point to.
        groups: What each item belongs with, or None.
        fingerprint: The identity of contents and targets; it tells nothing about either.
        openings: How often `open` was called on this object.
    """

    __slots__ = ("__targets", "classes", "fingerprint", "groups", "items", "openings")

    def __init__(self, dataset: Dataset) -> None:
        self.items: Items = dataset.items
        self.classes = dataset.classes
        self.groups = dataset.groups
        self.openings = 0
        self.__targets = dataset.targets.copy()
        names = (dataset.classes[target] for target in dataset.targets)
        self.fingerprint = fingerprint(sorted(zip(dataset.items.keys, names, strict=True)))

    @property
    def n(self) -> int:
        """How many items it has."""
        return len(self.items)

    def open(self) -> Int[np.ndarray, " items"]:
        """The targets; this is counted."""
        self.openings += 1
        return self.__targets.copy()

    def __repr__(self) -> str:
        return f"SealedTest(n={self.n}, openings={self.openings})"


@dataclass(frozen=True)
class Split:
    """Training items with their targets, and the sealed test.

    Attributes:
        train: What everything is chosen and learned from.
        test: What is opened once, at the end.
        how: How the sides came about, one sentence.
    """

    train: Dataset
    test: SealedTest
    how: str


def split(dataset: Dataset, *, fraction: float = 0.2, seed: int = 0) -> Split:
    """The user's own split if there is one, else a stratified hold-out.

    A hold-out never separates items of equal content or of one group; a class of two separable units or more is on
    both sides, where groups allow it, and a class of one unit stays in training. The same seed gives the same sides,
    in whatever order the items come, and a few items more or less hardly move the others.

    Args:
        dataset: Identified items with targets.
        fraction: The share of items to hold out, above 0 and below 1; it is not used when the dataset has sides.
        seed: 0 or greater.

    Raises:
        OptionError: If the fraction is not between 0 and 1.
        DataError: If one side would be empty, training would have one class, or the items have no content keys.
    """
    if not 0 < fraction < 1:
        raise OptionError(
            f"the test fraction must be above 0 and below 1, but got {fraction}", hint="0.2 holds out one item in five."
        )
    if dataset.sides is not None:
        is_test = dataset.on_test
        how = "The sides are the user's own."
    else:
        units = units_of(dataset, seed=seed, purpose="split")
        parts = np.array(hold_out(units, fraction, pinned=_only_ones(units)))
        is_test = parts[units.of_items] == 1
        how = _describe(dataset, is_test, seed)
    _check(dataset, is_test)
    whole = replace(dataset, sides=None)
    return Split(whole.take(np.flatnonzero(~is_test)), SealedTest(whole.take(np.flatnonzero(is_test))), how)


def _only_ones(units: Units) -> frozenset[int]:
    """The units that hold all there is of some class."""
    per_class = units.per_class()
    return frozenset(unit for unit, counts in enumerate(units.counts) if any(per_class[label] == 1 for label in counts))


def _describe(dataset: Dataset, is_test: np.ndarray, seed: int) -> str:
    kept = "copies and groups" if dataset.groups is not None else "copies"
    return (
        f"{int(is_test.sum())} of {len(dataset)} items ({is_test.mean():.0%}) were held out at random, "
        f"stratified by class, with {kept} kept together (seed {seed})."
    )


def _check(dataset: Dataset, is_test: np.ndarray) -> None:
    if not is_test.any():
        reason = (
            "every class lies in one group or has only copies of one item"
            if dataset.sides is None
            else "no item is on the test side"
        )
        raise DataError(
            f"no test side can be made: {reason}", hint="Give more items or groups, or your own test items."
        )
    if is_test.all():
        raise DataError("no item is on the training side", hint="Give training items beside the test items.")
    trained = np.unique(dataset.targets[~is_test])
    if len(trained) < 2:
        raise DataError(
            "training needs at least two classes, but all training items have the label "
            f"{dataset.classes[trained[0]]!r}",
            hint="Check the labels and the sides.",
        )
