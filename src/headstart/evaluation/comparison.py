"""Is one model better than another on the same items?

The interval is that of Bonett and Price (2012, JEBS 37:479): one item is added to either kind of disagreement. It was
chosen among six by simulated coverage (10 to 500 items, eight tables each, 4,000 draws): it covered 94.8 % or more
everywhere (mean 97.5 %) at a mean width of 0.257. Newcombe's method 10 and Tango's score interval cover as often but
are wider (0.271, 0.275), Agresti and Min's falls to 93.2 %, and the paired bootstrap and Wald's fall to 17 % and 19 %:
where few or no items tell the models apart, both collapse.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import bdtr, gammaln

from headstart.errors import DataError
from headstart.evaluation.intervals import bootstrap
from headstart.evaluation.metrics import correct
from headstart.evaluation.records import Difference, Estimate, Verdict

_Z = 1.959963984540054


def compare(
    targets: Int[np.ndarray, " items"],
    probabilities_a: Float[np.ndarray, "items columns_a"],
    probabilities_b: Float[np.ndarray, "items columns_b"],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Difference:
    """The accuracy of model a minus that of model b, with a paired interval.

    Args:
        targets: For each item the index of its class.
        probabilities_a: Rows that sum to 1.
        probabilities_b: Likewise; its columns may be fewer or more.
        seed: Seed of the cluster bootstrap; without groups nothing is drawn.
        groups: For each item what it belongs with (a patient, a video); groups, not items, then count as independent.

    Raises:
        DataError: If there are no items, a row is not a distribution, or targets or groups do not fit.
    """
    right_a, right_b = correct(targets, probabilities_a), correct(targets, probabilities_b)
    return compare_correct(right_a, right_b, seed=seed, groups=groups)


def compare_correct(
    correct_a: Bool[np.ndarray, "*repeats items"],
    correct_b: Bool[np.ndarray, "*repeats items"],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Difference:
    """As `compare`, from which items each model got right.

    Where a cross-validation was repeated, an item's gain is its mean over the repeats. Repeats are no further items:
    they average out the chance of the folds, and leave that of the items.

    Args:
        correct_a: Whether model a is right, in each repeat where there are several.
        correct_b: Whether model b is right on the same item in the same repeat.
        seed: Seed of the cluster bootstrap; without groups nothing is drawn.
        groups: For each item what it belongs with.

    Raises:
        DataError: If there are no items, or not one of each for every item.
    """
    n = correct_a.shape[-1]
    if correct_a.size == 0 or correct_a.shape != correct_b.shape:
        raise DataError(
            f"two models are compared on the same items, at least one, but got {n} and {correct_b.shape[-1]}",
            hint="Predict the same rows with both.",
        )
    totals, n_repeats = _total_gains(correct_a, correct_b)
    gains = totals / n_repeats
    if groups is None:
        n_effective, nets = float(n), totals
    else:
        n_effective = _effective_n(gains, groups, seed)
        nets = np.bincount(np.unique(np.asarray(groups), return_inverse=True)[1], weights=totals).astype(np.int64)
    value = float(gains.mean())
    low, high = _bonett_price(value, float((gains**2).mean()), n_effective)
    return Difference(value=value, low=low, high=high, p_value=_sign_flip_p(nets), n=n)


def _total_gains(
    correct_a: Bool[np.ndarray, "*repeats items"], correct_b: Bool[np.ndarray, "*repeats items"]
) -> tuple[Int[np.ndarray, " items"], int]:
    """For each item in how many more repeats a is right than b, and how many repeats there are."""
    gains = (correct_a.astype(np.int64) - correct_b.astype(np.int64)).reshape(-1, correct_a.shape[-1])
    return gains.sum(axis=0), len(gains)


def compare_apart(first: Estimate, second: Estimate) -> Difference:
    """The difference of two shares that were measured on different items.

    The interval combines those of the shares (Newcombe 1998, Stat. Med. 17:873, method 10), so it knows of groups where
    they do; the p-value is that of Fisher's exact test, which takes items to be independent.

    Args:
        first: A share with its Wilson interval.
        second: Likewise.

    Returns:
        The first minus the second; its n is the smaller number of items.
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    p_value = _fisher_p(round(first.value * first.n), first.n, round(second.value * second.n), second.n)
    return Difference(value=value, low=value - below, high=value + above, p_value=p_value, n=min(first.n, second.n))


