"""What more labels would bring: a power law through accuracies at growing numbers of training items.

The error is taken to fall as a + b·n^(−c) (Hestness et al. 2017, arXiv:1712.00409; Viering and Loog 2021,
arXiv:2103.10948), with a and b at least 0 and c from 0.05 to 1. For each c on a grid the best a and b have a closed
form, so a thousand bootstrap curves are fitted at once. Real curves may still accelerate; the gain measured over the
last doubling is therefore a second estimate, and the interval holds both.

Measured through `search.curve.draw_curve` on simulated clouds of points, the interval errs on the wide side. With 4
classes and 100 items (accuracy 54 %, true gain 6.0 points) it held the truth in 43 of 44 runs, but 106 further runs
said nothing as it was wider than 15 points; the gains that were said averaged 2.6, so they lean low. With 200 items
(73 %, 3.6 points) it held it in 71 of 71 with 9 silent, with 160 units of four near-copies each (71 %, 4.5 points,
copies kept together) in 43 of 43 with 17 silent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from headstart._randomness import generator
from headstart.errors import DataError
from headstart.evaluation.intervals import N_DRAWS, share, wilson
from headstart.evaluation.records import CurvePoint, Estimate, LearningCurve

_EXPONENTS = np.linspace(0.05, 1.0, 20)
_LEAST_DOUBLING, _MOST_DOUBLING = 1.7, 2.4
_FEWEST_SIZES, _FEWEST_ITEMS, _LEAST_RATIO = 3, 20, 2.0
_WIDEST, _SMALLEST, _LITTLE = 0.15, 0.0005, 0.005
_TOO_FEW = "Too few items to say what more labels would bring."


def learning_curve(
    sizes: Int[np.ndarray, " sizes"],
    draws: Sequence[Sequence[float]],
    *,
    n_eval: int,
    n_full: int,
    seed: int = 0,
) -> LearningCurve:
    """The curve, and the gain to expect from twice the labels of the same kind.

    Each bootstrap curve moves every point by the noise between draws, and all points together by the noise of the items
    that they were measured on. Real curves may still accelerate, which no power law does. So where the two largest
    sizes are about a factor of two apart, the gain between them is a second estimate: the value is the mean of both,
    the interval holds both of theirs. The gain cannot be negative: an interval that begins at 0 says that it cannot be
    told from nothing, and so does the sentence.

    Args:
        sizes: Numbers of training items, each once.
        draws: For each size the accuracies, 0 to 1, of models trained on different draws of so many items. A
            size may have a single one, and no model may be counted twice.
        n_eval: How many independent items each accuracy was measured on (the same ones throughout).
        n_full: How many labelled items there are; the gain is that from n_full to 2·n_full.
        seed: Seed of the bootstrap.

    Returns:
        The curve from few to many. Its gain is None with fewer than three sizes, a largest size below twice the
        smallest, fewer than 20 evaluation items, or an interval wider than 15 points.

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
    if len(sizes) < _FEWEST_SIZES or sizes[-1] < _LEAST_RATIO * sizes[0] or n_eval < _FEWEST_ITEMS:
        return LearningCurve(points=points, gain_of_doubling=None, sentence=_TOO_FEW)
    gain = _gain(sizes, rows, variances, n_eval=n_eval, n_full=n_full, seed=seed)
    if gain.high - gain.low > _WIDEST:
        return LearningCurve(points=points, gain_of_doubling=None, sentence=_TOO_FEW)
    return LearningCurve(points=points, gain_of_doubling=gain, sentence=_sentence(gain))


def _gain(
    sizes: Int[np.ndarray, " sizes"],
    rows: Sequence[Float[np.ndarray, " draws"]],
    variances: Float[np.ndarray, " sizes"],
    *,
    n_eval: int,
    n_full: int,
    seed: int,
) -> Estimate:
    """The gain from n_full to 2·n_full with its bootstrap interval; variances are those of the mean at each size."""
    errors = np.array([1 - row.mean() for row in rows])
    # No more can be gained than the error that is left.
    left = 1 - wilson(round((1 - errors[-1]) * n_eval), n_eval).low
    if errors.max() == 0:
        return Estimate(value=0.0, low=0.0, high=left, n=n_eval)
    rng = generator(seed, "learning curve")
    freedom = sum(len(row) - 1 for row in rows) or 30
    between_draws = np.sqrt(variances) * rng.standard_t(freedom, size=(N_DRAWS, len(sizes)))
    # Harder or easier evaluation items raise or lower the whole curve in proportion.
    wrong = errors[-1] * n_eval
    of_items = rng.gamma(wrong + 0.5, size=(N_DRAWS, 1)) / (wrong + 0.5)
    curves = np.clip(errors + between_draws, 0, 1) * of_items
    gains = _fitted_gains(np.vstack([errors, curves]), sizes, 1 / (variances + variances.max() / 100), n_full)
    estimates = gains[:, None]
    if _MOST_DOUBLING >= sizes[-1] / sizes[-2] >= _LEAST_DOUBLING:
        doubled = np.vstack([errors, curves])
        estimates = np.column_stack([gains, doubled[:, -2] - doubled[:, -1]])
    low, high = np.quantile(estimates[1:], 0.025, axis=0).min(), np.quantile(estimates[1:], 0.975, axis=0).max()
    value, low = min(max(float(estimates[0].mean()), 0.0), left), max(float(low), 0.0)
    return Estimate(value=value, low=min(value, low), high=max(value, min(float(high), left)), n=n_eval)


def _fitted_gains(
    errors: Float[np.ndarray, "curves sizes"],
    sizes: Int[np.ndarray, " sizes"],
    weights: Float[np.ndarray, " sizes"],
    n_full: int,
) -> Float[np.ndarray, " curves"]:
    """err(n) − err(2n) at n_full of each curve's weighted least squares fit, with a and b at least 0."""
    weights = weights / weights.sum()
    gains = np.zeros(len(errors))
    mean = errors @ weights
    least = ((errors - mean[:, None]) ** 2) @ weights
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
        gains = np.where(better, slope * (1 - 2**-exponent), gains)
    return gains


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


def _sentence(gain: Estimate) -> str:
    value, low, high = (f"{100 * end:.1f}" for end in (gain.value, gain.low, gain.high))
    if gain.high < _LITTLE:
        return "More labels of the same kind would add little: under 0.5 points."
    if gain.low < _SMALLEST:
        return f"Doubling the labels would add between nothing and {high} points: no gain can be told from noise."
    return f"Doubling the labels would add about {value} points ({low} to {high})."


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
