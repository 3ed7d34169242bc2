"""How often labels are wrong, by likelihood: each label is, with some chance, one of the other classes at random.

With clean probabilities p ∝ P^β for what the classifier says (P), a label y of K classes is seen with probability
(1 − η)·p_y + η·(1 − p_y)/(K − 1), the contaminated model of Copas (1988, JRSS B 50:225) for more than two classes. The
rate η and the sharpness β are those with the greatest likelihood. Labels that the classifier finds improbable more
often than its own doubt explains raise η; a classifier that doubts everywhere does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

SHARPNESSES: tuple[float, ...] = tuple(float(f"{2 ** (step / 4):.4g}") for step in range(-6, 13))
"""From 0.35 to 8. Above 1 for the most part: the temperature that fits labels of which some are wrong is too high."""

_MOST_RATE = 0.6
_NUMBERS = 2_000_000  # that the rate is fitted on
_ITEMS = 20_000
_ROWS = 1024
_TINY = 1e-12
_HALF_CHI_SQUARED = 1.9207  # half the 95 % quantile of χ² on one degree of freedom
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Mislabelling:
    """How often labels are wrong.

    Attributes:
        rate: The share of wrong labels, η, from 0 to 0.6.
        low: The lower end of its 95 % profile-likelihood interval.
        high: The upper end.
        sharpness: β; above 1 the classifier is surer than it says, once wrong labels are allowed for.
    """

    rate: float
    low: float
    high: float
    sharpness: float

    def chances(
        self, targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"]
    ) -> Float[np.ndarray, " items"]:
        """For each item the chance that its label is wrong, 0 to 1, by Bayes' rule.

        Args:
            targets: The class of each item.
            probabilities: Of models that did not see the item.
        """
        chances = np.empty(len(targets))
        for start in range(0, len(targets), _ROWS):
            some = slice(start, start + _ROWS)
            own = _own(_logs(probabilities[some]), targets[some], self.sharpness)
            wrong = self.rate * (1 - own) / (probabilities.shape[1] - 1)
            chances[some] = wrong / np.maximum((1 - self.rate) * own + wrong, _TINY)
        return chances


def mislabelling(targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"]) -> Mislabelling:
    """The most likely rate of wrong labels; its interval holds where they are wrong at random.

    Args:
        targets: The class of each item.
        probabilities: Of models that did not see the item; two classes or more. Of many items, each so many-th is
            looked at.
    """
    n_items, n_classes = probabilities.shape
    every = max(-(-probabilities.size // _NUMBERS), -(-n_items // _ITEMS), 1)
    logs, seen = _logs(probabilities[::every]), targets[::every]
    # A wrong label is drawn from all classes alike, so that chance would say 1 / K of them right.
    most = min(_MOST_RATE, 0.9 * (n_classes - 1) / n_classes)
    own = np.stack([_own(logs, seen, sharpness) for sharpness in SHARPNESSES])
    # The chance of seeing a label is linear in the rate, so its likelihood is concave for each sharpness.
    gains = (1 - n_classes * own) / (n_classes - 1)

    def likelihoods(rate: float) -> Float[np.ndarray, " sharpnesses"]:
        logarithms: np.ndarray = np.log(np.maximum(own + rate * gains, _TINY)).sum(axis=1)
        return logarithms

    def slope(place: int, rate: float) -> float:
        return float((gains[place] / np.maximum(own[place] + rate * gains[place], _TINY)).sum())

    rates = [_crossing(partial(slope, place), 0.0, most) for place in range(len(own))]
    tops = [likelihoods(rate)[place] for place, rate in enumerate(rates)]
    place = int(np.argmax(tops))
    floor = tops[place] - _HALF_CHI_SQUARED
    low = _crossing(lambda rate: floor - likelihoods(rate).max(), 0.0, rates[place])
    high = _crossing(lambda rate: likelihoods(rate).max() - floor, rates[place], most)
    return Mislabelling(rates[place], low, high, SHARPNESSES[place])


def _logs(probabilities: Float[np.ndarray, "items classes"]) -> Float[np.ndarray, "items classes"]:
    logs: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), _TINY))
    return logs


def _own(
    logs: Float[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"], sharpness: float
) -> Float[np.ndarray, " items"]:
    """The probability of each item's label after sharpening."""
    powers = np.exp(sharpness * (logs - logs.max(axis=1, keepdims=True)))
    own: np.ndarray = powers[np.arange(len(targets)), targets] / powers.sum(axis=1)
    return own


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls from above to below 0 crosses it; an end of the range where it does not."""
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
