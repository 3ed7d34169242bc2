"""Temperatures: the minimum is found, and nothing is made up where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError, OptionError
from headstart.evaluation.calibration import fit_temperature, softmax


def _sample(temperature: float, n: int, seed: int = 0, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose classes are drawn at this temperature."""
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=(n, 4))
    gumbel = rng.gumbel(size=logits.shape)
    return logits, (logits / temperature + gumbel).argmax(axis=1)


def _loss(logits: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    scaled = logits / temperature
    return float((np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(targets)), targets]).mean())


@pytest.mark.parametrize("truth", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(truth: float) -> None:
    logits, targets = _sample(truth, 20_000)
    assert fit_temperature(logits, targets) == pytest.approx(truth, rel=0.04)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 30.0, 1e4])
def test_the_loss_is_never_worse_than_without(scale: float) -> None:
    for seed in range(10):
        logits, targets = _sample(1.0, 15, seed)
        temperature = fit_temperature(scale * logits, targets)
        assert 0.05 <= temperature <= 20
        assert _loss(scale * logits, targets, temperature) <= _loss(scale * logits, targets, 1.0) * (1 + 1e-12)


def test_shifting_all_logits_of_an_item_changes_nothing() -> None:
    logits, targets = _sample(2.0, 50)
    shifted = logits + 1e3 * np.arange(50)[:, None]
    assert fit_temperature(shifted, targets) == pytest.approx(fit_temperature(logits, targets))


def test_items_that_determine_nothing_give_one() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0
    assert fit_temperature(np.ones((5, 3)), np.array([0, 1, 2, 0, 1])) == 1.0
    assert fit_temperature(np.eye(3), np.arange(3)) == 1.0
    assert fit_temperature(np.zeros((4, 1)), np.zeros(4, dtype=int)) == 1.0


def test_a_model_that_is_worse_than_chance_is_made_as_unsure_as_allowed() -> None:
    assert fit_temperature(np.eye(3), np.array([1, 2, 0])) == 20.0


def test_items_of_unknown_classes_are_left_aside() -> None:
    logits, targets = _sample(2.0, 40)
    more = np.vstack([logits, [[9.0, 0, 0, 0]]])
    assert fit_temperature(more, np.append(targets, 4)) == fit_temperature(logits, targets)


def test_softmax_does_not_overflow_and_keeps_float64() -> None:
    probabilities = softmax(np.array([[1e4, 0.0], [-1e4, 0.0]], dtype=np.float32))
    assert probabilities.dtype == np.float64
    assert probabilities.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_high_temperature_makes_probabilities_uniform() -> None:
    assert softmax(np.array([[1.0, 0.0]]), 1e6)[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(OptionError, match=f"a temperature must be positive and finite, but got {temperature}"):
        softmax(np.eye(2), temperature)


def test_broken_logits_are_refused_with_their_item() -> None:
    with pytest.raises(DataError, match=r"logits must be finite, but those of item 1 are \[nan, 0.0\]"):
        fit_temperature(np.array([[0.0, 1.0], [np.nan, 0.0]]), np.array([0, 1]))
    with pytest.raises(DataError, match="each item needs one target, but got 1 targets for 2 items"):
        fit_temperature(np.eye(2), np.array([0]))
