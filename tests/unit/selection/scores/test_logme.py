from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import kendalltau
from tests.unit.selection.scores.made import made, unit_scale

from headstart.errors import DataError, OptionError
from headstart.selection.scores.logme import logme


def dense_evidence(features: np.ndarray, answers: np.ndarray, log_prior: float, log_noise: float) -> float:
    """The textbook log evidence (Bishop, 2006, eq. 3.86) with the full D×D matrix, in the space without the mean."""
    n_items, width = features.shape
    # An orthonormal basis of what is orthogonal to the intercept: projecting on it is integrating the intercept out.
    plane = np.linalg.svd(np.eye(n_items) - 1 / n_items)[0][:, :-1]
    design, values = plane.T @ features, plane.T @ answers
    prior, precision = np.exp(log_prior), np.exp(log_noise)
    matrix = prior * np.eye(width) + precision * design.T @ design
    weights = precision * np.linalg.solve(matrix, design.T @ values)
    energy = precision / 2 * np.square(values - design @ weights).sum() + prior / 2 * np.square(weights).sum()
    freedom = n_items - 1
    logs = width / 2 * log_prior + freedom / 2 * log_noise - np.linalg.slogdet(matrix)[1] / 2
    return float(logs - energy - freedom / 2 * np.log(2 * np.pi)) / freedom


def largest_evidence(features: np.ndarray, answers: np.ndarray) -> float:
    starts = [(0.0, 0.0), (3.0, 3.0), (-3.0, 3.0), (8.0, 1.0), (-6.0, 8.0)]
    found = [
        minimize(
            lambda logs: -dense_evidence(features, answers, *logs),
            start,
            method="L-BFGS-B",
            bounds=[(-12, 14), (-12, 14)],
            options={"ftol": 1e-13, "gtol": 1e-9},
        ).fun
        for start in starts
    ]
    return -min(found)


@pytest.mark.parametrize(("n_items", "width"), [(60, 5), (24, 24), (20, 60), (30, 1)])
def test_logme_is_the_largest_dense_evidence_whatever_the_width(n_items, width):
    features, targets = made(n_items, width, apart=0.3)
    columns = [(targets == one).astype(float) for one in range(3)]
    expected = np.mean([largest_evidence(unit_scale(features), column) for column in columns])
    assert logme(features, targets) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("n_items", "width"), [(60, 5), (20, 60)])
def test_logme_of_values_is_the_largest_dense_evidence(n_items, width):
    features, _ = made(n_items, width)
    rng = np.random.default_rng(3)
    values = features[:, 0] + rng.standard_normal(n_items) + 40
    assert logme(features, values) == pytest.approx(largest_evidence(unit_scale(features), values), abs=1e-4)
    # The intercept is free, and a unit moves the level by its logarithm.
    assert logme(features, values - 1e3) == pytest.approx(logme(features, values), abs=1e-6)
    assert logme(features, 10 * values) == pytest.approx(logme(features, values) - np.log(10), abs=1e-6)


@pytest.mark.parametrize(("n_items", "width"), [(60, 300), (400, 40)])
def test_logme_grows_with_the_signal_and_does_not_know_the_unit(n_items, width):
    scores = [logme(made(n_items, width, apart=apart)[0], made(n_items, width)[1]) for apart in (0, 0.2, 0.5, 1, 2)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.1
    features, targets = made(n_items, width)
    for scale in (1e-4, 1e4):
        assert logme(features * np.float32(scale), targets) == pytest.approx(logme(features, targets), abs=1e-6)


def test_no_relation_is_as_good_as_no_features():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(200)
    values -= values.mean()
    features = rng.standard_normal((200, 3))
    features -= values[:, None] * (features.T @ values) / np.square(values).sum()  # nothing of the values is left
    alone = -0.5 * (np.log(2 * np.pi * np.square(values).sum() / 199) + 1)
    assert logme(features, values) == pytest.approx(alone, abs=1e-5)


def test_features_that_fit_without_error_give_a_finite_score_above_others():
    targets = np.arange(40) % 4
    perfect = logme(np.eye(4)[targets], targets)
    assert np.isfinite(perfect)
    assert perfect > logme(made(40, 4, 4, apart=3)[0], targets)


@pytest.mark.parametrize(
    ("features", "targets", "error", "message"),
    [
        (np.eye(4), np.arange(4.0)[:3], OptionError, r"one value for each of the 4 items, .* shape \(3,\)"),
        (np.eye(4), np.array([1.0, np.inf, 0, 0]), DataError, r"values must be finite numbers, but 1 of them are not"),
        (np.eye(4), np.ones(4), DataError, r"nothing to predict: all values are the same"),
        (np.ones((4, 2)), np.arange(4) % 2, DataError, r"features that differ between items"),
        (np.eye(4), np.zeros(4, int), DataError, r"all 4 items are of one class"),
    ],
)
def test_logme_refuses(features, targets, error, message):
    with pytest.raises(error, match=message):
        logme(features, targets)


def test_logme_orders_backbones_of_other_widths_and_units_with_fewer_items_than_dimensions():
    rng = np.random.default_rng(0)
    signals = rng.permutation(np.linspace(0, 3, 10))
    widths = [128, 192, 256, 320, 384, 512, 640, 768, 896, 1024]
    scores = []
    for seed, (signal, width) in enumerate(zip(signals, widths, strict=True)):
        # With this exponent the width does not say how hard the classes are to tell apart from few items.
        features, targets = made(100, width, 5, apart=signal * width**-0.25, seed=seed)
        scores.append(logme(features * np.float32(10 ** rng.uniform(-2, 2)), targets))
    assert kendalltau(scores, signals).statistic > 0.8
