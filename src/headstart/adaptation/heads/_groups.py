"""Which problems are solved together, and in which geometry."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from headstart.adaptation.heads._descent import Problems, State, minimise, start
from headstart.adaptation.heads._door import Prepared
from headstart.adaptation.heads._geometry import ByColumns, ByItems, Geometry

_STEPS_EXPECTED = 10
_COLUMNS = 1024
"""That are brought to another precision at a time: the whole table would be among the largest copies of a run."""
_MOST_LOGITS = 2 * 10**7
"""Of one group, so that its dozen of arrays stays below 1 GB."""


@dataclass(frozen=True, eq=False)
class Group:
    """Problems that share a geometry.

    Attributes:
        numbers: Which of all problems these are.
        problems: The problems.
        geometry: Their features.
    """

    numbers: tuple[int, ...]
    problems: Problems
    geometry: Geometry

    def solve(self, penalty: float, *, tolerance: float, state: State | None = None) -> State:
        """The solution for a strength of the penalty.

        Args:
            penalty: The strength on prepared features.
            tolerance: The gain per item, in nats, below which a problem counts as solved.
            state: Where to begin; without weights, if not given.
        """
        begin = start(self.problems, self.geometry) if state is None else state
        return minimise(self.problems, self.geometry, begin, l2=penalty, tolerance=tolerance)

    def everywhere(self, state: State) -> Float[np.ndarray, "problems items classes"]:
        """The logits of all items."""
        logits: np.ndarray = self.geometry.everywhere(state.step.coefficients) + state.bias[:, :, None]
        return logits.transpose(0, 2, 1)


def group(
    items: Prepared, masks: Bool[np.ndarray, "problems items"], dtype: type[np.floating] = np.float32
) -> list[Group]:
    """One problem for each mask, in the geometry that is less work.

    Args:
        items: All items.
        masks: For each problem, which items are trained on.
        dtype: The precision to compute in.
    """
    if _cheaper_by_items(masks, items.features.shape[1], items.n_classes):
        return _by_items(items, masks, dtype)
    return _by_columns(replace(items, features=items.features.astype(dtype, copy=False)), masks)


def _by_items(items: Prepared, masks: Bool[np.ndarray, "problems items"], dtype: type[np.floating]) -> list[Group]:
    gram = _inner_products(items.features, dtype)
    groups = []
    for number, mask in enumerate(masks):
        rows = np.flatnonzero(mask)
        problems = Problems(items.targets[rows], np.ones((1, len(rows)), gram.dtype), items.n_classes)
        groups.append(Group((number,), problems, ByItems(gram, rows)))
    return groups


def _inner_products(
    features: Float[np.ndarray, "items width"], dtype: type[np.floating]
) -> Float[np.ndarray, "items items"]:
    gram = np.zeros((len(features), len(features)), dtype)
    for first in range(0, features.shape[1], _COLUMNS):
        block = features[:, first : first + _COLUMNS].astype(dtype, copy=False)
        gram += block @ block.T
    return gram


def _by_columns(items: Prepared, masks: Bool[np.ndarray, "problems items"]) -> list[Group]:
    gram = items.features.T @ items.features
    together = max(1, _MOST_LOGITS // (items.n_classes * len(items.features)))
    groups = []
    for first in range(0, len(masks), together):
        some = masks[first : first + together]
        geometry = ByColumns(items.features, gram * gram.dtype.type(some.mean()))
        problems = Problems(items.targets, some.astype(gram.dtype), items.n_classes)
        groups.append(Group(tuple(range(first, first + len(some))), problems, geometry))
    return groups


def combined(
    coefficients: Float[np.ndarray, "classes items"], features: Float[np.ndarray, "items width"]
) -> Float[np.ndarray, "classes width"]:
    """The weights that coefficients of items stand for, in their precision.

    Args:
        coefficients: One for each class and item.
        features: Of the items.
    """
    blocks = range(0, features.shape[1], _COLUMNS)
    return np.concatenate(
        [coefficients @ features[:, first : first + _COLUMNS].astype(coefficients.dtype) for first in blocks], axis=1
    )


def _cheaper_by_items(masks: Bool[np.ndarray, "problems items"], width: int, n_classes: int) -> bool:
    """Compare the multiplications for one strength: the Cholesky factors, then the products of about ten steps."""
    n_problems, n_items = masks.shape
    rows = masks.sum(axis=1, dtype=np.float64)
    steps = _STEPS_EXPECTED * n_classes
    by_items = (rows**3 / 6 + steps * rows**2).sum()
    by_columns = width**3 / 6 + steps * n_problems * (2.0 * n_items * width + width**2)
    return bool(by_items <= by_columns)