def _fisher_p(k_first: int, n_first: int, k_second: int, n_second: int) -> float:
    """The chance, were both shares equal, of a table that is at most as likely as the one seen."""
    k, n = k_first + k_second, n_first + n_second
    counts = np.arange(max(0, k - n_second), min(k, n_first) + 1)
    logs = _log_choose(n_first, counts) + _log_choose(n_second, k - counts) - _log_choose(n, np.array(k))
    seen = logs[k_first - counts[0]]
    # Tables that are as likely as the one seen must not be lost to rounding.
    return min(1.0, float(np.exp(logs[logs <= seen + 1e-7]).sum()))


def _log_choose(n: int, k: Int[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def verdict(difference: Difference) -> Verdict:
    """What the interval of a difference supports: `helps` above 0, `hurts` below, `no difference` when it holds 0.

    Args:
        difference: The new model minus the old one.
    """
    if difference.low > 0:
        return "helps"
    return "hurts" if difference.high < 0 else "no difference"


def is_tie(behind: Difference, *, margin: float) -> bool:
    """Whether the evidence does not set a model apart from the best: its interval holds 0, and it is near enough.

    Args:
        behind: The best model minus this one, on the same items.
        margin: What is further behind is no tie, however few items there are to tell; in accuracy, 0 to 1.
    """
    return behind.low <= 0 and behind.value <= margin


def would_tie(
    correct_best: Bool[np.ndarray, "*repeats items"],
    correct_other: Bool[np.ndarray, "*repeats items"],
    *,
    margin: float,
    clusters: Int[np.ndarray, " items"] | None = None,
) -> bool:
    """As `is_tie` of `compare_correct`, fast enough to be asked thousands of times.

    There is no p-value, and the variance between groups is that of the linearised mean (Korn and Graubard 1999,
    Analysis of Health Surveys), which the cluster bootstrap comes to with many draws.

    Args:
        correct_best: Whether the best model is right, on one item or more.
        correct_other: Whether the other one is.
        margin: As there.
        clusters: For each item the number of its group; each item is its own where None.
    """
    totals, n_repeats = _total_gains(correct_best, correct_other)
    gains = totals / n_repeats
    value, n = float(gains.mean()), float(len(gains))
    if value > margin:
        return False
    if clusters is not None:
        between = float((np.bincount(clusters, weights=gains - value) ** 2).sum()) / n**2
        least = n**2 / float((np.bincount(clusters).astype(np.float64) ** 2).sum())
        n = least if between == 0 else min(n, max(least, float(gains.var()) / between))
    return _bonett_price(value, float((gains**2).mean()), n)[0] <= 0


def _bonett_price(value: float, changed: float, n: float) -> tuple[float, float]:
    """The interval from the mean gain, the mean square of the gains, and n (after grouping).

    With one prediction an item the mean square is the share of items that tell the models apart.
    """
    centre = value * n / (n + 2)
    apart = (changed * n + 2) / (n + 2)
    half = _Z * math.sqrt((apart - centre**2) / (n + 2))
    return max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half))


def _effective_n(gains: Float[np.ndarray, " items"], groups: Sequence[str], seed: int) -> float:
    """How many independent items would give the variance that the cluster bootstrap finds.

    Between Kish's number for groups whose items all behave alike, which is also used when nothing varies, and n.
    """
    n = len(gains)
    sizes = np.fromiter(Counter(groups).values(), dtype=np.float64)
    least = n**2 / float((sizes**2).sum())
    draws = bootstrap(lambda weights: ((weights @ gains) / weights.sum(axis=1))[:, None], n, seed=seed, groups=groups)
    between = float(draws.var())
    return least if between == 0 else min(float(n), max(least, float(gains.var()) / between))


def _sign_flip_p(nets: Int[np.ndarray, " groups"]) -> float:
    """The chance, were both models equal, that |sum of nets| is at least what it is.

    Under that hypothesis each net is as likely to have the other sign. With nets of ±1 this is McNemar's exact test.
    """
    sizes, observed = np.abs(nets[nets != 0]), abs(int(nets.sum()))
    total = int(sizes.sum())
    if total == len(sizes):
        return min(1.0, 2 * float(bdtr((total - observed) // 2, total, 0.5)))
    # Probability of each sum from −total to total, one net after the other.
    chances = np.zeros(2 * total + 1)
    chances[total] = 1.0
    for size in sizes.tolist():
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    sums = np.arange(-total, total + 1)
    return min(1.0, float(chances[np.abs(sums) >= observed].sum()))
