"""What comes in is checked here, once; what is behind the door trusts it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.errors import DataError, OptionError

_WEAKEST, _STRONGEST = 1e-12, 1e12


@dataclass(frozen=True, eq=False)
class Prepared:
    """Items as the solvers want them.

    Attributes:
        features: The features, centred and divided by `scale`, so that the mean squared length of a row is 1.
        targets: The class of each item.
        n_classes: The number of classes.
        mean: What was subtracted from the features.
        scale: What they were divided by.
    """

    features: Float[np.ndarray, "items width"]
    targets: Int[np.ndarray, " items"]
    n_classes: int
    mean: Float[np.ndarray, " width"]
    scale: float

    def penalty(self, l2: float) -> float:
        """The strength on the prepared features that equals `l2` on the given ones.

        With two classes the two rows of weights are opposite, and ‖w₁ − w₀‖² is twice the sum of their squares.
        """
        strength = l2 / self.scale / self.scale * (2 if self.n_classes == 2 else 1)
        # Beyond these, rows of length 1 get no weights at all, or the penalty is lost in rounding.
        return min(max(strength, _WEAKEST), _STRONGEST)


def prepare(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    *,
    n_classes: int,
    overwrite: bool = False,
) -> Prepared:
    """Check features and targets, and bring the features to a common size.

    Args:
        features: One row for each item.
        targets: The class of each item.
        n_classes: The number of classes.
        overwrite: Whether float32 features may be written over, which saves a copy of them.

    Raises:
        DataError: If there are no items, features are not finite, or a target is no class.
        OptionError: If the shapes do not fit, or there are fewer than two classes.
    """
    check_features(features)
    if n_classes < 2:
        raise OptionError(f"a head needs 2 classes or more, but got n_classes={n_classes}")
    if targets.shape != (len(features),):
        raise OptionError(
            f"there must be one target for each row of features, but {targets.shape} does not fit {features.shape}"
        )
    if targets.min() < 0 or targets.max() >= n_classes:
        wrong = targets[(targets < 0) | (targets >= n_classes)][0]
        raise DataError(f"a target must be from 0 to {n_classes - 1}, but one is {wrong}")
    mean = features.mean(axis=0, dtype=np.float64)
    # In one step and in float32: every copy of this table counts among the largest of a whole run.
    out = features if overwrite and features.dtype == np.float32 else None
    centred = np.subtract(features, mean, out=out, dtype=np.float32, casting="same_kind")
    # Divided by the largest value first, because squares of huge numbers would overflow.
    largest = float(max(centred.max(), -centred.min()))
    scale = 1.0
    if largest > 0:
        centred /= largest
        length = math.sqrt(float(np.vdot(centred, centred)) / len(centred))
        centred /= length
        scale = largest * length
    return Prepared(centred, targets, n_classes, mean, scale)


def check_features(features: Float[np.ndarray, "items width"]) -> None:
    """Refuse features that are no table, empty, or not finite.

    Args:
        features: One row for each item.

    Raises:
        DataError: If there are no items, or features are not finite.
        OptionError: If they are not a table of items × width.
    """
    if features.ndim != 2:
        raise OptionError(f"features must be a table of items × width, but their shape is {features.shape}")
    if features.size == 0:
        raise DataError(f"features must have a row and a column at least, but their shape is {features.shape}")
    finite = np.isfinite(features)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise DataError(
            f"features must be finite numbers, but row {row} has {features[row, column]} in column {column}",
            hint="Leave this item out, or compute its features again in float32.",
        )


def check_folds(folds: Int[np.ndarray, " items"], n_items: int) -> Int[np.ndarray, " folds"]:
    """The folds' names in ascending order.

    Args:
        folds: The fold of each item.
        n_items: How many items there are.

    Raises:
        OptionError: If there is not one fold for each item, or all items are in one.
    """
    if folds.shape != (n_items,):
        raise OptionError(f"there must be one fold for each of the {n_items} items, but the shape is {folds.shape}")
    names = np.unique(folds)
    if len(names) < 2:
        raise OptionError(f"cross-validation needs 2 folds or more, but all items are in fold {names[0]}")
    return names


def check_l2(l2: float) -> float:
    """The strength, if it is one.

    Args:
        l2: The strength of the penalty.

    Raises:
        OptionError: If it is not a positive number.
    """
    if not (math.isfinite(l2) and l2 > 0):
        raise OptionError(f"the strength l2 must be a positive number, but got {l2!r}")
    return float(l2)


def check_weights(weights: Float[np.ndarray, " items"] | None, n_items: int) -> Float[np.ndarray, " items"]:
    """The weights in float64; ones, if there are none.

    Args:
        weights: How often each item counts.
        n_items: How many items there are.

    Raises:
        OptionError: If there is not one for each item, one is negative or not finite, or all are 0.
    """
    if weights is None:
        return np.ones(n_items)
    if weights.shape != (n_items,):
        raise OptionError(f"there must be one weight for each of the {n_items} items, but the shape is {weights.shape}")
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0:
        raise OptionError(
            f"weights must be 0 or greater and not all 0, but they go from {weights.min()} to {weights.max()}"
        )
    return weights.astype(np.float64)


def check_masks(masks: Bool[np.ndarray, "subsets items"], n_items: int) -> None:
    """Refuse masks that do not fit the items, or choose none of them.

    Args:
        masks: For each subset, which items are in it.
        n_items: How many items there are.

    Raises:
        OptionError: If they are not truth values for each subset and item, or a subset is empty.
    """
    if masks.dtype != np.bool_ or masks.ndim != 2 or masks.shape[1] != n_items:
        raise OptionError(
            f"masks must be truth values, subsets × {n_items} items, but got {masks.dtype} of shape {masks.shape}"
        )
    empty = np.flatnonzero(~masks.any(axis=1))
    if len(empty):
        raise OptionError(f"a subset must have an item at least, but subset {empty[0]} has none")
