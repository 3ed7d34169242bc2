"""How good predictions are: the usual metrics, each with its interval.

Shares (accuracy, precision, recall, F1, ROC-AUC and their means) carry Wilson intervals, at the effective number of
items that their sampling variance implies; log loss and Brier score carry percentile bootstrap intervals. Where items
come in groups, say several pictures of one animal, whole groups are resampled (cluster bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.errors import DataError
from headstart.evaluation._auc import macro_auc
from headstart.evaluation._class_means import _counter, _means, class_means
from headstart.evaluation._inputs import check_probabilities
from headstart.evaluation._reliability import calibration_error, reliability
from headstart.evaluation.intervals import (
    bootstrap,
    bootstrap_mean,
    harmonic_n,
    kish_n,
    mutual,
    share,
    share_in_groups,
    wilson,
)
from headstart.evaluation.records import ClassReport, Estimate, Evaluation

SMALLEST_PROBABILITY = 1e-15
"""The log loss takes smaller probabilities for this one, so one item costs at most 34.5 nats."""

_LOSS_BOUNDS = (0.0, -math.log(SMALLEST_PROBABILITY))


def correct(
    targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"]
) -> Bool[np.ndarray, " items"]:
    """For each item whether its most probable class (the first of equals) is the true one.

    Args:
        targets: For each item the index of its class; one without a column is never right.
        probabilities: Rows that sum to 1.

    Raises:
        DataError: If there are no items, a row is not a distribution, or targets do not fit.
    """
    check_probabilities(probabilities, targets)
    return np.asarray(probabilities.argmax(axis=1) == targets)


def accuracy(
    targets: Int[np.ndarray, " items"],
    probabilities: Float[np.ndarray, "items classes"],
    *,
    groups: Sequence[str] | None = None,
) -> Estimate:
    """The share of items whose most probable class is the true one, 0 to 1, with its Wilson interval.

    Args:
        targets: For each item the index of its class.
        probabilities: Rows that sum to 1.
        groups: For each item what it belongs with; items of one group need not be independent.

    Raises:
        DataError: If there are no items, a row is not a distribution, or targets or groups do not fit.
    """
    return share_right(correct(targets, probabilities), groups=groups)


def share_right(
    right: Bool[np.ndarray, " items"],
    *,
    groups: Sequence[str] | None = None,
    value: float | None = None,
    cross_validated: bool = False,
) -> Estimate:
    """The share of right ones, 0 to 1, with its Wilson interval.

    Args:
        right: For each item whether its prediction is right; at least one item.
        groups: For each item what it belongs with; items of one group need not be independent.
        value: What is reported instead of the share, such as the share less its optimism, with an interval for as many
            independent items.
        cross_validated: Whether each item was predicted by a model that others among them trained; they are then worth
            fewer independent ones (see `mutual`).
    """
    mean, n = float(right.mean()), len(right)
    wider = mutual(mean) if cross_validated else 1.0
    if groups is None:
        return share(mean if value is None else value, variance=0.0, n=n, n_most=n / wider)
    draws = bootstrap(lambda weights: ((weights @ right) / weights.sum(axis=1))[:, None], n, groups=groups)
    variance, n_perfect = wider * float(draws.var()), kish_n(groups) / wider
    return share_in_groups(mean, variance=variance, groups=groups, n_perfect=n_perfect, reported=value)


def log_loss(
    targets: Int[np.ndarray, " items"],
    probabilities: Float[np.ndarray, "items classes"],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Estimate:
    """The mean negative log probability of the true class in nats; lower is better, 0 is perfect.

    Probabilities below 1e-15 count as 1e-15; that of a class without a column is 0.

    Args:
        targets: For each item the index of its class.
        probabilities: Rows that sum to 1.
        seed: Seed of the bootstrap.
        groups: For each item what it belongs with; whole groups are then drawn.

    Raises:
        DataError: If there are no items, a row is not a distribution, or targets or groups do not fit.
    """
    check_probabilities(probabilities, targets)
    wide = _widened(probabilities, max(int(targets.max()) + 1, probabilities.shape[1]))
    return bootstrap_mean(item_losses(targets, wide), seed=seed, groups=groups, bounds=_LOSS_BOUNDS)


def evaluate_predictions(
    targets: Int[np.ndarray, " items"],
    probabilities: Float[np.ndarray, "items columns"],
    classes: Sequence[str],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Evaluation:
    """All that is said about predictions on items whose targets were not used to make them.

    Means over classes are over those that occur among targets or predictions, and what is undefined for such a class
    counts as 0 there (scikit-learn's labels and `zero_division=0`). The calibration error uses up to 15 bins of about
    equal size, with 20 items or more each on average; equal confidences are never parted.

    With groups, the intervals of the accuracy, of the means over classes, of the log loss and of the Brier score know
    that items of a group are dependent. Those of single classes, of the calibration error and its bins, and of the
    ROC-AUC still take items to be independent, so they are too narrow then.

    Args:
        targets: For each item the index of its class.
        probabilities: Rows that sum to 1; the first classes have columns. The model cannot predict the others: their
            probability is 0.
        classes: The class names, at least as many as there are columns.
        seed: Seed of the bootstrap.
        groups: For each item what it belongs with.

    Raises:
        DataError: If there are no items, a row is not a distribution, targets or columns have no class name, or not
            every item has a group.
    """
    check_probabilities(probabilities, targets)
    n_named = max(int(targets.max()) + 1, probabilities.shape[1])
    if n_named > len(classes):
        raise DataError(
            f"each target and column needs a class name, but {n_named} classes have {len(classes)} names",
            hint="Give the names of all classes, those without a column last.",
        )
    wide = _widened(probabilities, len(classes))
    predictions = wide.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (targets, predictions), 1)
    bins = reliability(wide.max(axis=1), predictions == targets)
    distances = ((wide - np.eye(len(classes))[targets]) ** 2).sum(axis=1)
    return Evaluation(
        n=len(targets),
        accuracy=accuracy(targets, wide, groups=groups),
        **(
            class_means(targets, predictions, len(classes), seed=seed)
            if groups is None
            else _class_means_in_groups(targets, predictions, len(classes), groups, seed=seed)
        ),
        log_loss=bootstrap_mean(item_losses(targets, wide), seed=seed, groups=groups, bounds=_LOSS_BOUNDS),
        brier=bootstrap_mean(distances, seed=seed, groups=groups, bounds=(0.0, 2.0)),
        ece=calibration_error(bins, seed=seed),
        roc_auc=macro_auc(targets, wide),
        per_class=tuple(_class_report(name, confusion, index) for index, name in enumerate(classes)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        reliability=bins.bins(),
    )


def _class_means_in_groups(
    targets: Int[np.ndarray, " items"],
    predictions: Int[np.ndarray, " items"],
    n_classes: int,
    groups: Sequence[str],
    *,
    seed: int,
) -> dict[str, Estimate]:
    """The means over classes by the names of their fields, with variances from resampled groups."""
    count = _counter(targets, predictions, n_classes)
    variances = bootstrap(lambda weights: _means(*count(weights)), len(targets), seed=seed, groups=groups).var(axis=0)
    names = np.asarray(groups)
    of_class = harmonic_n(np.array([kish_n(names[targets == label].tolist()) for label in np.unique(targets)]))
    n_perfect = {False: of_class, True: kish_n(groups)}
    return {
        name: share_in_groups(
            estimate.value, variance=variance, groups=groups, n_perfect=n_perfect[name.endswith("_weighted")]
        )
        for (name, estimate), variance in zip(
            class_means(targets, predictions, n_classes, seed=seed).items(), variances.tolist(), strict=True
        )
    }


def _widened(probabilities: Float[np.ndarray, "items columns"], n_classes: int) -> Float[np.ndarray, "items classes"]:
    """The same in float64, with columns of zeros for the classes that the model does not know."""
    wide = np.zeros((len(probabilities), n_classes))
    wide[:, : probabilities.shape[1]] = probabilities
    return wide


def item_losses(
    targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"]
) -> Float[np.ndarray, " items"]:
    """For each item the negative log probability of its true class in nats, 34.5 at most; `log_loss` is their mean.

    Args:
        targets: For each item the index of its class, which has a column.
        probabilities: Rows that sum to 1.
    """
    of_truth = probabilities[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)))


def _class_report(name: str, confusion: Int[np.ndarray, "classes classes"], index: int) -> ClassReport:
    hits, n, predicted = (int(k) for k in (confusion[index, index], confusion[index].sum(), confusion[:, index].sum()))
    return ClassReport(
        name=name,
        n=n,
        precision=wilson(hits, predicted) if predicted else None,
        recall=wilson(hits, n) if n else None,
        f1=_f1(hits, n + predicted - hits) if n + predicted else None,
    )


def _f1(hits: int, involved: int) -> Estimate:
    """F1 from the Wilson interval of hits among the items of, or predicted as, a class.

    F1 = 2J/(1 + J) of their share J, so the ends carry over (the indirect method of Lam, Gopal and Qian 2023,
    arXiv:2309.14621). Unlike the bootstrap it keeps a width when all or none are hits.
    """
    jaccard = wilson(hits, involved)
    value, low, high = (2 * end / (1 + end) for end in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value=value, low=low, high=high, n=involved)
