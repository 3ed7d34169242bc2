"""Learning curves: the interval holds the truth, and no gain is claimed that noise explains."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.evaluation.learning_curve import learning_curve
from headstart.evaluation.records import LearningCurve

SIZES = np.array([30, 60, 120, 240])
LITTLE = "More labels of the same kind would add little: under 0.5 points."
TOO_FEW = "Too few items to say what more labels would bring."


def _error(n: float | np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    return np.asarray(a + b * np.asarray(n, dtype=float) ** -c)


def _curve(a: float, b: float, c: float, *, seed: int, n_eval: int = 300, n_draws: int = 5) -> LearningCurve:
    errors = np.repeat(_error(SIZES, a, b, c)[:, None], n_draws, axis=1)
    draws = 1 - np.random.default_rng(seed).binomial(n_eval, errors) / n_eval
    return learning_curve(SIZES, draws, n_eval=n_eval, n_full=300, seed=seed)


@pytest.mark.parametrize(("a", "b", "c"), [(0.05, 0.8, 0.5), (0.0, 1.0, 0.35), (0.1, 1.0, 0.8)])
def test_the_interval_holds_the_true_gain_at_about_its_rate(a: float, b: float, c: float) -> None:
    truth = float(_error(300, a, b, c) - _error(600, a, b, c))
    gains = [_curve(a, b, c, seed=seed).gain_of_doubling for seed in range(100)]
    assert sum(gain is not None and gain.low <= truth <= gain.high for gain in gains) >= 89


def test_without_noise_the_gain_lies_halfway_between_the_fit_and_the_last_doubling() -> None:
    draws = np.repeat(1 - _error(SIZES, 0.05, 1.0, 0.5)[:, None], 2, axis=1)
    draws += [0.0005, -0.0005]
    curve = learning_curve(SIZES, draws, n_eval=5000, n_full=240)
    to_come = float(_error(240, 0.05, 1.0, 0.5) - _error(480, 0.05, 1.0, 0.5))
    measured = float(_error(120, 0.05, 1.0, 0.5) - _error(240, 0.05, 1.0, 0.5))
    assert curve.gain_of_doubling is not None
    assert curve.gain_of_doubling.value == pytest.approx((to_come + measured) / 2, abs=1e-4)
    assert curve.gain_of_doubling.low < to_come < measured < curve.gain_of_doubling.high
    assert curve.sentence.startswith("Doubling the labels would add about 2.3 points (")


def test_an_accelerating_curve_may_gain_what_it_gained_last() -> None:
    draws = np.array([[0.40], [0.41], [0.44], [0.53]]) + np.array([0.002, -0.002])
    gain = learning_curve(SIZES, draws, n_eval=2000, n_full=240).gain_of_doubling
    assert gain is not None
    assert gain.low < gain.value < 0.09 < gain.high


def test_the_last_doubling_counts_only_when_it_is_about_one() -> None:
    sizes = np.array([30, 60, 200])
    draws = 1 - _error(sizes, 0.05, 1.0, 0.5)[:, None] + np.array([0.0005, -0.0005])
    gain = learning_curve(sizes, draws, n_eval=5000, n_full=200).gain_of_doubling
    assert gain is not None
    assert gain.value == pytest.approx(float(_error(200, 0.05, 1.0, 0.5) - _error(400, 0.05, 1.0, 0.5)), abs=1e-4)


def test_one_draw_of_a_size_is_less_certain_than_four() -> None:
    rows = [[0.60, 0.64, 0.62, 0.66], [0.70, 0.74, 0.72, 0.68], [0.78, 0.80, 0.82, 0.76]]
    widths = []
    for last in ([0.84], [0.84] * 4):
        gain = learning_curve(SIZES, [*rows, last], n_eval=400, n_full=240).gain_of_doubling
        assert gain is not None
        widths.append(gain.high - gain.low)
    assert widths[0] > 1.3 * widths[1]


def test_a_flat_curve_is_not_said_to_rise() -> None:
    for seed in range(30):
        curve = _curve(0.1, 0.0, 0.5, seed=seed)
        assert curve.gain_of_doubling is not None
        assert curve.sentence == LITTLE or (
            "no gain can be told from noise" in curve.sentence or curve.gain_of_doubling.low < 0.003
        )


def test_a_falling_curve_gains_nothing_and_says_so() -> None:
    draws = np.array([[0.90, 0.92], [0.89, 0.91], [0.88, 0.90], [0.86, 0.88]])
    curve = learning_curve(SIZES, draws, n_eval=300, n_full=300)
    assert curve.gain_of_doubling is not None
    assert (curve.gain_of_doubling.value, curve.gain_of_doubling.low) == (0.0, 0.0)
    assert curve.sentence == LITTLE or "no gain can be told from noise" in curve.sentence


def test_perfect_accuracy_can_gain_no_more_than_the_error_that_may_be_left() -> None:
    curve = learning_curve(SIZES, np.ones((4, 3)), n_eval=1000, n_full=300)
    assert curve.gain_of_doubling is not None
    assert curve.gain_of_doubling.value == 0
    assert 0 < curve.gain_of_doubling.high < 0.004
    assert curve.sentence == LITTLE
    small = learning_curve(SIZES, np.ones((4, 3)), n_eval=60, n_full=300)
    assert (
        small.sentence
        == "Doubling the labels would add between nothing and 6.0 points: no gain can be told from noise."
    )


def test_equal_draws_are_not_taken_for_certainty() -> None:
    draws = np.repeat([[0.7], [0.8], [0.85], [0.87]], 3, axis=1)
    for columns in (1, 3):
        gain = learning_curve(SIZES, draws[:, :columns], n_eval=200, n_full=240).gain_of_doubling
        assert gain is not None
        assert gain.low < gain.value < gain.high
        assert gain.value > 0.005


def test_points_are_sorted_and_cover_draws_and_items() -> None:
    draws = np.array([[0.9, 0.9], [0.5, 0.9], [0.8, 0.8]])
    curve = learning_curve(np.array([80, 20, 40]), draws, n_eval=100, n_full=100)
    assert [point.n_train for point in curve.points] == [20, 40, 80]
    assert curve.points[0].draws == (0.5, 0.9)
    widths = [point.accuracy.high - point.accuracy.low for point in curve.points]
    assert all(width > 0.12 for width in widths)
    assert all(point.accuracy.low <= point.accuracy.value <= point.accuracy.high for point in curve.points)


@pytest.mark.parametrize(
    ("sizes", "n_eval"), [([50, 100], 500), ([100, 120, 150], 500), ([30, 60, 120], 19)], ids=["two", "close", "items"]
)
def test_too_little_to_go_by_is_said(sizes: list[int], n_eval: int) -> None:
    curve = learning_curve(np.array(sizes), np.full((len(sizes), 3), 0.8), n_eval=n_eval, n_full=200)
    assert (curve.gain_of_doubling, curve.sentence) == (None, TOO_FEW)
    assert len(curve.points) == len(sizes)


def test_an_interval_of_more_than_fifteen_points_says_nothing() -> None:
    draws = np.array([[0.2, 0.3], [0.3, 0.6], [0.5, 0.9]])
    assert learning_curve(np.array([4, 8, 16]), draws, n_eval=20, n_full=20).sentence == TOO_FEW


@pytest.mark.parametrize(
    ("sizes", "draws", "n_eval", "message"),
    [
        ([10, 10], [[0.5], [0.5]], 9, r"positive sizes, each once, but got \[10, 10\]"),
        ([0, 10], [[0.5], [0.5]], 9, r"positive sizes, each once, but got \[0, 10\]"),
        ([10, 20], [[0.5]], 9, r"a row of accuracies for each size, but 2 sizes have rows of \[1\]"),
        ([10], [[50.0]], 9, "accuracies must lie from 0 to 1, but one is 50.0"),
        ([10], [[float("nan")]], 9, "accuracies must lie from 0 to 1, but one is nan"),
        ([10], [[0.5]], 0, "needs at least one item, but got n_eval=0 and n_full=5"),
    ],
)
def test_unusable_curves_are_refused(sizes: list[int], draws: list[list[float]], n_eval: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        learning_curve(np.array(sizes), np.array(draws), n_eval=n_eval, n_full=5)
