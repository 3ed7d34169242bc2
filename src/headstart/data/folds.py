"""Folds for cross-validation: stratified, with groups and duplicates kept whole."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from headstart.data._units import share_out, units_of
from headstart.data.dataset import Dataset
from headstart.errors import DataError, OptionError


def folds(dataset: Dataset, *, n_folds: int = 5, seed: int = 0, repeat: int = 0) -> Int[np.ndarray, " items"]:
    """The fold of each item, 0 to the number of folds minus one.

    Items of equal content or of one group share a fold. A class of two separable units or more is in two folds at
    least, where groups allow it. There are fewer folds than asked for when no class has as many separable units;
    `max() + 1` is their number. The same seed gives the same folds, in whatever order the items come.

    Args:
        dataset: Identified items with targets.
        n_folds: How many folds, 2 or more.
        seed: 0 or greater.
        repeat: The number of the repeat, from 0; each shares the items out in another way.

    Raises:
        OptionError: If `n_folds` is less than 2.
        DataError: If there are not two units to separate, or the items have no content keys.
    """
    if n_folds < 2:
        raise OptionError(f"n_folds must be 2 or more, but got {n_folds}", hint="5 is usual.")
    units = units_of(dataset, seed=seed, purpose=f"folds {repeat}" if repeat else "folds")
    allowed = min(n_folds, len(units), max(2, *units.per_class().values(), 0))
    if allowed < 2:
        raise DataError(
            "cross-validation needs two items that are neither copies of each other nor of one group, "
            f"but the {len(dataset)} items cannot be separated",
            hint="Check the groups, or give more items.",
        )
    parts = np.array(share_out(units, allowed), dtype=np.int64)
    # A part that no unit went to is no fold.
    used = np.unique(parts)
    fold_of_items: Int[np.ndarray, " items"] = np.searchsorted(used, parts)[units.of_items]
    return fold_of_items


def folds_with(dataset: Dataset, fold: Int[np.ndarray, " items"]) -> dict[str, int]:
    """How many folds hold an item of each class, by the names of those that have items.

    Args:
        dataset: Items with targets.
        fold: The fold of each.
    """
    return {
        dataset.classes[target]: len(np.unique(fold[dataset.targets == target]))
        for target in np.unique(dataset.targets)
    }
