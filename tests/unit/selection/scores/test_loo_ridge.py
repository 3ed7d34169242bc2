from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError, OptionError
from headstart.selection.scores.loo_ridge import PENALTIES, loo_accuracy, loo_ridge, loo_right


def noisy(n_items: int, width: int, n_classes: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    targets = np.arange(n_items) % n_classes
    return rng.standard_normal((n_classes, width))[targets] + 2 * rng.standard_normal((n_items, width)), targets


def refitted(features: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge with a free intercept, by its normal equations, once for each item that is left out."""
    centred = features - features.mean(axis=0)
    scaled = centred / np.sqrt(np.square(centred).sum(axis=1).mean())
    design = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
    ridge = penalty * len(scaled) * np.diag([1.0] * scaled.shape[1] + [0.0])
    onehot = np.eye(targets.max() + 1)[targets]
    scores = np.empty_like(onehot)
    for item in range(len(scaled)):
        others = np.arange(len(scaled)) != item
        seen = design[others]
        scores[item] = design[item] @ np.linalg.solve(seen.T @ seen + ridge, seen.T @ onehot[others])
    return scores


@pytest.mark.parametrize(("n_items", "width"), [(40, 6), (24, 50), (2, 3), (30, 1)])
@pytest.mark.parametrize("penalty", [0.1, 1e-3])
def test_scores_are_those_of_refits_without_the_item(n_items, width, penalty):
    features, targets = noisy(n_items, width)
    found = loo_ridge(features, targets, n_classes=targets.max() + 1, penalties=[penalty])
    expected = refitted(features, targets, penalty)
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    assert found.accuracy == (np.mean(expected.argmax(axis=1) == targets),)


def test_the_best_penalty_has_the_least_error_and_its_scores_are_kept():
    features, targets = noisy(60, 100)
    every = loo_ridge(features, targets, n_classes=3)
    alone = loo_ridge(features, targets, n_classes=3, penalties=[PENALTIES[every.best]])
    assert every.squared_error[every.best] == min(every.squared_error)
    np.testing.assert_allclose(every.scores, alone.scores)
    assert loo_accuracy(features, targets) == every.accuracy[every.best] == loo_right(features, targets).mean()


def test_good_features_score_above_noise_and_noise_near_chance():
    targets = np.arange(90) % 3
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((90, 200))
    good = noise + 3 * rng.standard_normal((3, 200))[targets]
    assert loo_accuracy(good, targets) > 0.95
    assert loo_accuracy(noise, targets) < 0.55


def test_the_order_of_items_and_the_scale_do_not_matter_and_inputs_are_left_alone():
    features, targets = noisy(50, 80)
    copy = features.copy()
    order = np.random.default_rng(1).permutation(50)
    right = loo_right(features, targets)
    np.testing.assert_array_equal(loo_right(features[order], targets[order]), right[order])
    np.testing.assert_array_equal(loo_right(1e6 * features + 5, targets), right)
    np.testing.assert_array_equal(features, copy)


@pytest.mark.parametrize("features", [np.ones((6, 3)), np.zeros((6, 3)), np.repeat(np.eye(2), 3, axis=0), np.eye(6)])
def test_degenerate_features_give_finite_scores(features):
    found = loo_ridge(features.astype(np.float32), np.arange(6) % 2, n_classes=2)
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.squared_error).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": np.ones((1, 2)), "targets": np.zeros(1, int)}, DataError, r"2 items or more, but .* \(1, 2\)"),
        ({"features": np.full((4, 2), np.nan)}, DataError, r"must be finite numbers, but 8 of them are not"),
        ({"targets": np.array([0, 1, 2, 0])}, OptionError, r"one target from 0 to 1 for each of the 4 items"),
        ({"targets": np.zeros(3, int)}, OptionError, r"but their shape is \(3,\) and they go from 0 to 0"),
        ({"penalties": [0.0]}, OptionError, r"penalties must be positive numbers, but got \[0.0\]"),
        ({"penalties": []}, OptionError, r"penalties must be positive numbers, but got \[\]"),
    ],
)
def test_loo_ridge_refuses(change, error, message):
    arguments = {"features": np.eye(4, 2), "targets": np.arange(4) % 2, "n_classes": 2} | change
    with pytest.raises(error, match=message):
        loo_ridge(arguments.pop("features"), arguments.pop("targets"), **arguments)
