"""What more labels would bring: a power law through accuracies at growing numbers of training items.

The error is taken to fall as a + b·n^(−c) (Hestness et al. 2017, arXiv:1712.00409; Viering and Loog 2021,
arXiv:2103.10948), with a and b at least 0 and c from 0.05 to 1. For each c on a grid the best a and b have a closed
form, so a thousand bootstrap curves are fitted at once. Real curves may still accelerate; the gain measured over the
last doubling is therefore a second estimate, and the interval holds both.

Measured through `search.curve.draw_curve` on simulated clouds of points (`benchmarks/curve.py`, 60 runs each),
intervals err on the wide side. Of those that were said, so many held the truth; the other runs said nothing:

| classes, items | true accuracy with 1, 2, 4, 8 times | gain of 2 | accuracy at 2 | at 4     | at 8     |
|----------------|-------------------------------------|-----------|---------------|----------|----------|
| 4, 100         | 54.6, 58.4, 60.6, 62.3 %            | 23 of 24  | 22 of 23      | 12 of 13 | 6 of 7   |
| 4, 200         | 70.2, 72.3, 73.6, 74.6 %            | 58 of 58  | 57 of 58      | 57 of 58 | 57 of 58 |
| 4, 400         | 72.3, 73.6, 74.6, 74.9 %            | 60 of 60  | 60 of 60      | 60 of 60 | 60 of 60 |
| 10, 400        | 81.4, 83.4, 84.9, 85.7 %            | 60 of 60  | 60 of 60      | 60 of 60 | 60 of 60 |

With 100 items what is said leans low, by 1 point for the gain and by 5 for the accuracies, as steep curves have wide
intervals and say nothing; with 200 and 400 it leans high by 0 to 3 points, the more the farther. docs/labelling.md has
the same on real data, where curves of parts of the training items are compared with what more of them led to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from headstart._randomness import generator
from headstart.errors import DataError, OptionError
from headstart.evaluation.intervals import N_DRAWS, share, wilson
from headstart.evaluation.records import CurvePoint, Estimate, ExpectedAccuracy, LabelsNeeded, LearningCurve

_EXPONENTS = np.linspace(0.05, 1.0, 20)
_LEAST_DOUBLING, _MOST_DOUBLING = 1.7, 2.4
_FEWEST_SIZES, _FEWEST_ITEMS, _LEAST_RATIO = 3, 20, 2.0
_WIDEST, _WIDEST_ACCURACY, _SMALLEST, _LITTLE = 0.15, 0.4, 0.0005, 0.005
_TIMES = (1, 2, 4, 8)
_ROUND = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)
_N_GOALS = 2
_TOO_FEW = "Too few items to say what more labels would bring."


def learning_curve(
    sizes: Int[np.ndarray, " sizes"],
    draws: Sequence[Sequence[float]],
    *,
    n_eval: int,
    n_full: int,
    seed: int = 0,
) -> LearningCurve:
    """The curve, and what to expect from more labels of the same kind.

    Each bootstrap curve moves every point by the noise between draws, and all points together by the noise of the items
    that they were measured on. Real curves may still accelerate, which no power law does. So where the two largest
    sizes are about a factor of two apart, the gain between them is a second estimate, and so is for each number of
    labels that every doubling leaves the same share of the errors as the last one did: the value is the mean of both,
    the interval holds both of theirs. The gain cannot be negative: an interval that begins
    at 0 says that it cannot be told from nothing, and so does the sentence. Nor can it be more than the errors that
    were measured.

    Args:
        sizes: Numbers of training items, each once.
        draws: For each size the accuracies, 0 to 1, of models trained on different draws of so many items. A
            size may have a single one, and no model may be counted twice.
        n_eval: How many independent items each accuracy was measured on (the same ones throughout).
        n_full: How many labelled items there are; the gain is that from n_full to 2·n_full.
        seed: Seed of the bootstrap.

    Returns:
        The curve from few to many. Its gain is None with fewer than three sizes, a largest size below twice the
        smallest, fewer than 20 evaluation items, or an interval wider than 15 points; nothing is expected then either.
        What is expected ends before an interval of an accuracy that is wider than 40 points.

    Raises:
        DataError: If sizes are not positive or repeat, accuracies are not from 0 to 1 with a row for each size, or a
            number of items is below 1.
    """
    _check(sizes, draws, n_eval, n_full)
    order = np.argsort(sizes)
    sizes, rows = sizes[order], [np.asarray(draws[index], dtype=np.float64) for index in order]
    means = np.array([row.mean() for row in rows])
    variances = _variances(rows, n_eval)
    points = tuple(
        CurvePoint(
            n_train=int(size),
            accuracy=share(
                float(mean), variance=float(mean * (1 - mean) / n_eval + variance), n=n_eval, n_most=float(n_eval)
            ),
            draws=tuple(row.tolist()),
        )
        for size, mean, variance, row in zip(sizes, means, variances, rows, strict=True)
    )
    silent = LearningCurve(points=points, gain_of_doubling=None, sentence=_TOO_FEW)
    if len(sizes) < _FEWEST_SIZES or sizes[-1] < _LEAST_RATIO * sizes[0] or n_eval < _FEWEST_ITEMS:
        return silent
    continued = _continue(sizes, 1 - means, variances, n_eval=n_eval, n_full=n_full, draws=rows, seed=seed)
    gain = continued.gain(n_eval)
    if gain.high - gain.low > _WIDEST:
        return silent
    expected = continued.expected(n_eval, n_full)
    curve = LearningCurve(points, gain, _sentence(gain, expected, n_right=round(means[-1] * n_eval)), expected)
    return _with_goals(curve)


def labels_needed(curve: LearningCurve, target: float) -> LabelsNeeded:
    """How many labels an accuracy takes, read off the expected accuracies of a curve.

    Between two of these, accuracy is taken to grow evenly with the logarithm of the number of labels. Nothing is
    continued beyond the last one.

    Args:
        curve: What `learning_curve` returned.
        target: The accuracy, above 0 and at most 1.

    Returns:
        The number with its interval. An end that the curve does not reach is None, and the sentence says why.

    Raises:
        OptionError: If the target is no such share.
    """
    if not 0 < target <= 1:
        raise OptionError(
            f"a target accuracy must be above 0 and at most 1, but got {target}", hint="Write 0.95 for 95 %."
        )
    expected = curve.expected
    if not expected:
        return LabelsNeeded(target, None, None, None, _TOO_FEW)
    value = _crossing(expected, target, [each.accuracy.value for each in expected])
    low = _crossing(expected, target, [each.accuracy.high for each in expected])
    high = _crossing(expected, target, [each.accuracy.low for each in expected])
    return LabelsNeeded(target, value, low, high, _needed_sentence(target, (value, low, high), expected))


@dataclass(frozen=True, eq=False)
class _Continued:
    """Bootstrap curves beyond the last point; the first of them is the measured one.

    Attributes:
        measured: The error that was measured at the largest size.
        errors: For each way to continue, the error of each curve at each of the multiples of the labels.
        gains: For each way, the gain of each curve from a doubling of the labels; may be negative.
        floor: The lowest accuracy that all items being right would leave possible; 1 where one is wrong.
    """

    measured: float
    errors: Float[np.ndarray, "ways curves times"]
    gains: Float[np.ndarray, "ways curves"]
    floor: float

    def gain(self, n_eval: int) -> Estimate:
        """The gain of a doubling, from nothing to the errors that there are."""
        low, high = _ends(self.gains)
        low, value, high = np.clip([low, self.gains[:, 0].mean(), high], 0, self.measured).tolist()
        return Estimate(value=value, low=min(value, low), high=max(value, high), n=n_eval)

    def expected(self, n_eval: int, n_full: int) -> tuple[ExpectedAccuracy, ...]:
        """The accuracy at each multiple, as far as its interval says something."""
        lows, highs = _ends(1 - self.errors)
        values = np.clip(1 - self.errors[:, 0].mean(axis=0), 0, 1)
        found = []
        for times, value, low, high in zip(_TIMES, values.tolist(), lows.tolist(), highs.tolist(), strict=True):
            low, high = max(0.0, min(value, low, self.floor)), min(1.0, max(value, high))
            if high - low > _WIDEST_ACCURACY:
                break
            found.append(ExpectedAccuracy(times, times * n_full, Estimate(value=value, low=low, high=high, n=n_eval)))
        return tuple(found)


def _ends(of_ways: Float[np.ndarray, "ways curves *rest"]) -> tuple[np.ndarray, np.ndarray]:
    """An interval that holds the bootstrap interval of each way."""
    low, high = np.quantile(of_ways[:, 1:], (0.025, 0.975), axis=1)
    return low.min(axis=0), high.max(axis=0)


def _continue(
    sizes: Int[np.ndarray, " sizes"],
    errors: Float[np.ndarray, " sizes"],
    variances: Float[np.ndarray, " sizes"],
    *,
    n_eval: int,
    n_full: int,
    draws: Sequence[Float[np.ndarray, " draws"]],
    seed: int,
) -> _Continued:
    rng = generator(seed, "learning curve")
    freedom = sum(len(row) - 1 for row in draws) or 30
    between_draws = np.sqrt(variances) * rng.standard_t(freedom, size=(N_DRAWS, len(sizes)))
    # Harder or easier evaluation items raise or lower the whole curve in proportion.
    wrong, right = errors[-1] * n_eval + 0.5, (1 - errors[-1]) * n_eval + 0.5
    of_items = rng.beta(wrong, right, size=(N_DRAWS, 1)) * (wrong + right) / wrong
    if errors.max() == 0:
        between_draws = np.zeros_like(between_draws)
    curves = np.vstack([errors, np.clip(errors + between_draws, 0, 1) * of_items])
    at, gains = _fitted(curves, sizes, 1 / (variances + variances.max() / 100), n_full)
    ways, of_doubling = [at], [gains]
    if _MOST_DOUBLING >= sizes[-1] / sizes[-2] >= _LEAST_DOUBLING:
        last = curves[:, -2] - curves[:, -1]
        doublings = np.maximum(np.log2(np.array(_TIMES) * n_full / sizes[-1]), 0)
        left = np.minimum(curves[:, -1] / np.maximum(curves[:, -2], _SMALLEST), 1)
        ways.append(curves[:, -1:] * left[:, None] ** doublings)
        of_doubling.append(last)
    floor = wilson(n_eval, n_eval).low if errors[-1] == 0 else 1.0
    return _Continued(float(errors[-1]), np.stack(ways), np.stack(of_doubling), floor)


def _fitted(
    errors: Float[np.ndarray, "curves sizes"],
    sizes: Int[np.ndarray, " sizes"],
    weights: Float[np.ndarray, " sizes"],
    n_full: int,
) -> tuple[Float[np.ndarray, "curves times"], Float[np.ndarray, " curves"]]:
    """Each curve's weighted least squares fit, with a and b at least 0.

    Returns:
        The error at each of the multiples of n_full, and err(n_full) − err(2·n_full).
    """
    weights = weights / weights.sum()
    mean = errors @ weights
    least = ((errors - mean[:, None]) ** 2) @ weights
    # Where no falling curve fits better, more labels bring nothing.
    best_exponent, best_slope, best_intercept = np.ones(len(errors)), np.zeros(len(errors)), mean.copy()
    for exponent in _EXPONENTS:
        x = (sizes / n_full) ** -exponent
        mean_x = float(x @ weights)
        slope = (errors @ (weights * (x - mean_x))) / float((x - mean_x) ** 2 @ weights)
        # A line through the origin where the intercept would be negative; errors and x are never negative.
        slope = np.where(mean - slope * mean_x < 0, (errors @ (weights * x)) / float(x**2 @ weights), slope)
        intercept = np.maximum(mean - slope * mean_x, 0)
        residual = ((errors - intercept[:, None] - slope[:, None] * x) ** 2) @ weights
        better = (slope > 0) & (residual < least)
        least = np.where(better, residual, least)
        best_exponent = np.where(better, exponent, best_exponent)
        best_slope = np.where(better, slope, best_slope)
        best_intercept = np.where(better, intercept, best_intercept)
    at = best_intercept[:, None] + best_slope[:, None] * np.array(_TIMES) ** -best_exponent[:, None]
    return at, best_slope * (1 - 2**-best_exponent)


def _crossing(expected: Sequence[ExpectedAccuracy], target: float, ends: Sequence[float]) -> int | None:
    """Where expected accuracies, or one end of theirs, reach a target; the labels that there are, if these do."""
    if ends[0] >= target:
        return expected[0].n_labels
    for (before, after), (start, stop) in zip(pairwise(expected), pairwise(ends), strict=True):
        if stop >= target:
            part = (target - start) / (stop - start)
            return math.ceil(before.n_labels * math.pow(after.n_labels / before.n_labels, part))
    return None


def _with_goals(curve: LearningCurve) -> LearningCurve:
    """The curve with what the next round accuracies take."""
    ahead = [target for target in _ROUND if curve.expected and target > curve.expected[0].accuracy.value]
    return replace(curve, goals=tuple(labels_needed(curve, target) for target in ahead[:_N_GOALS]))


def _variances(rows: Sequence[Float[np.ndarray, " draws"]], n_eval: int) -> Float[np.ndarray, " sizes"]:
    """The variance of each size's mean over draws, as one multiple of p(1 − p), since few draws say little alone.

    With one draw a size, or equal ones at every size, the noise is taken to be that of independent items.
    """
    means, counts = np.array([row.mean() for row in rows]), np.array([len(row) for row in rows])
    # Half an item, so that a size where every draw was perfect still has some noise when others have.
    spread = (means * n_eval + 0.5) * ((1 - means) * n_eval + 0.5) / (n_eval + 1) ** 2
    between = sum(float(row.var(ddof=1)) for row in rows if len(row) > 1)
    of_draw = between / spread[counts > 1].sum() if between > 0 else 1 / n_eval
    return np.asarray(spread * of_draw / counts)


def _sentence(gain: Estimate, expected: Sequence[ExpectedAccuracy], *, n_right: int) -> str:
    value, low, high = (f"{100 * end:.1f}" for end in (gain.value, gain.low, gain.high))
    if n_right == gain.n:
        least = f"{100 * wilson(n_right, gain.n).low:.1f} %"
        return f"All {gain.n:,} items are right already, so no gain can be seen: the accuracy is at least {least}."
    if gain.high < _LITTLE:
        return "More labels of the same kind would add little: under 0.5 points."
    if gain.low < _SMALLEST:
        return f"Doubling the labels would add between nothing and {high} points: no gain can be told from noise."
    doubling = f"Doubling the labels would add about {value} points ({low} to {high})."
    for each in expected:
        if each.times == 4:
            shown = [f"{100 * end:.1f}" for end in (each.accuracy.value, each.accuracy.low, each.accuracy.high)]
            return f"{doubling} Four times the labels would lead to about {shown[0]} % ({shown[1]} to {shown[2]} %)."
    return doubling


def _needed_sentence(
    target: float, needed: tuple[int | None, int | None, int | None], expected: Sequence[ExpectedAccuracy]
) -> str:
    value, low, high = needed
    there, last = expected[0].n_labels, expected[-1]
    aim, most = f"{100 * target:.4g} %", f"{last.n_labels:,} labels, {last.times} times as many as now"
    if low is None:
        best = f"{100 * last.accuracy.high:.1f} %"
        return f"{aim} is out of sight: with {most}, at best {best} is to be expected."
    if value is None:
        return f"{aim} is not to be expected with {most}, though about {_about(low)} may do at best."
    if value == there:
        may_take = "" if high == there else f", but it may take {f'up to {_about(high)}' if high else _above(last)}"
        return f"{aim} is to be expected of the {there:,} labels that there are{may_take}."
    ends = f"{_about(low) if low > there else f'{there:,}'} to {_about(high) if high else _above(last)}"
    return f"{aim} would take about {_about(value)} labels ({ends})."


def _above(last: ExpectedAccuracy) -> str:
    return f"more than {last.n_labels:,}"


def _about(n: int) -> str:
    """Two significant digits, rounded up: more would be pretence."""
    unit = 10 ** max(0, len(str(n)) - 2)
    return f"{-(-n // unit) * unit:,}"


def _check(sizes: Int[np.ndarray, " sizes"], draws: Sequence[Sequence[float]], n_eval: int, n_full: int) -> None:
    if len(sizes) == 0 or sizes.min() < 1 or len(np.unique(sizes)) < len(sizes):
        raise DataError(
            f"a learning curve needs positive sizes, each once, but got {sizes.tolist()}",
            hint="Give the numbers of training items, for example 50, 100, 200.",
        )
    if len(draws) != len(sizes) or any(len(row) == 0 for row in draws):
        raise DataError(
            "a learning curve needs a row of accuracies for each size, "
            f"but {len(sizes)} sizes have rows of {[len(row) for row in draws]}",
            hint="Give one row a size and at least one draw in each.",
        )
    bad = [value for row in draws for value in row if not 0 <= value <= 1]
    if bad:
        raise DataError(f"accuracies must lie from 0 to 1, but one is {bad[0]}", hint="Give shares, not percentages.")
    if min(n_eval, n_full) < 1:
        raise DataError(
            f"a learning curve needs at least one item, but got n_eval={n_eval} and n_full={n_full}",
            hint="Count the items that accuracies were measured on, and the labelled ones.",
        )
