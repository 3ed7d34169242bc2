"""Wrong labels are found where they were planted, their number is right, and clean labels are left alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from cleanlab.filter import find_label_issues

from headstart.auditing._confident import confidently_wrong
from headstart.auditing._mislabelling import mislabelling
from headstart.auditing.labels import alike_findings, alike_pairs, label_findings, recalls, suspect_labels
from headstart.auditing.probabilities import ridge_out_of_fold
from headstart.data import Dataset, Items
from headstart.errors import DataError, OptionError


def _blobs(
    n_items: int = 600, n_classes: int = 4, distance: float = 3.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.permutation(np.arange(n_items) % n_classes)
    means = distance * np.eye(n_classes, 12)
    return (means[targets] + random.normal(size=(n_items, 12))).astype(np.float32), targets


def _flipped(targets: np.ndarray, share: float, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    rows = random.choice(len(targets), round(share * len(targets)), replace=False)
    labels = targets.copy()
    labels[rows] = (labels[rows] + random.integers(1, n_classes, size=len(rows))) % n_classes
    return labels, rows


def _out_of_fold(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return ridge_out_of_fold(features, labels, np.arange(len(labels)) % 5, int(labels.max()) + 1)


def _train(targets: np.ndarray, classes: tuple[str, ...] = ("cat", "dog", "cow", "hen")) -> Dataset:
    names = tuple(f"{row}.jpg" for row in range(len(targets)))
    return Dataset(Items("text", names, names, names), targets, classes)


def _scores(found: np.ndarray, planted: np.ndarray) -> tuple[float, float]:
    right = len(np.intersect1d(found, planted))
    return right / max(len(found), 1), right / len(planted)


@pytest.mark.parametrize(("n_classes", "distance"), [(2, 3.0), (4, 2.0), (4, 4.0), (8, 3.0)])
def test_planted_errors_are_found_better_than_by_cleanlabs_default(n_classes: int, distance: float) -> None:
    ours, theirs = [], []
    for seed in range(6):
        features, targets = _blobs(n_classes=n_classes, distance=distance, seed=seed)
        labels, planted = _flipped(targets, 0.08, n_classes, seed)
        probabilities = _out_of_fold(features, labels)
        ours.append(_scores(suspect_labels(labels, probabilities).rows, planted))
        theirs.append(_scores(np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1)), planted))
    precision, recall = np.mean(ours, axis=0)
    assert recall >= 0.75
    assert precision >= 0.5
    assert 2 / (1 / precision + 1 / recall) > 2 / (1 / np.mean(theirs, axis=0)).sum()


def test_the_suggestion_is_the_true_class_and_the_surest_comes_first() -> None:
    features, targets = _blobs(distance=5)
    labels, planted = _flipped(targets, 0.08, 4)
    suspects = suspect_labels(labels, _out_of_fold(features, labels))
    both = np.isin(suspects.rows, planted)
    assert (suspects.suggested == targets[suspects.rows])[both].mean() > 0.95
    assert (np.diff(suspects.chance) <= 0).all()
    assert (suspects.quality < suspects.probability).all()
    assert both[: len(planted) // 2].all()


@pytest.mark.parametrize("share", [0.0, 0.03, 0.08, 0.2])
def test_the_rate_of_wrong_labels_is_within_its_interval(share: float) -> None:
    within = []
    for seed in range(10):
        features, targets = _blobs(n_items=800, seed=seed)
        labels, _ = _flipped(targets, share, 4, seed)
        found = mislabelling(labels, _out_of_fold(features, labels))
        assert 0 <= found.low <= found.rate <= found.high
        assert found.rate == pytest.approx(share, abs=0.04)
        within.append(found.low - 0.005 <= share <= found.high + 0.005)
    assert sum(within) >= 8


def test_the_rate_is_that_with_the_greatest_likelihood() -> None:
    features, targets = _blobs(distance=2)
    labels, _ = _flipped(targets, 0.1, 4)
    probabilities = _out_of_fold(features, labels)
    found = mislabelling(labels, probabilities)

    def likelihood(rate: float, sharpness: float) -> float:
        clean = probabilities.astype(np.float64) ** sharpness
        own = (clean / clean.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]
        return float(np.log((1 - rate) * own + rate * (1 - own) / 3).sum())

    best = likelihood(found.rate, found.sharpness)
    others = [likelihood(rate, sharp) for rate in np.linspace(0, 0.5, 51) for sharp in (0.5, 1, 2, 4, found.sharpness)]
    assert best >= max(others) - 1e-6
    # An end of the interval is where no sharpness reaches the best less half the quantile of χ².
    edge = max(likelihood(found.high, 2 ** (step / 4)) for step in range(-6, 13))
    assert edge == pytest.approx(best - 1.9207, abs=0.02)


def test_chances_are_bayes_rule() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05], [0.02, 0.9, 0.08]] * 50)
    targets = np.array([0, 0] * 5 + [0, 1] * 45)
    found = mislabelling(targets, probabilities)
    own = probabilities[1] ** found.sharpness / (probabilities[1] ** found.sharpness).sum()
    wrong = found.rate * (1 - own[0]) / 2
    expected = wrong / (wrong + (1 - found.rate) * own[0])
    assert found.chances(targets, probabilities)[1] == pytest.approx(expected, rel=1e-9)


def test_clean_labels_give_few_suspects_and_no_alarm() -> None:
    for seed in range(5):
        features, targets = _blobs(distance=2.5, seed=seed)
        suspects = suspect_labels(targets, _out_of_fold(features, targets))
        assert suspects.wrong.low < 0.005
        assert len(suspects) <= 0.05 * len(targets)
        assert [each.severity for each in label_findings(_train(targets), suspects)] in ([], ["info"])


def test_confident_learning_is_cleanlabs() -> None:
    features, targets = _blobs(distance=2)
    labels, _ = _flipped(targets, 0.1, 4)
    probabilities = _out_of_fold(features, labels)
    theirs = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    np.testing.assert_array_equal(confidently_wrong(labels, probabilities), theirs)


def test_items_of_tiny_classes_are_not_judged() -> None:
    features, targets = _blobs(n_items=200, n_classes=3)
    targets[:2] = 3  # a class of two items that no other fold knows
    probabilities = ridge_out_of_fold(features, targets, np.zeros(200, int) + (np.arange(200) > 1), 4)
    suspects = suspect_labels(targets, probabilities)
    assert not set(suspects.rows) & {0, 1}
    assert 3 not in suspects.suggested
    assert (suspects.wrong.n, suspects.n_items) == (198, 200)


def test_without_two_classes_to_judge_nothing_is_suspected() -> None:
    suspects = suspect_labels(np.array([0, 1, 0]), np.full((3, 2), 0.5))
    assert (len(suspects), suspects.wrong.n, suspects.wrong.high) == (0, 0, 1.0)
    assert list(label_findings(_train(np.array([0, 1, 0])), suspects)) == []


def test_a_classifier_that_knows_nothing_suspects_nothing() -> None:
    targets = np.arange(300) % 3
    assert len(suspect_labels(targets, np.full((300, 3), 1 / 3))) == 0


def test_the_probabilities_and_labels_are_not_changed() -> None:
    features, targets = _blobs(n_items=100)
    probabilities = _out_of_fold(features, targets)
    before = probabilities.copy(), targets.copy()
    suspect_labels(targets, probabilities)
    np.testing.assert_array_equal(probabilities, before[0])
    np.testing.assert_array_equal(targets, before[1])


def test_the_finding_shows_what_to_look_at() -> None:
    features, targets = _blobs(distance=5)
    labels, _ = _flipped(targets, 0.08, 4)
    suspects = suspect_labels(labels, _out_of_fold(features, labels))
    (finding,) = label_findings(_train(labels), suspects)
    assert (finding.kind, finding.severity, finding.count) == ("suspected_label_errors", "serious", len(suspects))
    assert finding.items[0] == f"{suspects.rows[0]}.jpg"
    classes = ("cat", "dog", "cow", "hen")
    first = suspects.rows[0]
    assert finding.examples[0].note == (
        f"labelled {classes[labels[first]]!r}, looks like {classes[suspects.suggested[0]]!r} "
        f"({suspects.probability[0]:.2f})"
    )
    assert "of 600" in finding.summary
    assert "51%" in finding.advice
    assert "nothing is removed" in finding.advice


def test_classes_that_are_one_are_told() -> None:
    features, targets = _blobs(n_items=400, n_classes=3, distance=4)
    halves = np.where((targets == 2) & (np.arange(400) % 2 == 0), 3, targets)  # class 2 under two names
    probabilities = ridge_out_of_fold(features, halves, np.arange(400) % 5, 4)
    ((first, second, area),) = alike_pairs(halves, probabilities)
    assert (first, second) == (2, 3)
    assert area.low < 0.55 < area.high + 0.1 < 0.85
    (finding,) = alike_findings(_train(halves), probabilities)
    assert (finding.kind, finding.count, finding.items) == ("classes_alike", 1, ("cow", "hen"))
    assert len(finding.examples[0].items) == 2


def test_classes_that_differ_or_are_small_are_not_called_alike() -> None:
    features, targets = _blobs(n_items=400, distance=3)
    assert alike_pairs(targets, _out_of_fold(features, targets)) == []
    few = np.concatenate([np.arange(200) % 2, np.full(15, 2), np.full(15, 3)])
    assert alike_pairs(few, np.full((230, 4), 0.25)) == [(0, 1, alike_pairs(few, np.full((230, 4), 0.25))[0][2])]


def test_recalls_are_shares_of_each_class() -> None:
    probabilities = np.array([[0.6, 0.4, 0], [0.3, 0.7, 0], [0.1, 0.9, 0]])
    np.testing.assert_array_equal(recalls(np.array([0, 0, 1]), probabilities), [0.5, 1.0, np.nan])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match="one target for each row"):
        suspect_labels(np.zeros(3, int), np.full((2, 2), 0.5))
    with pytest.raises(DataError, match="a target must be from 0 to 1"):
        suspect_labels(np.array([0, 2]), np.full((2, 2), 0.5))
    with pytest.raises(DataError, match="sum to 1"):
        suspect_labels(np.array([0, 1]), np.array([[2.0, 3.0], [0.5, 0.5]]))


@pytest.mark.slow
def test_torch_is_not_needed() -> None:
    code = (
        "import sys, numpy as np; from headstart.auditing.labels import suspect_labels; "
        "suspect_labels(np.arange(40) % 2, np.full((40, 2), 0.5)); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
