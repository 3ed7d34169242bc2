"""Leaving some items to a person: what that does for those that are answered, and what it costs.

Items are passed on by their highest probability, the least confident first. The curve of the accuracy among those that
are answered is the risk–coverage curve (El-Yaniv and Wiener 2010, JMLR 11:1605). Where an error costs 1 and asking a
person c, answering costs 1 − p on average, so it pays where the highest probability is at least 1 − c (Chow 1970, IEEE
Transactions on Information Theory 16:41). That holds for probabilities that mean what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.errors import OptionError
from headstart.evaluation.intervals import Weights, bootstrap, bootstrap_mean, kish_n, share, share_in_groups
from headstart.evaluation.metrics import correct, share_right
from headstart.evaluation.records import Abstention, AnsweredPoint, AskingCost, Estimate

COSTS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Costs of asking a person for which the expected cost is told, where an error costs 1."""
_POINTS = 20


def check_cost(ask: float) -> None:
    """Refuse a cost that leaves nothing to decide.

    Args:
        ask: What asking a person costs, where an error costs 1.

    Raises:
        OptionError: If it is not above 0 and below 1.
    """
    if not 0 < ask < 1:
        raise OptionError(
            f"the cost of asking a person must lie between 0 and 1, the cost of an error, but got {ask:g}",
            hint="Divide it by the cost of an error: write 0.1 where an error costs as much as ten questions.",
        )


def abstains(probabilities: Float[np.ndarray, "items classes"], ask: float) -> Bool[np.ndarray, " items"]:
    """For each item whether a person should look: whether that costs less than the errors to be expected.

    Args:
        probabilities: Calibrated; rows that sum to 1.
        ask: What asking costs, above 0 and below 1; an error costs 1.

    Raises:
        OptionError: If it does not lie between.
    """
    check_cost(ask)
    return np.asarray(probabilities.max(axis=1) < 1 - ask)


def abstention(
    targets: Int[np.ndarray, " items"],
    probabilities: Float[np.ndarray, "items classes"],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Abstention:
    """What passing the least confident items on brings, on items that played no part in the model.

    Args:
        targets: For each item the index of its class; one without a column is never right.
        probabilities: Calibrated; rows that sum to 1.
        seed: Seed of the bootstrap.
        groups: For each item what it belongs with; items of one group need not be independent.

    Raises:
        DataError: If there are no items, a row is not a distribution, or targets or groups do not fit.
    """
    right = correct(targets, probabilities)
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    return Abstention(
        points=_points(right[order], confidence[order], _some(groups, order)),
        area=_area(right[order], confidence[order], seed=seed, groups=_some(groups, order)),
        costs=tuple(_cost(right, abstains(probabilities, ask), ask, seed=seed, groups=groups) for ask in COSTS),
    )


def _points(
    right: Bool[np.ndarray, " items"], confidence: Float[np.ndarray, " items"], groups: Sequence[str] | None
) -> tuple[AnsweredPoint, ...]:
    """The curve at about twenty places, from few answered items to all; the most confident items come first."""
    n, ends = len(right), _ends(confidence)
    wanted = np.ceil(np.linspace(n / _POINTS, n, _POINTS) - 1).astype(np.int64)
    return tuple(
        AnsweredPoint(
            answered=count / n,
            confidence=float(confidence[count - 1]),
            accuracy=share_right(right[:count], groups=None if groups is None else groups[:count]),
        )
        for count in np.unique(ends[wanted] + 1).tolist()
    )


def _area(
    right: Bool[np.ndarray, " items"],
    confidence: Float[np.ndarray, " items"],
    *,
    seed: int,
    groups: Sequence[str] | None,
) -> Estimate:
    """The mean, over items, of the share of errors among those at least as confident.

    It is the AURC of Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206.
    """
    wrong, ends = (~right).astype(np.float32), _ends(confidence)

    def areas(weights: Weights) -> Float[np.ndarray, "draws numbers"]:
        seen, errors = np.cumsum(weights, axis=1), np.cumsum(weights * wrong, axis=1)
        risks = errors[:, ends] / np.maximum(seen[:, ends], 1)
        return np.asarray(((weights * risks).sum(axis=1) / weights.sum(axis=1))[:, None])

    n = len(right)
    value = float(areas(np.ones((1, n), dtype=np.float64))[0, 0])
    variance = float(bootstrap(areas, n, seed=seed, groups=groups).var())
    if groups is None:
        return share(value, variance=variance, n=n, n_most=float(n))
    return share_in_groups(value, variance=variance, groups=groups, n_perfect=kish_n(groups))


def _cost(
    right: Bool[np.ndarray, " items"],
    passed: Bool[np.ndarray, " items"],
    ask: float,
    *,
    seed: int,
    groups: Sequence[str] | None,
) -> AskingCost:
    costs = np.where(passed, ask, np.where(right, 0.0, 1.0))
    expected = bootstrap_mean(costs, seed=seed, groups=groups, bounds=(0.0, 1.0))
    answered = np.flatnonzero(~passed)
    if len(answered) and right[answered].all():
        # No resample holds an error, but that of so many answers none is wrong does not mean that none ever will be.
        unseen = 1 - share_right(right[answered], groups=_some(groups, answered)).low
        expected = replace(expected, high=min(1.0, expected.high + unseen * len(answered) / len(costs)))
    return AskingCost(
        ask=ask,
        answered=share_right(~passed, groups=groups),
        accuracy=share_right(right[answered], groups=_some(groups, answered)) if len(answered) else None,
        expected=expected,
        never=float(1 - right.mean()),
    )


def _ends(confidence: Float[np.ndarray, " items"]) -> Int[np.ndarray, " items"]:
    """For each place the last one of the same confidence: equal ones are never parted."""
    return np.asarray(np.searchsorted(-confidence, -confidence, side="right") - 1)


def _some(groups: Sequence[str] | None, rows: Int[np.ndarray, " rows"]) -> tuple[str, ...] | None:
    return None if groups is None else tuple(groups[row] for row in rows.tolist())
