"""Prediction sets: as many classes as it takes to hold the true one as often as was asked (split conformal prediction).

What an item is measured by is its score, here 1 − p of its true class (LAC: Sadinle, Lei and Wasserman 2019, JASA
114:223, arXiv:1609.00451). Of n held-out items the ⌈(n + 1)·coverage⌉-th smallest score bounds that of a new item with
at least that probability, whatever the model: the new score is as likely to take any place among the others. Over
draws of the held-out items the coverage then follows Beta(k, n + 1 − k), k being that place (Vovk 2012,
arXiv:1209.2673), and more where scores are equal.

Items of one group, and copies, are not exchangeable with new items; whole units are. So each item weighs 1 over the
size of its unit, and n is the number of units (hierarchical conformal prediction: Lee, Barber and Willett 2023,
arXiv:2306.06342). The promise then is for an item of a new unit, every unit counting the same. Single items are the
case of units of one.

The held-out scores are out-of-fold: each is from a model that did not see the item, though not from the one that is
shipped, which has seen more. So the promise is not exact here: that model tends to be a little better, and the choice
among candidates a little too hopeful.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from headstart.errors import DataError, OptionError
from headstart.evaluation._inputs import check_probabilities
from headstart.evaluation.intervals import bootstrap_mean, kish_n
from headstart.evaluation.metrics import share_right
from headstart.evaluation.records import SetReport

_ROUNDING = 1e-9
"""What products such as (n + 1)·0.07 may be off by."""
_TAIL = 0.025


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The scores of items that a model did not see, from which bounds for new items follow.

    Attributes:
        scores: Ascending; at least one.
        weights: Which part of an independent unit each stands for, above 0 to 1; those of a unit sum to 1.
    """

    scores: Float64[np.ndarray, " items"]
    weights: Float64[np.ndarray, " items"]

    @classmethod
    def of(
        cls, scores: Float[np.ndarray, " items"], units: Sequence[int] | Int[np.ndarray, " items"] | None = None
    ) -> HeldOut:
        """Put scores in order.

        Args:
            scores: One for each item, the higher the stranger.
            units: For each item the number of the unit that it belongs with; each is one of its own, if not given.

        Raises:
            DataError: If there are no scores, one is not finite, or not every item has a unit.
        """
        if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
            raise DataError(
                f"a bound needs a finite score for each of some items, but the scores are {scores.tolist()[:5]}",
                hint="Give the scores of one item at least.",
            )
        if units is not None and len(units) != len(scores):
            raise DataError(
                f"each item needs one unit, but got {len(units)} units for {len(scores)} items",
                hint="Give one number for each item.",
            )
        sizes = Counter(np.asarray(units).tolist()) if units is not None else Counter[int]()
        weights = np.ones(len(scores)) if units is None else np.array([1 / sizes[int(each)] for each in units])
        order = np.argsort(scores, kind="stable")
        return cls(scores[order].astype(np.float64), weights[order])

    @property
    def n_units(self) -> int:
        """How many independent units there are."""
        return round(float(self.weights.sum()))

    def reaches(self, share: float) -> bool:
        """Whether there are units enough to bound so large a share of new items.

        Args:
            share: Above 0 and below 1.
        """
        return self.n_units >= n_needed(share)

    def bound(self, share: float) -> float:
        """The least score that at least this share of new items do not exceed; infinite where no score promises that.

        Args:
            share: Above 0 and below 1.

        Raises:
            OptionError: If it is not.
        """
        check_share(share)
        levels = np.cumsum(self.weights)
        place = int(np.searchsorted(levels, (self.n_units + 1) * share - _ROUNDING))
        return float(self.scores[place]) if place < len(levels) else math.inf

    def band(self, share: float, n_new: int) -> tuple[float, float]:
        """Between which shares of so many new items lie within the bound in 95 of 100 cases.

        The share of all new items follows the Beta distribution; that of `n_new` of them the beta-binomial one. Equal
        scores, and bounds below which a set is never empty, raise it.

        Args:
            share: Above 0 and below 1.
            n_new: How many new, independent items, 1 or more.

        Raises:
            OptionError: If the share is not between 0 and 1.
        """
        from scipy.special import betaln

        check_share(share)
        if not self.reaches(share):
            return 1.0, 1.0
        k = math.ceil((self.n_units + 1) * share - _ROUNDING)
        within, a, b = np.arange(n_new + 1), k, self.n_units + 1 - k
        ways = -np.log(n_new + 1) - betaln(n_new - within + 1, within + 1)
        below = np.cumsum(np.exp(ways + betaln(within + a, n_new - within + b) - betaln(a, b)))
        low, high = np.searchsorted(below, (_TAIL, 1 - _TAIL))
        return int(low) / n_new, min(int(high), n_new) / n_new


