"""Intervals: closed forms, and what happens where there is little to go by."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError, OptionError
from headstart.evaluation.intervals import (
    bootstrap,
    bootstrap_mean,
    harmonic_n,
    nadeau_bengio,
    resamples,
    share,
    share_in_repeats,
    wilson,
)


def test_wilson_matches_published_values() -> None:
    # Newcombe 1998 (Stat. Med. 17:857), table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for k, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        estimate = wilson(k, n)
        assert (round(estimate.low, 4), round(estimate.high, 4), estimate.n) == (low, high, n)


def test_wilson_reaches_the_ends_exactly() -> None:
    assert wilson(7, 7).high == 1.0
    assert wilson(0, 7).low == 0.0


def test_wilson_is_wider_at_a_higher_level() -> None:
    assert wilson(5, 9, level=0.99).low < wilson(5, 9).low


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(OptionError, match=f"a count from 0 to n and an n of at least 1, but got {k} of {n}"):
        wilson(k, n)


def test_wilson_refuses_a_level_in_percent() -> None:
    with pytest.raises(OptionError, match="a level must lie between 0 and 1, but got 95"):
        wilson(1, 2, level=95.0)


def test_share_with_binomial_variance_is_wilson() -> None:
    estimate = share(0.3, variance=0.3 * 0.7 / 50, n=50, n_most=100.0)
    assert estimate.low == pytest.approx(wilson(15, 50).low)
    assert estimate.high == pytest.approx(wilson(15, 50).high)


def test_share_without_variance_keeps_a_width() -> None:
    assert share(1.0, variance=0.0, n=50, n_most=10.0).low == pytest.approx(wilson(10, 10).low)


def test_harmonic_n_is_all_items_when_classes_are_equal_and_few_when_one_is_small() -> None:
    assert harmonic_n(np.full(4, 25.0)) == pytest.approx(100)
    assert harmonic_n(np.array([148.0, 2.0])) == pytest.approx(4 / (1 / 148 + 1 / 2))


def test_resamples_hold_as_many_items_as_there_are_and_repeat_with_the_seed() -> None:
    first, again, other = (np.concatenate(list(resamples(11, seed=seed, n_draws=40))) for seed in (1, 1, 2))
    assert first.shape == (40, 11)
    assert (first.sum(axis=1) == 11).all()
    assert (first == again).all()
    assert (first != other).any()


def test_chunks_do_not_change_how_many_draws_there_are() -> None:
    assert sum(len(chunk) for chunk in resamples(1_500_000, n_draws=3)) == 3


def test_a_cluster_bootstrap_draws_whole_groups() -> None:
    weights = np.concatenate(list(resamples(5, groups=["a", "a", "b", "b", "c"], n_draws=30)))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 3]).all()
    assert (weights[:, 0] + weights[:, 2] + weights[:, 4] == 3).all()


def test_bootstrap_spread_is_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=200)
    draws = bootstrap(lambda weights: (weights @ values)[:, None] / 200, 200, n_draws=4000)
    assert draws.std() == pytest.approx(values.std() / np.sqrt(200), rel=0.05)


def test_bootstrap_refuses_no_items_and_missing_groups() -> None:
    with pytest.raises(DataError, match="a bootstrap needs at least one item, but got none"):
        bootstrap(lambda weights: weights, 0)
    with pytest.raises(DataError, match="each item needs one group, but got 2 groups for 3 items"):
        bootstrap(lambda weights: weights, 3, groups=["a", "b"])


def test_bootstrap_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(1).exponential(size=400)
    estimate = bootstrap_mean(values)
    half = 1.96 * values.std() / 20
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.02)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_mean_is_wider_when_items_come_in_groups() -> None:
    values = np.repeat(np.random.default_rng(2).normal(size=30), 10)
    alone, grouped = bootstrap_mean(values), bootstrap_mean(values, groups=[str(i // 10) for i in range(300)])
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_one_item_says_nothing_about_the_spread() -> None:
    estimate = bootstrap_mean(np.array([0.4]), bounds=(0.0, 2.0))
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.4, 0.0, 2.0, 1)


def test_bootstrap_mean_names_the_value_that_is_not_finite() -> None:
    with pytest.raises(DataError, match="a mean needs finite values, but value 1 is nan"):
        bootstrap_mean(np.array([0.1, np.nan]))


def test_nadeau_bengio_by_hand() -> None:
    # Mean 0.8, s² = 0.0025, J = 5, n_test/n_train = 1/4: variance 0.45·0.0025; t(4) at 0.975 is 2.7764.
    estimate = nadeau_bengio(np.array([0.75, 0.75, 0.8, 0.85, 0.85]), n_train=80, n_test=20)
    assert estimate.value == pytest.approx(0.8)
    assert estimate.high - 0.8 == pytest.approx(2.776445 * np.sqrt(0.45 * 0.0025), rel=1e-5)
    assert estimate.n == 100


def test_nadeau_bengio_needs_two_scores() -> None:
    with pytest.raises(OptionError, match="needs two scores and items on both sides, but got 1 scores, 8 training"):
        nadeau_bengio(np.array([0.5]), n_train=8, n_test=2)


def test_the_interval_of_repeated_folds_is_wilsons_at_what_nadeau_and_bengio_leave() -> None:
    rng = np.random.default_rng(0)
    n, folds = 60, np.stack([rng.permutation(60) % 5 for _ in range(4)])
    right = rng.random((4, n)) < 0.8
    scores = [right[r][folds[r] == k].mean() for r in range(4) for k in range(5)]
    variance = (1 / 20 + 12 / 48) * np.var(scores, ddof=1) * (2.093024 / 1.959964) ** 2
    mean = right.mean()
    expected = share(mean, variance=variance, n=n, n_most=60.0)
    found = share_in_repeats(right, folds, n_perfect=60.0)
    assert (found.value, found.low, found.high) == pytest.approx((mean, expected.low, expected.high), rel=1e-6)
    assert found.n == n
    # The half width is that of the plain interval, but for the ends of the scale.
    plain = nadeau_bengio(np.array(scores), n_train=48, n_test=12)
    assert found.high - found.low == pytest.approx(plain.high - plain.low, rel=0.05)


def test_repeats_never_count_for_more_items_than_there_are() -> None:
    folds = np.tile(np.arange(100) % 5, (10, 1))
    right = np.tile(np.arange(100) % 10 > 0, (10, 1))  # every fold of some parity has the same score
    found = share_in_repeats(right, np.tile(np.arange(100) // 20, (10, 1)), n_perfect=25.0)
    assert (found.low, found.high) == pytest.approx(
        (share(0.9, variance=0.0, n=100, n_most=25.0).low, share(0.9, variance=0.0, n=100, n_most=25.0).high)
    )
    nearly = share_in_repeats(right, folds, n_perfect=25.0, value=0.8)
    assert nearly.value == 0.8
    assert nearly.low >= wilson(80, 100).low - 0.3
