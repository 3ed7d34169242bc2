"""How sure the model was against how often it was right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart._randomness import generator
from headstart.evaluation.intervals import N_DRAWS, wilson
from headstart.evaluation.records import Estimate, ReliabilityBin

_MOST_BINS, _ITEMS_PER_BIN = 15, 20


@dataclass(frozen=True)
class Reliability:
    """Items in bins of similar confidence, from least to most confident.

    Attributes:
        n: Items of each bin, at least 1.
        n_correct: How many of them are right.
        confidence: Their mean probability of the predicted class.
    """

    n: Int[np.ndarray, " bins"]
    n_correct: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]

    def bins(self) -> tuple[ReliabilityBin, ...]:
        """The bins as records."""
        rows = zip(self.confidence.tolist(), self.n_correct.tolist(), self.n.tolist(), strict=True)
        return tuple(ReliabilityBin(confidence=confidence, accuracy=wilson(k, n)) for confidence, k, n in rows)


def reliability(confidence: Float[np.ndarray, " items"], correct: Bool[np.ndarray, " items"]) -> Reliability:
    """Bins of about equal size: at most 15, with 20 items or more each on average, and equal confidences together.

    Args:
        confidence: Probability of each item's predicted class.
        correct: Whether it is the true class.
    """
    n = len(confidence)
    n_bins = min(_MOST_BINS, max(1, n // _ITEMS_PER_BIN))
    edges = np.sort(confidence)[np.arange(1, n_bins) * n // n_bins]
    _, member = np.unique(np.searchsorted(edges, confidence, side="right"), return_inverse=True)
    counts = np.bincount(member)
    return Reliability(
        n=counts,
        n_correct=np.bincount(member, weights=correct).astype(np.int64),
        confidence=np.bincount(member, weights=confidence) / counts,
    )


def calibration_error(bins: Reliability, *, seed: int = 0) -> Estimate:
    """The expected calibration error: the mean over items of |accuracy − confidence| of their bin.

    Noise can only add to it, so a resample of items is worse calibrated than the items are, and a percentile interval
    of a calibrated model never holds its true error, 0. Instead the accuracy of each bin is drawn from its Jeffreys
    posterior. The true error is below the measured one by no more than these draws lie from the measured accuracies
    (the triangle inequality), and above it by no more than the error of the draws exceeds its mean.

    Args:
        bins: What `reliability` gave.
        seed: Seed of the draws.
    """
    share_of_items, accuracy = bins.n / bins.n.sum(), bins.n_correct / bins.n
    error = float(share_of_items @ np.abs(accuracy - bins.confidence))
    wrong = bins.n - bins.n_correct
    draws = generator(seed, "calibration error").beta(bins.n_correct + 0.5, wrong + 0.5, size=(N_DRAWS, len(bins.n)))
    noise = np.abs(draws - accuracy) @ share_of_items
    errors = np.abs(draws - bins.confidence) @ share_of_items
    low = error - float(np.quantile(noise, 0.975))
    high = error + max(0.0, float(np.quantile(errors, 0.975) - errors.mean()))
    return Estimate(value=error, low=max(0.0, low), high=min(1.0, high), n=int(bins.n.sum()))
