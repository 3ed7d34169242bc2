"""How far to trust a number: intervals for shares, for means, for any metric, and for cross-validation scores.

A metric is here a function of item weights: 1 for every item gives its value, the counts of a resample give one
bootstrap draw. So a thousand draws are a few matrix products.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart._randomness import generator
from headstart.errors import DataError, OptionError
from headstart.evaluation.records import Estimate

N_DRAWS = 1000
_WEIGHTS_PER_CHUNK = 4_000_000
_NO_VARIANCE = 1e-12  # what rounding to float32 leaves

Weights = Float[np.ndarray, "draws items"]
"""How often each draw holds each item."""

Statistic = Callable[[Weights], Float[np.ndarray, "draws numbers"]]
"""Metrics as functions of item weights; each row of weights gives one row of numbers."""


def wilson(k: int, n: int, *, level: float = 0.95) -> Estimate:
    """The share k/n with Wilson's score interval (Wilson 1927, JASA 22:209).

    It stays within 0 and 1, and keeps a width when all or none of the items count.

    Args:
        k: How many items count, 0 to n.
        n: How many items there are, at least 1.
        level: How often such an interval contains the truth, between 0 and 1.

    Raises:
        OptionError: If n is below 1, k is outside 0 to n, or the level is not between 0 and 1.
    """
    if n < 1 or not 0 <= k <= n:
        raise OptionError(
            f"a share needs a count from 0 to n and an n of at least 1, but got {k} of {n}",
            hint="Give the count of items first, then how many items there are.",
        )
    return _wilson(k / n, n=n, n_effective=float(n), level=level)


def share(value: float, *, variance: float, n: int, n_most: float) -> Estimate:
    """A metric from 0 to 1 with Wilson's interval at its effective number of items.

    The effective number is that of independent items whose share would have this variance (Korn and Graubard 1998,
    Survey Methodology 24:193). A resample of right predictions holds no wrong one, so a percentile interval of a
    perfect score has no width; this one has.

    Args:
        value: The metric, 0 to 1.
        variance: Its sampling variance, 0 or greater.
        n: How many items it was measured on.
        n_most: Upper bound of the effective number, and its value when the variance is 0.
    """
    spread = value * (1 - value)
    n_effective = min(n_most, spread / variance) if variance > 0 and spread > 0 else n_most
    return _wilson(value, n=n, n_effective=n_effective)


def share_in_groups(
    value: float, *, variance: float, groups: Sequence[str], n_perfect: float, reported: float | None = None
) -> Estimate:
    """A metric from 0 to 1 on items of which those of one group are dependent.

    As `share`, with the variance of a cluster bootstrap widened for few groups by the t quantile on one degree of
    freedom less than there are groups (Korn and Graubard 1998).

    Args:
        value: The metric, 0 to 1.
        variance: Its variance over resampled groups, 0 or greater.
        groups: For each item what it belongs with.
        n_perfect: The effective number where the groups do not differ, as with a perfect score.
        reported: What is reported instead, such as the metric less its optimism, for as many independent items.
    """
    n, n_groups = len(groups), len(set(groups))
    n_effective = n_perfect
    if n_groups > 1 and variance >= _NO_VARIANCE and 0 < value < 1:
        few = n_groups / (n_groups - 1) * (_t(n_groups) / NormalDist().inv_cdf(0.975)) ** 2
        n_effective = min(float(n), value * (1 - value) / (variance * few))
    return _wilson(value if reported is None else reported, n=n, n_effective=n_effective)


def kish_n(groups: Sequence[str] | Sequence[int]) -> float:
    """How many items a mean is worth when those of a group are all alike, n² / Σ n_g² (Kish 1965, Survey Sampling).

    Args:
        groups: For each item what it belongs with, at least one item.
    """
    sizes = np.array(list(Counter(groups).values()), dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def harmonic_n(counts: Float[np.ndarray, " classes"]) -> float:
    """How many items a mean over classes is worth when every class is equally often right.

    Args:
        counts: Items of each class, at least 1 each.
    """
    return float(len(counts) ** 2 / (1 / counts).sum())


def resamples(
    n: int, *, seed: int = 0, groups: Sequence[str] | None = None, n_draws: int = N_DRAWS
) -> Iterator[Weights]:
    """Item weights of bootstrap resamples, in chunks of draws that fit in little memory.

    Args:
        n: How many items, at least 1.
        seed: Seed of the draws.
        groups: For each item what it belongs with; whole groups are then drawn (cluster bootstrap).
        n_draws: How many draws.

    Yields:
        How often each draw of a chunk holds each item.

    Raises:
        DataError: If there are no items, or not one group name for each.
    """
    if n < 1:
        raise DataError("a bootstrap needs at least one item, but got none", hint="Check that the test side has items.")
    if groups is not None and len(groups) != n:
        raise DataError(
            f"each item needs one group, but got {len(groups)} groups for {n} items",
            hint="Give one name for each item.",
        )
    rng = generator(seed, "bootstrap")
    member = np.unique(np.asarray(groups), return_inverse=True)[1] if groups is not None else None
    n_units = n if member is None else int(member.max()) + 1
    at_once = max(1, min(n_draws, _WEIGHTS_PER_CHUNK // max(n, n_units)))
    for start in range(0, n_draws, at_once):
        rows = min(at_once, n_draws - start)
        cells = rng.integers(n_units, size=(rows, n_units)) + n_units * np.arange(rows)[:, None]
        weights = np.bincount(cells.ravel(), minlength=rows * n_units).reshape(rows, n_units).astype(np.float32)
        yield weights if member is None else weights[:, member]


def bootstrap(
    statistic: Statistic, n: int, *, seed: int = 0, groups: Sequence[str] | None = None, n_draws: int = N_DRAWS
) -> Float[np.ndarray, "draws numbers"]:
    """Draws of some metrics over resampled items (Efron 1979); with groups, over resampled groups.

    Args:
        statistic: The metrics as a function of item weights.
        n: How many items, at least 1.
        seed: Seed of the draws.
        groups: For each item what it belongs with.
        n_draws: How many draws.

    Raises:
        DataError: If there are no items, or not one group name for each.
    """
    chunks = resamples(n, seed=seed, groups=groups, n_draws=n_draws)
    return np.concatenate([np.asarray(statistic(weights), dtype=np.float64) for weights in chunks])


def bootstrap_mean(
    values: Float[np.ndarray, " items"],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """The mean of a value per item with its percentile interval.

    Args:
        values: One finite number for each item.
        seed: Seed of the draws.
        groups: For each item what it belongs with; whole groups are then drawn.
        bounds: What the mean can be at least and at most. One item (or one group) says nothing about the spread, so
            the bounds are then the interval.

    Raises:
        DataError: If there are no items, a value is not finite, or not every item has a group.
    """
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(
            f"a mean needs finite values, but value {row} is {values[row]}", hint="Leave such items out and say so."
        )
    draws = bootstrap(
        lambda weights: ((weights @ values) / weights.sum(axis=1))[:, None], len(values), seed=seed, groups=groups
    )
    n_units = len(values) if groups is None else len(set(groups))
    low, high = bounds if n_units == 1 else np.quantile(draws, (0.025, 0.975))
    mean = float(np.mean(values))
    return Estimate(value=mean, low=min(mean, float(low)), high=max(mean, float(high)), n=len(values))


def nadeau_bengio(scores: Float[np.ndarray, " folds"], *, n_train: int, n_test: int) -> Estimate:
    """The mean of cross-validation scores with an interval that knows that their training items overlap.

    The variance is (1/J + n_test/n_train)·s² with t quantiles on J − 1 degrees of freedom (Nadeau and Bengio 2003,
    Machine Learning 52:239). For scores of one model or for differences between two.

    Args:
        scores: One number for each of the J train-test pairs, at least 2.
        n_train: Training items of each pair.
        n_test: Test items of each pair.

    Returns:
        The estimate; its n is all items of a pair.

    Raises:
        OptionError: If there are fewer than two scores, or a side has no items.
    """
    if len(scores) < 2 or n_train < 1 or n_test < 1:
        raise OptionError(
            "a cross-validation interval needs two scores and items on both sides, "
            f"but got {len(scores)} scores, {n_train} training and {n_test} test items",
            hint="Use at least two folds.",
        )
    mean, half = float(np.mean(scores)), _t(len(scores)) * math.sqrt(_of_overlapping(scores, n_test / n_train))
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n_train + n_test)


def share_in_repeats(
    right: Bool[np.ndarray, "repeats items"],
    folds: Int[np.ndarray, "repeats items"],
    *,
    n_perfect: float,
    value: float | None = None,
) -> Estimate:
    """The share of right predictions in a repeated cross-validation, with the interval of Nadeau and Bengio.

    The variance of `nadeau_bengio` over the folds of all repeats, with its t quantile, goes into Wilson's interval,
    which stays within 0 and 1 (see `share`). It never counts as more than n items: repeats bring no new ones.

    Args:
        right: For each repeat whether the out-of-fold prediction of each item is right; two repeats or more.
        folds: For each repeat the fold of each item, from 0; none is empty.
        n_perfect: The effective number of items where no fold differs from another, as with a perfect score.
        value: What is reported instead of the mean over the repeats, such as the mean less its optimism.
    """
    n = right.shape[1]
    scores = np.concatenate(
        [np.bincount(fold, weights=each) / np.bincount(fold) for each, fold in zip(right, folds, strict=True)]
    )
    n_test = n * len(right) / len(scores)
    wider = (_t(len(scores)) / NormalDist().inv_cdf(0.975)) ** 2
    variance = wider * _of_overlapping(scores, n_test / (n - n_test))
    mean = float(right.mean())
    spread = mean * (1 - mean)
    n_effective = min(float(n), spread / variance) if variance > _NO_VARIANCE and spread > 0 else n_perfect
    return _wilson(mean if value is None else value, n=n, n_effective=n_effective)


def mutual(share: float) -> float:
    """How many times the binomial variance the share of right predictions of one cross-validation has at most.

    Of two items in different folds each trains the model that judges the other. What makes the label of one agree with
    the score of the other is the same number both times, so the two are right together, or wrong together. For the
    score of a linear model with normal noise, to which each training item adds a small independent part, these
    covariances add up to φ(Φ⁻¹(p))² beside the p(1 − p) of the item itself, whatever the number of folds: at a share of
    one half the variance is 1 + 2/π times the binomial. Part of the score that is signal makes it less.

    Args:
        share: The share p, 0 to 1.
    """
    if not 0 < share < 1:
        return 1.0
    normal = NormalDist()
    return 1.0 + normal.pdf(normal.inv_cdf(share)) ** 2 / (share * (1 - share))


def _of_overlapping(scores: Float[np.ndarray, " folds"], ratio: float) -> float:
    """The variance of the mean of scores whose training items overlap; the ratio is n_test / n_train."""
    return (1 / len(scores) + ratio) * float(np.var(scores, ddof=1))


def _t(n_scores: int) -> float:
    """The 97.5 % quantile of t on one degree of freedom less than there are scores."""
    from scipy.special import stdtrit

    return float(stdtrit(n_scores - 1, 0.975))


def _wilson(value: float, *, n: int, n_effective: float, level: float = 0.95) -> Estimate:
    if not 0 < level < 1:
        raise OptionError(f"a level must lie between 0 and 1, but got {level}", hint="Write for example 0.95.")
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2 / n_effective
    centre = (value + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (value * (1 - value) + z2 / 4)) / (1 + z2)
    # Rounding must not leave the value outside at 0 and 1, where an end meets it.
    return Estimate(value=value, low=max(0.0, min(value, centre - half)), high=min(1.0, max(value, centre + half)), n=n)
