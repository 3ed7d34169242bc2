"""Learning curves: the interval holds the truth, and no gain is claimed that noise explains."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from headstart.errors import DataError, OptionError
from headstart.evaluation.intervals import wilson
from headstart.evaluation.learning_curve import labels_needed, learning_curve
from headstart.evaluation.records import Estimate, ExpectedAccuracy, LearningCurve

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


@pytest.mark.parametrize("first", [0.8, 1.0])
def test_perfect_accuracy_can_gain_nothing_and_the_sentence_says_how_sure_that_is(first: float) -> None:
    draws = np.array([[first] * 3, [1.0] * 3, [1.0] * 3, [1.0] * 3])
    curve = learning_curve(SIZES, draws, n_eval=60, n_full=300)
    gain = curve.gain_of_doubling
    assert gain is not None
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)
    least = wilson(60, 60).low
    assert curve.sentence == (
        f"All 60 items are right already, so no gain can be seen: the accuracy is at least {100 * least:.1f} %."
    )
    assert curve.expected
    assert all(each.accuracy.low <= least and each.accuracy.high == 1 for each in curve.expected)
    assert curve.expected[-1].accuracy.value > 0.99


@pytest.mark.parametrize("top", [0.9, 0.95, 0.98])
@pytest.mark.parametrize("step", [0.02, 0.15])
def test_no_gain_leads_beyond_all_items_being_right(top: float, step: float) -> None:
    accuracies = top - step * np.arange(3, -1, -1)
    draws = accuracies[:, None] + np.array([0.01, -0.01])
    curve = learning_curve(SIZES, draws, n_eval=100, n_full=300)
    gain = curve.gain_of_doubling
    assert gain is not None
    assert curve.points[-1].accuracy.value + gain.high <= 1 + 1e-12
    assert all(each.accuracy.high <= 1 for each in curve.expected)


@pytest.mark.parametrize(("a", "b", "c"), [(0.05, 0.8, 0.5), (0.0, 1.0, 0.35), (0.1, 1.0, 0.8)])
def test_intervals_of_expected_accuracies_hold_the_truth(a: float, b: float, c: float) -> None:
    curves = [_curve(a, b, c, seed=seed) for seed in range(60)]
    for place, times in enumerate((1, 2, 4, 8)):
        truth = 1 - float(_error(300 * times, a, b, c))
        said = [curve.expected[place] for curve in curves if len(curve.expected) > place]
        assert len(said) >= 50
        assert all((each.times, each.n_labels) == (times, 300 * times) for each in said)
        held = sum(each.accuracy.low <= truth <= each.accuracy.high for each in said)
        assert held >= 0.9 * len(said)


def test_more_labels_are_never_expected_to_be_worse() -> None:
    for seed in range(20):
        expected = _curve(0.1, 0.3, 0.4, seed=seed, n_eval=60).expected
        for before, after in pairwise(expected):
            for end in ("low", "value", "high"):
                assert getattr(before.accuracy, end) <= getattr(after.accuracy, end) + 1e-12
        for each in expected:
            assert 0 <= each.accuracy.low <= each.accuracy.value <= each.accuracy.high <= 1


def test_without_noise_a_power_law_to_zero_is_continued_exactly() -> None:
    draws = np.repeat(1 - _error(SIZES, 0.0, 1.0, 0.4)[:, None], 2, axis=1) + np.array([0.0002, -0.0002])
    curve = learning_curve(SIZES, draws, n_eval=5000, n_full=240)
    for each in curve.expected:
        assert each.accuracy.value == pytest.approx(1 - float(_error(each.n_labels, 0.0, 1.0, 0.4)), abs=0.002)
    assert "Four times the labels would lead to about 93.6 %" in curve.sentence


def test_an_interval_of_more_than_forty_points_is_not_said() -> None:
    draws = np.array([[0.30, 0.34], [0.40, 0.36], [0.42, 0.46], [0.50, 0.50]])
    curve = learning_curve(SIZES, draws, n_eval=40, n_full=300)
    widths = [each.accuracy.high - each.accuracy.low for each in curve.expected]
    assert len(widths) < 4
    assert all(width <= 0.4 for width in widths)


def _expecting(*ends: tuple[float, float, float]) -> LearningCurve:
    expected = tuple(
        ExpectedAccuracy(2**place, 100 * 2**place, Estimate(value, low, high, 50))
        for place, (low, value, high) in enumerate(ends)
    )
    return LearningCurve((), None, "", expected)


CURVE = _expecting((0.70, 0.80, 0.86), (0.74, 0.84, 0.92), (0.78, 0.90, 0.96))


@pytest.mark.parametrize(
    ("target", "needed"),
    [
        (0.50, (100, 100, 100)),
        (0.72, (100, 100, 142)),
        (0.80, (100, 100, None)),
        (0.82, (142, 100, None)),
        (0.84, (200, 100, None)),
        (0.89, (357, 142, None)),
        (0.93, (None, 238, None)),
        (0.97, (None, None, None)),
        (1.00, (None, None, None)),
    ],
)
def test_labels_are_read_off_on_the_scale_of_doublings(target: float, needed: tuple[int | None, ...]) -> None:
    found = labels_needed(CURVE, target)
    assert (found.n, found.low, found.high) == needed
    assert found.target == target


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (0.5, "50 % is to be expected of the 100 labels that there are."),
        (0.72, "72 % is to be expected of the 100 labels that there are, but it may take up to 150."),
        (0.80, "80 % is to be expected of the 100 labels that there are, but it may take more than 400."),
        (0.75, "75 % is to be expected of the 100 labels that there are, but it may take up to 240."),
        (0.89, "89 % would take about 360 labels (150 to more than 400)."),
        (0.93, "93 % is not to be expected with 400 labels, 4 times as many as now, though about 240 may do at best."),
        (0.975, "97.5 % is out of sight: with 400 labels, 4 times as many as now, at best 96.0 % is to be expected."),
    ],
)
def test_what_a_target_takes_is_said(target: float, sentence: str) -> None:
    assert labels_needed(CURVE, target).sentence == sentence


def test_a_curve_that_says_nothing_has_no_number_of_labels() -> None:
    found = labels_needed(_expecting(), 0.9)
    assert (found.n, found.low, found.high, found.sentence) == (None, None, None, TOO_FEW)


@pytest.mark.parametrize("target", [0.0, -0.5, 1.5, 95.0, float("nan")])
def test_a_target_that_is_no_accuracy_is_refused(target: float) -> None:
    with pytest.raises(OptionError, match="above 0 and at most 1"):
        labels_needed(CURVE, target)


def test_the_next_round_accuracies_are_goals() -> None:
    curve = _curve(0.05, 0.8, 0.5, seed=0)
    at_hand = curve.expected[0].accuracy.value
    assert 1 <= len(curve.goals) <= 2
    assert all(goal == labels_needed(curve, goal.target) and goal.target > at_hand for goal in curve.goals)


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
