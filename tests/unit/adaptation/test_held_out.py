"""What held-out items say about weights, and how they are divided."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from headstart.adaptation._held_out import halves
from headstart.evaluation.calibration import calibrated_loss, calibrated_losses


def loss_at(logits: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(targets)), targets].mean())


@pytest.mark.parametrize("sure", [0.1, 1.0, 10.0])
def test_it_is_the_least_loss_of_any_temperature(sure: float) -> None:
    random = np.random.default_rng(0)
    targets = random.integers(3, size=40)
    logits = sure * (random.normal(size=(40, 3)) + np.eye(3)[targets])
    assert (logits.argmax(axis=1) != targets).any()
    expected = minimize_scalar(lambda t: loss_at(logits, targets, t), bounds=(0.05, 20.0), method="bounded").fun
    assert calibrated_loss(logits, targets) == pytest.approx(expected, rel=1e-5)


def test_what_each_item_loses_is_of_one_temperature_for_all() -> None:
    random = np.random.default_rng(1)
    targets = random.integers(3, size=40)
    logits = random.normal(size=(40, 3)) + 2 * np.eye(3)[targets]
    losses = calibrated_losses(logits, targets)
    assert losses.shape == (40,)
    assert losses.mean() == pytest.approx(calibrated_loss(logits, targets))
    np.testing.assert_allclose(calibrated_losses(7 * logits, targets), losses, rtol=1e-4)


def test_weights_without_an_error_look_better_than_those_with_one() -> None:
    targets = np.zeros(40, dtype=np.int64)
    right = np.tile([0.02, 0.0], (40, 1))
    wrong = np.where(np.arange(40)[:, None] == 0, [[0.0, 0.01]], [[2.0, 0.0]])
    assert calibrated_loss(right, targets) == pytest.approx(loss_at(right, targets, 0.05))
    sharper = np.tile([1.0, 0.0], (40, 1))
    assert calibrated_loss(sharper, targets) < calibrated_loss(wrong, targets) < loss_at(sharper, targets, 1.0)


@pytest.mark.parametrize("n_items", [4, 5, 31, 60])
def test_each_half_has_as_many_of_each_class(n_items: int) -> None:
    targets = np.random.default_rng(1).integers(2, size=n_items)
    (one, other), (again, rest) = halves(targets, 0)
    assert sorted([*one, *other]) == list(range(n_items))
    assert one.tolist() == rest.tolist()
    assert other.tolist() == again.tolist()
    counts = [Counter(targets[rows].tolist()) for rows in (one, other)]
    assert all(abs(counts[0][target] - counts[1][target]) <= 1 for target in (0, 1))


def test_halves_follow_from_the_seed() -> None:
    targets = np.repeat([0, 1], 30)
    assert halves(targets, 0)[0][0].tolist() == halves(targets, 0)[0][0].tolist() != halves(targets, 1)[0][0].tolist()


@pytest.mark.parametrize("n_items", [0, 1, 3])
def test_so_few_items_are_not_divided(n_items: int) -> None:
    assert halves(np.zeros(n_items, dtype=np.int64), 0) == []
