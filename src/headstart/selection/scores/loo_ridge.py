"""How well a ridge classifier on the features does on items that it has not seen: exact leave-one-out, without refits.

For ridge regression on centred one-hot targets with a free intercept, let X = U √σ Vᵀ be the centred features. The
leverage of an item is h = Σ u² σ / (σ + λ) + 1/N, and its prediction by the model that was fitted without it is (ŷ −
h·y) / (1 − h), for every λ from one decomposition (Cook and Weisberg, Residuals and Influence in Regression, 1982,
§2.2; Golub, Heath and Wahba, Technometrics 21, 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.errors import OptionError
from headstart.selection.scores.components import Components, decompose

PENALTIES: tuple[float, ...] = tuple(float(f"{10 ** (-1 - half / 2):.3g}") for half in range(10))
"""Penalties per item from strong (0.1) to weak (3e-6), for features whose rows have a mean squared length of 1."""

_LEAST_FREEDOM = 1e-9


@dataclass(frozen=True, eq=False)
class RidgeLoo:
    """Exact leave-one-out results, for each penalty.

    Attributes:
        penalties: The penalties, per item, in the order given.
        scores: At the best penalty, what the model without the item says for each class; the largest is its prediction.
        accuracy: Leave-one-out accuracy from 0 to 1, for each penalty.
        squared_error: Mean squared leave-one-out error, for each penalty; lower is better.
        best: The position of the penalty with the lowest squared error.
    """

    penalties: tuple[float, ...]
    scores: Float[np.ndarray, "items classes"]
    accuracy: tuple[float, ...]
    squared_error: tuple[float, ...]
    best: int


def loo_ridge(
    features: Float[np.ndarray, "items width"] | Components,
    targets: Int[np.ndarray, " items"],
    *,
    n_classes: int,
    penalties: Sequence[float] = PENALTIES,
) -> RidgeLoo:
    """Leave each item out in turn, for every penalty.

    Args:
        features: What the backbone says, or its components. Features are brought to a mean squared length of 1.
        targets: The class of each item.
        n_classes: The number of classes.
        penalties: The penalties per item; λ is such a penalty times the number of items.

    Raises:
        DataError: If there are fewer than two items, or features are not finite.
        OptionError: If there is not one target from 0 to n_classes − 1 for each item, or a penalty is not positive.
    """
    parts = decompose(features)
    basis, squares, n_items = parts.basis, parts.squares, len(parts.basis)
    _check(n_items, targets, n_classes, penalties)
    onehot = np.zeros((n_items, n_classes))
    onehot[np.arange(n_items), targets] = 1.0
    shares = onehot.mean(axis=0)
    projected = basis.T @ (onehot - shares)
    best_scores = onehot
    errors: list[float] = []
    accuracies: list[float] = []
    for penalty in penalties:
        kept = squares / (squares + penalty * n_items)
        fitted = basis @ (kept[:, None] * projected) + shares
        leverage = np.square(basis) @ kept + 1 / n_items
        freedom = np.maximum(1 - leverage, _LEAST_FREEDOM)[:, None]
        scores = onehot - (onehot - fitted) / freedom
        error = float(np.square(scores - onehot).mean())
        if not errors or error < min(errors):
            best_scores = scores
        errors.append(error)
        accuracies.append(float((scores.argmax(axis=1) == targets).mean()))
    return RidgeLoo(tuple(penalties), best_scores, tuple(accuracies), tuple(errors), int(np.argmin(errors)))


def loo_right(
    features: Float[np.ndarray, "items width"] | Components, targets: Int[np.ndarray, " items"]
) -> Bool[np.ndarray, " items"]:
    """For each item, whether the ridge classifier without it predicts its class, at the penalty with the least error.

    Args:
        features: What the backbone says, or its components.
        targets: The class of each item, from 0 on.

    Raises:
        DataError: If there are fewer than two items, or features are not finite.
        OptionError: If there is not one target for each item, or one is negative.
    """
    n_classes = int(targets.max(initial=0)) + 1
    right: np.ndarray = loo_ridge(features, targets, n_classes=n_classes).scores.argmax(axis=1) == targets
    return right


def loo_accuracy(features: Float[np.ndarray, "items width"] | Components, targets: Int[np.ndarray, " items"]) -> float:
    """The share of items that the ridge classifier without them predicts, 0 to 1; higher is better.

    Args:
        features: What the backbone says, or its components.
        targets: The class of each item, from 0 on.

    Raises:
        DataError: If there are fewer than two items, or features are not finite.
        OptionError: If there is not one target for each item, or one is negative.
    """
    return float(loo_right(features, targets).mean())


def _check(n_items: int, targets: np.ndarray, n_classes: int, penalties: Sequence[float]) -> None:
    if targets.shape != (n_items,) or targets.min() < 0 or targets.max() >= n_classes:
        raise OptionError(
            f"there must be one target from 0 to {n_classes - 1} for each of the {n_items} items, "
            f"but their shape is {targets.shape} and they go from {targets.min(initial=0)} to {targets.max(initial=0)}"
        )
    if not penalties or not all(penalty > 0 for penalty in penalties):
        raise OptionError(f"penalties must be positive numbers, but got {list(penalties)}")
