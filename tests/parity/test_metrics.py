"""The metrics are those of scikit-learn, on data with absent classes, unpredicted classes and ties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn import metrics as reference

from headstart.evaluation.calibration import fit_temperature, softmax
from headstart.evaluation.metrics import evaluate_predictions


def _data(n: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(n_classes, size=n)
    logits = rng.normal(size=(n, n_classes)) + rng.uniform(0, 2) * np.eye(n_classes)[targets]
    # Two decimals make ties.
    return targets, softmax(np.round(logits, 1))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize(("n", "n_classes", "seed"), [(200, 2, 0), (150, 5, 1), (12, 8, 2), (40, 30, 3), (1, 2, 4)])
def test_class_metrics_and_losses(n: int, n_classes: int, seed: int) -> None:
    targets, probabilities = _data(n, n_classes, seed)
    predictions, labels = probabilities.argmax(axis=1), np.arange(n_classes)
    ours = evaluate_predictions(targets, probabilities, [str(label) for label in labels])
    assert ours.accuracy.value == pytest.approx(reference.accuracy_score(targets, predictions))
    assert ours.balanced_accuracy.value == pytest.approx(
        reference.recall_score(targets, predictions, labels=np.unique(targets), average="macro", zero_division=0)
    )
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = reference.precision_recall_fscore_support(
            targets, predictions, average=average, zero_division=0
        )
        assert getattr(ours, f"precision_{average}").value == pytest.approx(precision)
        assert getattr(ours, f"recall_{average}").value == pytest.approx(recall)
        assert getattr(ours, f"f1_{average}").value == pytest.approx(f1)
    assert ours.confusion == tuple(map(tuple, reference.confusion_matrix(targets, predictions, labels=labels).tolist()))
    assert ours.log_loss.value == pytest.approx(reference.log_loss(targets, probabilities, labels=labels))
    brier = reference.brier_score_loss(targets, probabilities, labels=labels, scale_by_half=False)
    assert ours.brier.value == pytest.approx(brier)


def test_balanced_accuracy() -> None:
    targets, probabilities = _data(300, 6, 5)
    ours = evaluate_predictions(targets, probabilities, list("abcdef"))
    theirs = reference.balanced_accuracy_score(targets, probabilities.argmax(axis=1))
    assert ours.balanced_accuracy.value == pytest.approx(theirs)


@pytest.mark.parametrize(("n_classes", "seed"), [(2, 0), (3, 1), (7, 2)])
def test_roc_auc_with_ties(n_classes: int, seed: int) -> None:
    targets, probabilities = _data(250, n_classes, seed)
    ours = evaluate_predictions(targets, probabilities, [str(i) for i in range(n_classes)])
    scores = probabilities[:, 1] if n_classes == 2 else probabilities
    assert ours.roc_auc is not None
    assert ours.roc_auc.value == pytest.approx(reference.roc_auc_score(targets, scores, multi_class="ovr"))


def test_per_class_numbers() -> None:
    targets, probabilities = _data(90, 4, 6)
    theirs = reference.precision_recall_fscore_support(targets, probabilities.argmax(axis=1), zero_division=0)
    ours = evaluate_predictions(targets, probabilities, list("abcd")).per_class
    for index, report in enumerate(ours):
        assert report.precision is not None
        assert report.recall is not None
        assert report.f1 is not None
        found = (report.precision.value, report.recall.value, report.f1.value, report.n)
        assert found == pytest.approx([column[index] for column in theirs])


@pytest.mark.parametrize("seed", range(5))
def test_the_temperature_is_where_scipy_finds_the_minimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(3, size=60)
    logits = rng.uniform(0.2, 9) * (rng.normal(size=(60, 3)) + np.eye(3)[targets])

    def loss(log_temperature: float) -> float:
        return float(-np.log(softmax(logits, np.exp(log_temperature))[np.arange(60), targets]).sum())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-10})
    assert fit_temperature(logits, targets) == pytest.approx(np.exp(found.x), rel=1e-5)
