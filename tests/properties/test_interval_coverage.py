"""Intervals hold the truth as often as they say, in seeded simulations."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.comparison import compare_correct, verdict
from headstart.evaluation.intervals import nadeau_bengio, wilson
from headstart.evaluation.metrics import evaluate_predictions


@pytest.mark.parametrize("n", [10, 50, 200])
def test_wilson_covers_95_percent_on_average(n: int) -> None:
    # Exact: every count weighted by its binomial chance, averaged over true shares; the mean is 0.952 to 0.954.
    estimates = [wilson(k, n) for k in range(n + 1)]
    rng = np.random.default_rng(0)
    truths = rng.uniform(0.02, 0.98, size=20_000)
    counts = rng.binomial(n, truths)
    low, high = (np.array([getattr(e, end) for e in estimates])[counts] for end in ("low", "high"))
    assert 0.945 < np.mean((low <= truths) & (truths <= high)) < 0.965


@pytest.mark.parametrize(
    ("n", "only_a", "only_b"),
    [(10, 0.05, 0.02), (25, 0.1, 0.03), (50, 0.02, 0.0), (50, 0.2, 0.05), (150, 0.02, 0.02), (300, 0.1, 0.1)],
)
def test_the_paired_interval_covers_at_least_as_often_as_it_says(n: int, only_a: float, only_b: float) -> None:
    rng = np.random.default_rng(n)
    covered = 0
    n_runs = 800
    for only_a_n, only_b_n, _ in rng.multinomial(n, [only_a, only_b, 1 - only_a - only_b], size=n_runs).tolist():
        rest = n - only_a_n - only_b_n
        a = np.repeat([True, False, True], [only_a_n, only_b_n, rest])
        b = np.repeat([False, True, True], [only_a_n, only_b_n, rest])
        difference = compare_correct(a, b)
        covered += difference.low <= only_a - only_b <= difference.high
    assert covered / n_runs > 0.934  # 0.95 less two standard errors


def test_clusters_are_not_mistaken_for_items() -> None:
    rng = np.random.default_rng(0)
    groups = [str(i // 10) for i in range(200)]
    false_alarms = {"grouped": 0, "alone": 0}
    for seed in range(80):
        # Whole groups change side, and which model gains is a coin toss: the truth is 0.
        gains = np.repeat(rng.choice([-1, 0, 1], p=[0.2, 0.6, 0.2], size=20), 10)
        a, b = gains > 0, gains < 0
        false_alarms["grouped"] += verdict(compare_correct(a, b, groups=groups, seed=seed)) != "no difference"
        false_alarms["alone"] += verdict(compare_correct(a, b)) != "no difference"
    assert false_alarms["grouped"] <= 8
    assert false_alarms["alone"] > 30


def test_the_nadeau_bengio_test_is_no_larger_than_its_level_where_the_naive_one_is() -> None:
    """Two equally good learners, ten random splits each: nearest class mean on one of two alike features."""
    rng = np.random.default_rng(0)
    n, n_test, n_splits, n_runs = 60, 12, 10, 400
    corrected = naive = 0
    for _ in range(n_runs):
        targets = np.arange(n) % 2
        features = rng.normal(size=(n, 2)) + targets[:, None]
        order = np.argsort(rng.random((n_splits, n)), axis=1)
        test, train = order[:, :n_test], order[:, n_test:]
        ones = targets[train][..., None]
        means = [(features[train] * side).sum(axis=1) / side.sum(axis=1) for side in (ones, 1 - ones)]
        nearer_one = abs(features[test] - means[0][:, None]) < abs(features[test] - means[1][:, None])
        right = (nearer_one == targets[test][..., None]).mean(axis=1)
        scores = right[:, 0] - right[:, 1]
        interval = nadeau_bengio(scores, n_train=n - n_test, n_test=n_test)
        corrected += not interval.low <= 0 <= interval.high
        naive += abs(scores.mean()) > 2.262 * scores.std(ddof=1) / np.sqrt(n_splits)
    assert corrected / n_runs <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n_runs)
    assert naive / n_runs > 0.15


def test_macro_means_cover_on_a_skewed_problem() -> None:
    """Five classes of falling frequency, each with recall 0.9 and errors spread evenly."""
    rng = np.random.default_rng(0)
    prior = 1 / np.arange(1, 6)
    joint = (prior / prior.sum())[:, None] * np.where(np.eye(5, dtype=bool), 0.9, 0.025)
    precision = np.diag(joint) / joint.sum(axis=0)
    truth_f1 = float(np.mean(2 * precision * 0.9 / (precision + 0.9)))
    covered = {"balanced_accuracy": 0, "f1_macro": 0}
    for seed in range(100):
        cells = rng.choice(25, size=120, p=joint.ravel())
        evaluation = evaluate_predictions(cells // 5, np.eye(5)[cells % 5], list("abcde"), seed=seed)
        for name, truth in (("balanced_accuracy", 0.9), ("f1_macro", truth_f1)):
            estimate = getattr(evaluation, name)
            covered[name] += estimate.low <= truth <= estimate.high
    assert min(covered.values()) >= 89
