"""Differences between models: signs, small numbers, groups, and no false certainty."""

from __future__ import annotations

import time
from math import comb

import numpy as np
import pytest
from scipy.stats import fisher_exact

from headstart.errors import DataError
from headstart.evaluation.comparison import (
    _sign_flip_p,
    compare,
    compare_apart,
    compare_correct,
    is_tie,
    verdict,
    would_tie,
)
from headstart.evaluation.intervals import wilson
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


def test_repeats_are_no_further_items() -> None:
    a, b = _pair(70, 12, 2, 16)
    once, thrice = compare_correct(a, b), compare_correct(np.stack([a] * 3), np.stack([b] * 3))
    assert (once.value, once.low, once.high, once.n) == (thrice.value, thrice.low, thrice.high, thrice.n)
    assert thrice.p_value == pytest.approx(once.p_value)


def test_repeats_average_out_what_folds_do() -> None:
    a, b = _pair(70, 12, 2, 16)
    # In the second repeat the folds are unkind to other items: what was gained is lost again.
    repeated = compare_correct(np.stack([a, b]), np.stack([b, a]))
    assert (repeated.value, repeated.p_value) == (0.0, 1.0)
    half = 1.959964 * np.sqrt((2 / 102) / 102)
    assert repeated.high == pytest.approx(half)


def test_repeats_of_groups_count_groups() -> None:
    a, b = _pair(30, 8, 2, 10)
    groups = [str(row // 5) for row in range(50)]
    once = compare_correct(a, b, groups=groups)
    assert compare_correct(np.stack([a, a]), np.stack([b, b]), groups=groups) == once


@pytest.mark.parametrize("grouped", [False, True])
def test_the_fast_question_has_the_same_answer(grouped: bool) -> None:
    rng = np.random.default_rng(0)
    different = 0
    for _ in range(60):
        n = int(rng.integers(20, 300))
        a, b = rng.random((2, n)) < rng.uniform(0.7, 0.9, size=(2, 1))
        clusters = rng.integers(0, max(2, n // 4), size=n)
        slow = is_tie(compare_correct(a, b, groups=list(map(str, clusters)) if grouped else None), margin=0.02)
        fast = would_tie(a, b, margin=0.02, clusters=np.unique(clusters, return_inverse=True)[1] if grouped else None)
        different += slow != fast
    # Without groups it is the same formula; with them the bootstrap has chance of its own.
    assert different <= (1 if grouped else 0)


def test_shares_of_different_items_are_compared_as_newcombe_does() -> None:
    # Newcombe 1998 (Stat. Med. 17:873), table II, method 10: 56/70 − 48/80 and 9/10 − 3/10.
    for k, n, other_k, other_n, low, high in ((56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090)):
        apart = compare_apart(wilson(k, n), wilson(other_k, other_n))
        assert (round(apart.low, 4), round(apart.high, 4), apart.n) == (low, high, min(n, other_n))
        assert apart.value == pytest.approx(k / n - other_k / other_n)


@pytest.mark.parametrize(
    ("k", "n", "other_k", "other_n"), [(56, 70, 48, 80), (9, 10, 3, 10), (0, 5, 5, 5), (4, 4, 9, 9)]
)
def test_the_p_value_of_different_items_is_fishers(k: int, n: int, other_k: int, other_n: int) -> None:
    expected = fisher_exact([[k, n - k], [other_k, other_n - other_k]]).pvalue
    assert compare_apart(wilson(k, n), wilson(other_k, other_n)).p_value == pytest.approx(expected)
