"""What every score asks of its features and targets."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from headstart.errors import DataError, OptionError


def check_features(features: np.ndarray) -> None:
    """Refuse what no score is defined on.

    Args:
        features: What the backbone says, one row an item.

    Raises:
        DataError: If there are fewer than two items, no columns, or features are not finite.
    """
    if features.ndim != 2 or len(features) < 2 or features.shape[1] == 0:
        raise DataError(f"scores need a table of 2 items or more, but the features have the shape {features.shape}")
    if not np.isfinite(features).all():
        raise DataError(f"features must be finite numbers, but {int((~np.isfinite(features)).sum())} of them are not")


def check_classes(targets: np.ndarray, n_items: int) -> tuple[Int[np.ndarray, " items"], Int[np.ndarray, " classes"]]:
    """The class of each item, numbered without gaps, and the number of items of each class.

    Args:
        targets: The class of each item, from 0 on; classes without items are passed over.
        n_items: How many items there are.

    Raises:
        DataError: If the classes cannot tell good features from bad: there is only one, or each has a single item.
        OptionError: If there is not one class, 0 or greater, for each item.
    """
    if targets.shape != (n_items,) or not np.issubdtype(targets.dtype, np.integer) or targets.min() < 0:
        raise OptionError(
            f"there must be one class, 0 or greater, for each of the {n_items} items, "
            f"but the targets have the shape {targets.shape} and the type {targets.dtype}"
        )
    _, compact, counts = np.unique(targets, return_inverse=True, return_counts=True)
    if len(counts) == 1:
        raise DataError(f"with one class there is nothing to tell apart, and all {n_items} items are of one class")
    if counts.max() == 1:
        raise DataError(
            f"each of the {n_items} classes has a single item: whatever the features, every way of giving the classes "
            "to the items is the same, so a score of them says nothing",
            hint="Give two items of a class or more.",
        )
    return compact, counts


def check_each_class(counts: Int[np.ndarray, " classes"], needed: int, why: str) -> None:
    """Refuse classes that are too small for a score.

    Args:
        counts: The number of items of each class.
        needed: How many each must have.
        why: What they are needed for, after the word "for".

    Raises:
        DataError: If a class has fewer.
    """
    few = int((counts < needed).sum())
    if few:
        raise DataError(
            f"each class needs {needed} items or more for {why}, but {few} of {len(counts)} have fewer, "
            f"the smallest {int(counts.min())}"
        )
