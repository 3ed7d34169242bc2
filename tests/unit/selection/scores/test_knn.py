from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError, OptionError
from headstart.selection.scores import knn
from headstart.selection.scores.knn import knn_accuracy, knn_right


def noisy(n_items: int, width: int, n_classes: int = 4, seed: int = 0):
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(n_items) % n_classes)
    features = rng.standard_normal((n_classes, width))[targets] + 1.5 * rng.standard_normal((n_items, width))
    return features.astype(np.float32), targets


def by_hand(features: np.ndarray, targets: np.ndarray, k: int) -> np.ndarray:
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    right = []
    for item, row in enumerate(unit @ unit.T):
        row[item] = -np.inf
        nearest = np.argsort(-row)[:k]
        votes = {
            target: (np.sum(targets[nearest] == target), row[nearest[targets[nearest] == target]].sum())
            for target in targets[nearest]
        }
        right.append(max(votes, key=lambda target: votes[target]) == targets[item])
    return np.array(right)


@pytest.mark.parametrize("k", [1, 2, 5, 300])
@pytest.mark.parametrize("block_values", [2**22, 700])
def test_votes_are_those_counted_by_hand_however_items_are_blocked(k, block_values, monkeypatch):
    monkeypatch.setattr(knn, "_BLOCK_VALUES", block_values)
    features, targets = noisy(120, 10)
    np.testing.assert_array_equal(knn_right(features, targets, k=k), by_hand(features, targets, min(k, 119)))


def test_the_order_of_items_and_the_scale_do_not_matter_and_inputs_are_left_alone():
    features, targets = noisy(90, 6)
    features = np.concatenate([features, features[:30]])
    targets = np.concatenate([targets, np.roll(targets[:30], 1)])
    copies = features.copy(), targets.copy()
    order = np.random.default_rng(1).permutation(120)
    right = knn_right(features, targets, k=3)
    np.testing.assert_array_equal(knn_right(features[order], targets[order], k=3), right[order])
    np.testing.assert_array_equal(knn_right(features * np.float32(1e20), targets, k=3), right)
    np.testing.assert_array_equal(features, copies[0])
    np.testing.assert_array_equal(targets, copies[1])


def test_an_item_does_not_vote_for_itself():
    features = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.01, 1.0]], np.float32)
    assert knn_accuracy(features, np.array([0, 0, 1, 1]), k=1) == 1.0
    assert knn_accuracy(features, np.array([0, 1, 1, 0]), k=1) == 0.0


def test_neighbours_that_differ_by_rounding_are_equally_near():
    angles = np.array([0, 0.1, -0.1 - 1e-5, -0.1 - 1e-5])
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    features = np.concatenate([around, -around])  # centred already
    targets = np.array([1, 0, 1, 1, 2, 2, 2, 2])
    assert knn_right(features, targets, k=1)[0]  # two votes to one, though the one is nearer by 1e-6


def test_classes_may_be_missing_and_features_constant():
    features, _ = noisy(20, 5)
    assert 0 <= knn_accuracy(features, np.where(np.arange(20) < 10, 0, 7)) <= 1
    assert np.isfinite(knn_accuracy(np.ones((20, 5), np.float32), np.arange(20) % 2))


@pytest.mark.parametrize(
    ("features", "targets", "k", "error", "message"),
    [
        (np.ones((1, 2)), np.zeros(1, int), 1, DataError, r"2 items or more, but the features have the shape \(1, 2\)"),
        (np.full((3, 2), np.inf), np.zeros(3, int), 1, DataError, r"must be finite numbers, but 6 of them are not"),
        (np.eye(3), np.array([0, -1, 0]), 1, OptionError, r"one target, 0 or greater, .* the least is -1"),
        (np.eye(3), np.zeros(2, int), 1, OptionError, r"for each of the 3 items, but their shape is \(2,\)"),
        (np.eye(3), np.zeros(3, int), 0, OptionError, r"k must be 1 or greater, but got 0"),
    ],
)
def test_knn_refuses(features, targets, k, error, message):
    with pytest.raises(error, match=message):
        knn_right(features, targets, k=k)
