"""From strong penalties to weak ones, all folds together, each strength from where the stronger one ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from headstart.adaptation.heads._descent import State
from headstart.adaptation.heads._door import Prepared
from headstart.adaptation.heads._groups import Group

_TURNED_UP = 1.1
"""A path is left when the out-of-fold log loss is this many times the best."""


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

    def best_of(
        self, strengths: Sequence[float], *, weaker: Sequence[float], stronger: Sequence[float]
    ) -> tuple[dict[float, Tried], bool]:
        """These strengths until the log loss turns up, and those beyond an end as long as they are better.

        Args:
            strengths: From strong to weak.
            weaker: What to try when the weakest is the best, from strong to weak.
            stronger: What to try when the strongest is the best, from weak to strong.

        Returns:
            What was tried, and whether it was left because the log loss had turned up.
        """
        tried: dict[float, Tried] = {}
        states: Sequence[State | None] = [None] * len(self.groups)
        turned_up = False
        for l2 in (*strengths, *weaker):
            if l2 in weaker and _best(tried) != min(tried):
                break
            states, tried[l2] = self._at(l2, states)
            turned_up = tried[l2].log_loss > _TURNED_UP * tried[_best(tried)].log_loss
            if turned_up:
                break
        for l2 in stronger:
            if _best(tried) != max(tried):
                break
            tried.update(self.all_of([l2]))
        return tried, turned_up

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


def _best(tried: dict[float, Tried]) -> float:
    return min(tried, key=lambda l2: tried[l2].log_loss)
