"""Precision, recall and F1, averaged over classes, for many resamples at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from headstart.evaluation.intervals import bootstrap, harmonic_n, share
from headstart.evaluation.records import Estimate

_MACRO = ("balanced_accuracy", "precision_macro", "recall_macro", "f1_macro")
_WEIGHTED = ("precision_weighted", "recall_weighted", "f1_weighted")


def class_means(
    targets: Int[np.ndarray, " items"], predictions: Int[np.ndarray, " items"], n_classes: int, *, seed: int = 0
) -> dict[str, Estimate]:
    """The means over classes by the names of their fields in an `Evaluation`.

    The bootstrap gives the variance, `share` the interval. A perfect score has no variance: a macro mean then counts as
    many items as the harmonic mean of the class sizes allows, so that one class of two items keeps it wide.

    Args:
        targets: For each item the index of its class.
        predictions: For each item the index of the predicted class.
        n_classes: How many classes there are.
        seed: Seed of the bootstrap.
    """
    count = _counter(targets, predictions, n_classes)

    def means(weights: Float[np.ndarray, "draws items"]) -> Float[np.ndarray, "draws means"]:
        return _means(*count(weights))

    n = len(targets)
    values = means(np.ones((1, n), dtype=np.float32))[0].tolist()
    variances = bootstrap(means, n, seed=seed).var(axis=0).tolist()
    sizes = np.bincount(targets, minlength=n_classes)
    n_most = [harmonic_n(sizes[sizes > 0].astype(np.float64))] * len(_MACRO) + [float(n)] * len(_WEIGHTED)
    rows = zip(_MACRO + _WEIGHTED, values, variances, n_most, strict=True)
    return {name: share(value, variance=variance, n=n, n_most=most) for name, value, variance, most in rows}


def _counter(
    targets: Int[np.ndarray, " items"], predictions: Int[np.ndarray, " items"], n_classes: int
) -> Callable[[Float[np.ndarray, "draws items"]], tuple[Float[np.ndarray, "draws classes"], ...]]:
    """Item weights to weighted counts of hits, targets and predictions for each class that occurs."""
    # float32 counts exactly to 2^24, far above the number of items, and is twice as fast.
    one_hot = np.eye(n_classes, dtype=np.float32)[:, np.union1d(targets, predictions)]
    truth, predicted = one_hot[targets], one_hot[predictions]
    hits = truth * predicted
    return lambda weights: (weights @ hits, weights @ truth, weights @ predicted)


def _means(
    hits: Float[np.ndarray, "draws classes"],
    truth: Float[np.ndarray, "draws classes"],
    predicted: Float[np.ndarray, "draws classes"],
) -> Float[np.ndarray, "draws means"]:
    """Macro means over the classes that a draw holds, then means weighted by the draw's class sizes."""
    hits, truth, predicted = hits.astype(np.float64), truth.astype(np.float64), predicted.astype(np.float64)
    precision, recall, f1 = _ratio(hits, predicted), _ratio(hits, truth), _ratio(2 * hits, truth + predicted)
    occurs, has_items = truth + predicted > 0, truth > 0
    macro = [_mean(recall, has_items), *(_mean(values, occurs) for values in (precision, recall, f1))]
    weighted = [_mean(values, truth) for values in (precision, recall, f1)]
    # Sums of ratios may pass 1 in the last digit.
    return np.asarray(np.minimum(np.stack(macro + weighted, axis=1), 1.0))


def _ratio(
    numerator: Float[np.ndarray, "draws classes"], denominator: Float[np.ndarray, "draws classes"]
) -> Float[np.ndarray, "draws classes"]:
    return np.asarray(np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0))


def _mean(values: Float[np.ndarray, "draws classes"], weights: np.ndarray) -> Float[np.ndarray, " draws"]:
    return np.asarray((values * weights).sum(axis=1) / weights.sum(axis=1))
