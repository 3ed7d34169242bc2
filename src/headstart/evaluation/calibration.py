"""Probabilities that mean what they say: one temperature for all classes (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

from headstart.errors import OptionError
from headstart.evaluation._inputs import check_logits, check_targets

LOWEST, HIGHEST = 0.05, 20.0
_STEPS = 100
_TOLERANCE = 1e-10


def softmax(logits: Float[np.ndarray, "items classes"], temperature: float = 1.0) -> Float[np.ndarray, "items classes"]:
    """Probabilities from logits, in float64.

    Args:
        logits: Finite scores; one more means e times as probable at temperature 1.
        temperature: What the logits are divided by; above 1 the probabilities move towards uniform.

    Raises:
        OptionError: If the temperature is not a positive, finite number.
        DataError: If a logit is not finite.
    """
    if not 0 < temperature < math.inf:
        raise OptionError(
            f"a temperature must be positive and finite, but got {temperature}",
            hint="1 leaves probabilities as they are.",
        )
    check_logits(logits)
    return _softmax(logits.astype(np.float64) / temperature)


def fit_temperature(logits: Float[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"]) -> float:
    """The temperature with the least negative log likelihood, between 0.05 and 20.

    The likelihood is convex in 1/T, so a Newton step that falls back to bisection finds its only minimum. Give it
    out-of-fold logits: those of items that the head was fitted on are too sure of themselves.

    Args:
        logits: Scores of items that the head did not see.
        targets: For each item the index of its class; items of classes that have no logit are left aside.

    Returns:
        The temperature; 1 when the items cannot determine one (there are none, all of their logits are equal, or every
        item is right, so that the likelihood would grow for ever as T falls). Above 1 the logits were too sure.

    Raises:
        DataError: If a logit is not finite, or there is not one target of 0 or greater for each item.
    """
    check_logits(logits)
    check_targets(targets, len(logits))
    known = targets < logits.shape[1]
    scores, targets = logits[known].astype(np.float64), targets[known]
    # Distance to the true class: probabilities do not change, and the slope below needs no second term.
    scores = scores - scores[np.arange(len(scores)), targets][:, None]
    if scores.max(initial=0.0) <= 0:
        return 1.0
    return 1 / _minimise(scores, 1 / HIGHEST, 1 / LOWEST)


def _minimise(scores: Float[np.ndarray, "items classes"], low: float, high: float) -> float:
    """The b within [low, high] where mean logsumexp(b·scores) is least; `scores` are 0 at the true class."""
    if _slope(scores, low)[0] >= 0:
        return low
    if _slope(scores, high)[0] <= 0:
        return high
    b = 1.0
    for _ in range(_STEPS):
        slope, curvature = _slope(scores, b)
        low, high = (low, b) if slope > 0 else (b, high)
        newton = b - slope / curvature if curvature > 0 else low
        step = newton if low < newton < high else math.sqrt(low * high)
        if abs(step - b) <= _TOLERANCE * b:
            return step
        b = step
    return b


def _slope(scores: Float[np.ndarray, "items classes"], b: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log likelihood: mean and variance of the scores under p."""
    probabilities = _softmax(b * scores)
    mean = (probabilities * scores).sum(axis=1)
    variance = (probabilities * (scores - mean[:, None]) ** 2).sum(axis=1)
    return float(mean.mean()), float(variance.mean())


def _softmax(scores: Float[np.ndarray, "items classes"]) -> Float[np.ndarray, "items classes"]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def calibrated_loss(logits: Float[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"]) -> float:
    """The mean of `calibrated_losses`.

    Args:
        logits: One row at least.
        targets: The class of each item.
    """
    return float(calibrated_losses(logits, targets).mean())


def calibrated_losses(
    logits: Float[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"]
) -> Float[np.ndarray, " items"]:
    """What each item loses with the best temperature between 0.05 and 20 for all of them, in nats; for comparisons.

    Where all items are right, `fit_temperature` says 1, as such items cannot tell how sure to be. Here the least
    temperature is taken then: at 1 weights without an error could look worse than sharpened ones with an error.

    Args:
        logits: One row at least.
        targets: The class of each item.
    """
    behind = logits.astype(np.float64)
    behind -= behind[np.arange(len(targets)), targets][:, None]
    temperature = LOWEST if behind.max() <= 0 else fit_temperature(logits, targets)
    return np.asarray(np.logaddexp.reduce(behind / temperature, axis=1))
