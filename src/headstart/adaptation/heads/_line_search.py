"""How far to go along a direction: Newton's method on the slope, within a bracket, for many problems at once.

Logits are linear along a direction, so the slope at any distance costs a softmax and no matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_TRIALS = 8
_SLOPE_LEFT = 0.25
"""A trial is good enough when this share of the first slope is left."""
LONGEST = 2.0
"""A longer step would say that the curvature was overestimated. It is not taken, because coefficients that change no
logits (the items' features may be linearly dependent) would overshoot, and grow from step to step."""
_TINY = 1e-200


def softmax(logits: Float[np.ndarray, "problems classes rows"]) -> Float[np.ndarray, "problems classes rows"]:
    """Probabilities over the classes."""
    logits = logits - logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


@dataclass(frozen=True, eq=False)
class Line:
    """The objective of each problem along one direction.

    Attributes:
        base: The logits at distance 0.
        along: The change of the logits for a distance of 1, less that of each row's target. Written so, a row that is
            certain of its target adds zeros, and nothing is lost to cancellation however small the penalty.
        weights: How often each row counts in each problem.
        pull: The slope of the penalty at distance 0.
        stiffness: The second derivative of the penalty, the same everywhere.
    """

    base: Float[np.ndarray, "problems classes rows"]
    along: Float[np.ndarray, "problems classes rows"]
    weights: Float[np.ndarray, "problems rows"]
    pull: Float[np.ndarray, " problems"]
    stiffness: Float[np.ndarray, " problems"]

    def probabilities(self, distances: Float[np.ndarray, " problems"]) -> Float[np.ndarray, "problems classes rows"]:
        """The probabilities at these distances."""
        return softmax(self.base + distances.astype(self.base.dtype)[:, None, None] * self.along)

    def derivatives(
        self, probabilities: Float[np.ndarray, "problems classes rows"], distances: Float[np.ndarray, " problems"]
    ) -> tuple[Float[np.ndarray, " problems"], Float[np.ndarray, " problems"]]:
        """The slope and the second derivative where the probabilities are these."""
        weighted = probabilities * self.along
        mean = weighted.sum(axis=1)
        spread = np.einsum("pki,pki->pi", weighted, self.along) - mean * mean
        slope = (mean * self.weights).sum(axis=1, dtype=np.float64)
        bend = (spread * self.weights).sum(axis=1, dtype=np.float64)
        return slope + self.pull + distances * self.stiffness, bend + self.stiffness


def search(
    line: Line, probabilities: Float[np.ndarray, "problems classes rows"]
) -> tuple[Float[np.ndarray, " problems"], Float[np.ndarray, "problems classes rows"]]:
    """The distance to go in each problem, and the probabilities there.

    A distance is 0 where the direction does not lead down.

    Args:
        line: The objective along the direction.
        probabilities: The probabilities at distance 0.
    """
    distances = low = np.zeros(len(line.weights))
    high = np.full(len(distances), np.inf)
    slope, bend = line.derivatives(probabilities, distances)
    enough = _SLOPE_LEFT * np.abs(slope)
    done = slope >= 0
    for _ in range(_TRIALS):
        newton = np.minimum(distances - slope / np.maximum(bend, _TINY), LONGEST)
        inside = (newton > low) & (newton < high)
        distances = np.where(done, distances, np.where(inside, newton, (low + high) / 2))
        probabilities = line.probabilities(distances)
        slope, bend = line.derivatives(probabilities, distances)
        done |= (np.abs(slope) <= enough) | ((distances >= LONGEST) & (slope < 0))
        if done.all():
            return distances, probabilities
        low, high = np.where(slope < 0, distances, low), np.where(slope >= 0, distances, high)
    # The objective is convex: as long as the slope is negative, a distance is better than 0.
    distances = np.where(done, distances, low)
    return distances, line.probabilities(distances)