def n_needed(share: float) -> int:
    """How many held-out units it takes to bound such a share of new items.

    Args:
        share: Above 0 and below 1.

    Raises:
        OptionError: If it is not.
    """
    check_share(share)
    return math.ceil(share / (1 - share) - _ROUNDING)


def check_share(share: float) -> None:
    """Refuse what is no share.

    Args:
        share: What was asked for.

    Raises:
        OptionError: If it is not above 0 and below 1.
    """
    if not 0 < share < 1:
        hint = f"Write {share / 100:g} for {share:g} %." if 2 <= share < 100 else "Write for example 0.9."
        raise OptionError(f"a coverage must lie above 0 and below 1, but got {share:g}", hint=hint)


def lac(
    probabilities: Float[np.ndarray, "items classes"],
    targets: Int[np.ndarray, " items"],
    units: Sequence[int] | Int[np.ndarray, " items"] | None = None,
) -> HeldOut:
    """The scores of held-out items: 1 − p of their true class.

    Args:
        probabilities: From models that did not see the items; rows that sum to 1.
        targets: For each item the index of its class; the probability of one without a column is 0.
        units: As for `HeldOut.of`.

    Raises:
        DataError: If there are no items, a row is not a distribution, or targets or units do not fit.
    """
    check_probabilities(probabilities, targets)
    known = targets < probabilities.shape[1]
    of_truth = np.zeros(len(targets))
    of_truth[known] = probabilities[known, targets[known]]
    return HeldOut.of(1 - of_truth, units)


def prediction_sets(
    probabilities: Float[np.ndarray, "items classes"], held_out: HeldOut, coverage: float
) -> Bool[np.ndarray, "items classes"]:
    """For each item the classes that it may belong to; the most probable one, the first of equals, always is in.

    Args:
        probabilities: Calibrated as those of the held-out items were.
        held_out: Their scores, from `lac`.
        coverage: How often a set is to hold the true class, above 0 and below 1. Where there are too few held-out
            items for it, each set holds all classes.

    Raises:
        OptionError: If the coverage is not between 0 and 1.
    """
    sets = 1 - probabilities.astype(np.float64) <= held_out.bound(coverage)
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return np.asarray(sets)


def too_few(held_out: HeldOut, coverage: float) -> str:
    """What is to be said where there are too few held-out items for a coverage, or nothing.

    Args:
        held_out: Their scores.
        coverage: Above 0 and below 1.

    Raises:
        OptionError: If it is not.
    """
    if held_out.n_units >= (needed := n_needed(coverage)):
        return ""
    return (
        f"Sets that hold the true class in {100 * coverage:g} % of all cases need {needed:,} or more independent "
        f"held-out items, and this model has {held_out.n_units:,}, so each set holds all classes."
    )


def judge_sets(
    targets: Int[np.ndarray, " items"],
    probabilities: Float[np.ndarray, "items classes"],
    held_out: HeldOut,
    coverage: float,
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> SetReport:
    """How often sets hold the true class of items that played no part in them, and how large they are.

    Args:
        targets: For each item the index of its class; one without a column is in no set.
        probabilities: Rows that sum to 1.
        held_out: The scores that the sets follow from.
        coverage: Above 0 and below 1.
        seed: Seed of the bootstrap.
        groups: For each item what it belongs with; items of one group need not be independent.

    Raises:
        DataError: If there are no items, a row is not a distribution, or targets or groups do not fit.
        OptionError: If the coverage is not between 0 and 1.
    """
    check_probabilities(probabilities, targets)
    sets = prediction_sets(probabilities, held_out, coverage)
    known = targets < sets.shape[1]
    holds = np.zeros(len(targets), dtype=np.bool_)
    holds[known] = sets[known, targets[known]]
    sizes = sets.sum(axis=1)
    n_independent = len(targets) if groups is None else max(1, round(kish_n(groups)))
    low, high = held_out.band(coverage, n_independent)
    return SetReport(
        asked=coverage,
        covered=share_right(holds, groups=groups),
        expected_low=low,
        expected_high=high,
        size=bootstrap_mean(sizes.astype(np.float64), seed=seed, groups=groups, bounds=(1.0, float(sets.shape[1]))),
        single=share_right(np.asarray(sizes == 1), groups=groups),
        is_reached=held_out.reaches(coverage),
    )
