"""How often an item's nearest neighbours in the features are of its class: no training, no setting but k."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.errors import DataError, OptionError

_BLOCK_VALUES = 2**22
"""Similarities that are held at once: 16 MB in float32."""
_TIE = 1e-5
"""Similarities that differ by less than this, a few roundings in float32, are a tie."""


def knn_right(
    features: Float[np.ndarray, "items width"], targets: Int[np.ndarray, " items"], *, k: int = 5
) -> Bool[np.ndarray, " items"]:
    """For each item, whether the vote of its k nearest neighbours, itself left out, is for its class.

    Nearness is the cosine of the centred features. Neighbours as near as the k-th vote too, and of classes with equally
    many votes the nearer one wins; so the order of the items does not matter.

    Args:
        features: What the backbone says.
        targets: The class of each item, from 0 on.
        k: How many neighbours vote, 1 or more; all others, if there are fewer.

    Raises:
        DataError: If there are fewer than two items, or features are not finite.
        OptionError: If there is not one target for each item, one is negative, or k is below 1.
    """
    _check(features, targets, k)
    unit = _unit(features)
    n_items = len(unit)
    n_classes = int(targets.max()) + 1
    order = np.argsort(targets, kind="stable")
    unit, sorted_targets = unit[order], targets[order]
    classes, firsts = np.unique(sorted_targets, return_index=True)
    nearest = min(k, n_items - 1)
    predicted = np.empty(n_items, dtype=np.int64)
    rows = max(1, _BLOCK_VALUES // n_items)
    for first in range(0, n_items, rows):
        block = unit[first : first + rows] @ unit.T
        own = np.arange(len(block))
        block[own, first + own] = -np.inf
        reach = np.partition(block, n_items - nearest, axis=1)[:, n_items - nearest, None]
        votes = block >= reach - _TIE
        # Similarities lie between -1 and 1: shrunk below half a vote they only part equal numbers of votes.
        weights = np.where(votes, 1 + block / (4 * n_items), 0.0)
        ballots = np.zeros((len(block), n_classes))
        ballots[:, classes] = np.add.reduceat(weights, firsts, axis=1)
        predicted[first : first + len(block)] = ballots.argmax(axis=1)
    right = np.empty(n_items, dtype=np.bool_)
    right[order] = predicted == sorted_targets
    return right


def knn_accuracy(
    features: Float[np.ndarray, "items width"], targets: Int[np.ndarray, " items"], *, k: int = 5
) -> float:
    """The share of items whose k nearest neighbours vote for their class, 0 to 1; higher is better.

    Args:
        features: What the backbone says.
        targets: The class of each item, from 0 on.
        k: How many neighbours vote, 1 or more.

    Raises:
        DataError: If there are fewer than two items, or features are not finite.
        OptionError: If there is not one target for each item, one is negative, or k is below 1.
    """
    return float(knn_right(features, targets, k=k).mean())


def _unit(features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items width"]:
    centred = features - features.mean(axis=0, dtype=np.float64)
    largest = float(np.abs(centred).max())
    centred /= largest if largest > 0 else 1.0
    lengths = np.sqrt(np.einsum("iw,iw->i", centred, centred))
    unit: np.ndarray = (centred / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    return unit


def _check(features: np.ndarray, targets: np.ndarray, k: int) -> None:
    if len(features) < 2 or features.ndim != 2 or features.shape[1] == 0:
        raise DataError(f"neighbours need a table of 2 items or more, but the features have the shape {features.shape}")
    if not np.isfinite(features).all():
        raise DataError(f"features must be finite numbers, but {int((~np.isfinite(features)).sum())} of them are not")
    if targets.shape != (len(features),) or targets.min() < 0:
        raise OptionError(
            f"there must be one target, 0 or greater, for each of the {len(features)} items, "
            f"but their shape is {targets.shape} and the least is {targets.min(initial=0)}"
        )
    if k < 1:
        raise OptionError(f"the number of neighbours k must be 1 or greater, but got {k}")
