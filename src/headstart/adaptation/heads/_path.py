"""The strengths of the penalty one after the other, all folds together, each from where its neighbour ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from headstart.adaptation.heads._descent import State
from headstart.adaptation.heads._door import Prepared
from headstart.adaptation.heads._groups import Group

_BUMP = 1e-3
"""Nats that a strength may be worse than the best without ending the search: problems are solved to about as much."""


@dataclass(frozen=True, eq=False)
class Tried:
    """One strength.

    Attributes:
        oof_logits: The logits that each item got from the head that had not seen it.
        log_loss: Their mean log loss in nats.
        accuracy: Their accuracy, 0 to 1.
    """

    oof_logits: Float[np.ndarray, "items classes"]
    log_loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Folds:
    """The problems of a cross-validation.

    Attributes:
        items: All items; with several views those of the first view, which alone are judged, then those of the next.
        fold: For each item the number of the problem that holds it out.
        groups: The problems.
        tolerance: The gain per item, in nats, below which a problem counts as solved.
        n_views: Views of each item; together they count as one item.
    """

    items: Prepared
    fold: Int[np.ndarray, " items"]
    groups: list[Group]
    tolerance: float
    n_views: int = 1

    def all_of(self, strengths: Sequence[float]) -> dict[float, Tried]:
        """Every one of these strengths.

        Args:
            strengths: From strong to weak.
        """
        tried: dict[float, Tried] = {}
        states: Sequence[State | None] = [None] * len(self.groups)
        for l2 in strengths:
            states, tried[l2] = self._at(l2, states)
        return tried

    def best_of(self, strengths: Sequence[float], *, begin: float) -> dict[float, Tried]:
        """Downhill from one of these strengths, as the log loss falls: first to weaker ones, else to stronger ones.

        Along them the loss usually has one valley (it need not: Stephenson, Udell and Broderick 2021,
        arXiv:2107.09194), so that of sixteen strengths three to six are tried.

        Args:
            strengths: From strong to weak.
            begin: Which of them to begin with.

        Returns:
            What was tried: where it ends before the last of the strengths, the outermost one is worse than the best.
        """
        first = place = strengths.index(begin)
        start, best = self._at(begin, [None] * len(self.groups))
        tried = {begin: best}
        for step in (1, -1):
            at, states = first, start
            while 0 <= at + step < len(strengths):
                at += step
                states, found = self._at(strengths[at], states)
                tried[strengths[at]] = found
                if found.log_loss < best.log_loss:
                    place, best = at, found
                elif found.log_loss > best.log_loss + _BUMP:
                    break
            if place != first:  # the other way is uphill
                break
        return tried

    def _at(self, l2: float, states: Sequence[State | None]) -> tuple[list[State | None], Tried]:
        """One strength, for each group from its last state."""
        items, n_items = self.items, len(self.fold)
        oof = np.empty((n_items, items.n_classes), dtype=np.float32)
        # Rows that count less than once are the same as a stronger penalty on rows that count once.
        penalty = items.penalty(l2 * self.n_views)
        reached: list[State | None] = []
        for group, state in zip(self.groups, states, strict=True):
            solved = group.solve(penalty, tolerance=self.tolerance, state=state)
            for number, logits in zip(group.numbers, group.everywhere(solved), strict=True):
                held_out = self.fold == number
                oof[held_out] = logits[:n_items][held_out]
            reached.append(solved)
        wide = oof.astype(np.float64)
        targets = items.targets[:n_items]
        own = wide[np.arange(n_items), targets]
        loss = float((logsumexp(wide, axis=1) - own).mean())
        return reached, Tried(oof, loss, float((wide.argmax(axis=1) == targets).mean()))
