"""Which problems are solved together, and in which geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from headstart.adaptation.heads._descent import Problems, State, minimise, start
from headstart.adaptation.heads._door import Prepared
from headstart.adaptation.heads._geometry import ByColumns, ByItems, Geometry

_STEPS_EXPECTED = 10
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


def group(items: Prepared, masks: Bool[np.ndarray, "problems items"]) -> list[Group]:
    """One problem for each mask, in the geometry that is less work.

    Args:
        items: All items.
        masks: For each problem, which items are trained on.
    """
    if _cheaper_by_items(masks, items.features.shape[1], items.n_classes):
        return _by_items(items, masks)
    return _by_columns(items, masks)


def _by_items(items: Prepared, masks: Bool[np.ndarray, "problems items"]) -> list[Group]:
    gram = items.features @ items.features.T
    groups = []
    for number, mask in enumerate(masks):
        rows = np.flatnonzero(mask)
        problems = Problems(items.targets[rows], np.ones((1, len(rows)), gram.dtype), items.n_classes)
        groups.append(Group((number,), problems, ByItems.of(gram, rows)))
    return groups


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


def _cheaper_by_items(masks: Bool[np.ndarray, "problems items"], width: int, n_classes: int) -> bool:
    """Compare the multiplications for one strength: the Cholesky factors, then the products of about ten steps."""
    n_problems, n_items = masks.shape
    rows = masks.sum(axis=1, dtype=np.float64)
    steps = _STEPS_EXPECTED * n_classes
    by_items = (rows**3 / 6 + steps * rows**2).sum()
    by_columns = width**3 / 6 + steps * n_problems * (2.0 * n_items * width + width**2)
    return bool(by_items <= by_columns)
