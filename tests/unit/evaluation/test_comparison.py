"""Differences between models: signs, small numbers, groups, and no false certainty."""

from __future__ import annotations

import time
from math import comb

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.evaluation.comparison import _sign_flip_p, compare, compare_correct, verdict
from headstart.evaluation.records import Difference


def _pair(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_the_interval_is_that_of_bonett_and_price_by_hand() -> None:
    # One item is added to either disagreement: 13 and 3 of 102.
    difference = compare_correct(*_pair(70, 12, 2, 16))
    p_a, p_b = 13 / 102, 3 / 102
    half = 1.959964 * np.sqrt((p_a + p_b - (p_a - p_b) ** 2) / 102)
    assert difference.value == pytest.approx(0.10)
    assert (difference.low, difference.high) == pytest.approx((p_a - p_b - half, p_a - p_b + half))
    assert difference.n == 100


def test_the_p_value_is_mcnemars_exact_one() -> None:
    tail = sum(comb(14, k) for k in range(3)) / 2**14
    assert compare_correct(*_pair(70, 12, 2, 16)).p_value == pytest.approx(2 * tail)
    assert compare_correct(*_pair(3, 4, 4, 3)).p_value == pytest.approx(1.0)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 40, 200])
def test_the_closed_form_agrees_with_the_sum_over_signs(n: int) -> None:
    for gains in range(n + 1):
        nets = np.repeat([1, -1, 0], [gains, n - gains, 3])
        # Nets of ±2 take the general path and have the same chances.
        assert _sign_flip_p(nets) == pytest.approx(_sign_flip_p(2 * nets), rel=1e-9)


def test_many_items_that_tell_the_models_apart_take_no_time() -> None:
    pair = _pair(2500, 22700, 22300, 2500)
    begin = time.perf_counter()
    difference = compare_correct(*pair)
    assert time.perf_counter() - begin < 0.1
    assert difference.p_value == pytest.approx(0.0598, abs=0.0005)


def test_models_that_never_differ_are_not_said_to_be_equal_for_certain() -> None:
    few, many = compare_correct(*_pair(9, 0, 0, 1)), compare_correct(*_pair(900, 0, 0, 100))
    assert (few.value, few.p_value, verdict(few)) == (0.0, 1.0, "no difference")
    assert few.low < -0.15
    assert few.high > 0.15
    assert many.high - many.low < 0.01


def test_one_item_is_enough_to_compare_and_settles_nothing() -> None:
    difference = compare_correct(np.array([True]), np.array([False]))
    assert (difference.value, difference.p_value) == (1.0, 1.0)
    assert verdict(difference) == "no difference"


def test_swapping_the_models_mirrors_the_interval() -> None:
    a, b = _pair(50, 14, 3, 10)
    one, other = compare_correct(a, b), compare_correct(b, a)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert one.p_value == other.p_value


def test_groups_that_agree_within_count_as_their_number() -> None:
    a, b = _pair(30, 6, 2, 2)
    alone = compare_correct(a, b)
    repeated = compare_correct(np.repeat(a, 5), np.repeat(b, 5), groups=[str(i // 5) for i in range(200)])
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    assert repeated.p_value == pytest.approx(alone.p_value)
    assert repeated.n == 200


def test_groups_of_one_item_change_nothing_much() -> None:
    a, b = _pair(60, 12, 3, 25)
    alone, grouped = compare_correct(a, b), compare_correct(a, b, groups=[str(i) for i in range(100)])
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    assert grouped.p_value == alone.p_value


def test_one_group_settles_nothing() -> None:
    difference = compare_correct(*_pair(0, 50, 0, 0), groups=["only"] * 50)
    assert verdict(difference) == "no difference"


def test_compare_takes_models_with_different_columns() -> None:
    targets = np.array([0, 1, 2, 2])
    difference = compare(targets, np.eye(3)[targets], np.eye(2)[[0, 1, 1, 0]])
    assert difference.value == 0.5


def test_many_disagreements_do_not_underflow() -> None:
    assert compare_correct(*_pair(0, 1500, 1500, 0)).p_value == pytest.approx(1.0)
    assert compare_correct(*_pair(0, 1600, 1400, 0)).p_value == pytest.approx(0.000279, rel=0.01)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.1, "helps"), (-0.1, -0.01, "hurts"), (-0.1, 0.1, "no difference"), (0.0, 0.1, "no difference")],
)
def test_the_verdict_goes_by_the_interval(low: float, high: float, said: str) -> None:
    assert verdict(Difference(value=0.0, low=low, high=high, p_value=0.5, n=9)) == said


def test_unequal_or_no_items_are_refused() -> None:
    with pytest.raises(DataError, match="compared on the same items, at least one, but got 2 and 1"):
        compare_correct(np.array([True, False]), np.array([True]))
    with pytest.raises(DataError, match="at least one, but got 0 and 0"):
        compare_correct(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    with pytest.raises(DataError, match="each item needs one group, but got 1 groups for 2 items"):
        compare_correct(np.array([True, False]), np.array([True, False]), groups=["a"])
