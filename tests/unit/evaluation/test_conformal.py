"""Prediction sets: places by brute force, coverage by its closed form, and what is said when it cannot be had."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from headstart._randomness import generator
from headstart.errors import DataError, OptionError
from headstart.evaluation.conformal import HeldOut, judge_sets, lac, n_needed, prediction_sets, too_few

COVERAGES = (0.07, 0.29, 0.5, 0.57, 0.8, 0.9, 0.95)


def by_hand(scores: np.ndarray, coverage: float) -> float:
    """The ⌈(n + 1)·coverage⌉-th smallest score in exact arithmetic: the coverage is a whole number of hundredths."""
    place = -(-(len(scores) + 1) * round(100 * coverage) // 100)
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else math.inf


@pytest.mark.parametrize("coverage", COVERAGES)
def test_the_bound_is_the_score_at_its_place(coverage: float) -> None:
    random = generator(0, "places")
    for n in (1, 2, 9, 10, 19, 20, 99, 100):
        scores = random.random(n)
        held_out = HeldOut.of(scores)
        assert held_out.bound(coverage) == by_hand(scores, coverage)
        assert held_out.reaches(coverage) == math.isfinite(held_out.bound(coverage)) == (n >= n_needed(coverage))


def softmaxed(random: np.random.Generator, n: int, n_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities: each target is drawn from its row."""
    logits = random.normal(size=(n, n_classes)) * 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (probabilities.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return probabilities, np.minimum(targets, n_classes - 1)


def test_sets_hold_the_classes_within_the_bound_and_never_nothing() -> None:
    random = generator(1, "sets")
    probabilities, targets = softmaxed(random, 60)
    held_out = lac(probabilities, targets)
    new, _ = softmaxed(random, 40)
    for coverage in (0.05, 0.5, 0.9):
        bound = by_hand(1 - probabilities[np.arange(60), targets], coverage)
        sets = prediction_sets(new, held_out, coverage)
        for row, found in zip(new, sets, strict=True):
            expected = {int(row.argmax())} | {label for label in range(4) if 1 - row[label] <= bound}
            assert set(np.flatnonzero(found).tolist()) == expected
    assert (prediction_sets(new, held_out, 0.05).sum(axis=1) >= 1).all()


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_coverage_follows_its_beta_distribution(coverage: float) -> None:
    """Scores are uniform, so the coverage of a bound is the bound itself; 300 draws against the closed form."""
    n = 49
    k = math.ceil((n + 1) * coverage)
    bounds = [HeldOut.of(generator(seed, "beta").random(n)).bound(coverage) for seed in range(300)]
    found = stats.kstest(bounds, stats.beta(k, n + 1 - k).cdf)
    assert found.pvalue > 0.001
    assert np.mean(bounds) == pytest.approx(k / (n + 1), abs=0.02)


def test_realised_coverage_lies_in_its_band_as_often_as_the_band_says() -> None:
    inside, covered, n_draws = 0, [], 200
    for seed in range(n_draws):
        random = generator(seed, "coverage")
        held_out = lac(*softmaxed(random, 150))
        new, targets = softmaxed(random, 120)
        report = judge_sets(targets, new, held_out, 0.9)
        inside += report.expected_low <= report.covered.value <= report.expected_high
        covered.append(report.covered.value)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)
    assert inside >= stats.binom.ppf(0.001, n_draws, 0.95)


@pytest.mark.parametrize(("n", "m", "coverage"), [(49, 30, 0.9), (200, 1000, 0.8), (19, 1, 0.95)])
def test_the_band_is_that_of_the_beta_binomial_distribution(n: int, m: int, coverage: float) -> None:
    k = math.ceil((n + 1) * coverage - 1e-9)
    low, high = HeldOut.of(np.arange(n) / n).band(coverage, m)
    expected = stats.betabinom(m, k, n + 1 - k).ppf((0.025, 0.975)) / m
    assert (low, high) == pytest.approx(tuple(expected))


def test_equal_scores_cover_at_least_as_much_as_was_asked() -> None:
    held_out = HeldOut.of(np.repeat([0.1, 0.4, 0.9], 10))
    assert [held_out.bound(coverage) for coverage in (0.3, 0.35, 0.6, 0.7)] == [0.1, 0.4, 0.4, 0.9]


def test_one_item_bounds_half_of_the_new_ones_and_no_more() -> None:
    held_out = HeldOut.of(np.array([0.3]))
    assert held_out.bound(0.5) == 0.3
    assert held_out.bound(0.51) == math.inf
    assert held_out.band(0.9, 50) == (1.0, 1.0)
    assert prediction_sets(np.array([[0.2, 0.8]]), held_out, 0.9).all()


def test_what_cannot_be_reached_says_how_many_items_it_takes() -> None:
    held_out = HeldOut.of(np.linspace(0, 1, 480))
    assert too_few(held_out, 0.9) == ""
    assert too_few(held_out, 0.999) == (
        "Sets that hold the true class in 99.9 % of all cases need 999 or more independent held-out items, "
        "and this model has 480, so each set holds all classes."
    )
    assert not HeldOut.of(np.zeros(998)).reaches(0.999)
    assert HeldOut.of(np.zeros(999)).reaches(0.999)


def test_units_of_one_are_items() -> None:
    scores = generator(2, "units").random(37)
    alone, units = HeldOut.of(scores), HeldOut.of(scores, np.arange(37))
    np.testing.assert_array_equal(alone.weights, units.weights)
    assert (alone.n_units, units.n_units) == (37, 37)


def test_copies_count_as_one() -> None:
    scores = generator(3, "copies").random(30)
    copied = HeldOut.of(np.repeat(scores, 4), np.repeat(np.arange(30), 4))
    assert copied.n_units == 30
    for coverage in (0.5, 0.8, 0.9, 0.96):
        assert copied.bound(coverage) == HeldOut.of(scores).bound(coverage)


def test_the_bound_by_units_is_the_weighted_quantile() -> None:
    random = generator(4, "weighted")
    units = random.integers(8, size=60)
    scores = random.random(60)
    held_out, sizes = HeldOut.of(scores, units), np.bincount(units)
    for coverage in (0.3, 0.6, 0.85):
        reached = [
            bound
            for bound in np.sort(scores)
            if sum(1 / sizes[unit] for score, unit in zip(scores, units, strict=True) if score <= bound)
            >= coverage * (held_out.n_units + 1) - 1e-9
        ]
        assert held_out.bound(coverage) == min(reached, default=math.inf)


def test_units_keep_the_promise_for_new_units_where_single_items_break_it() -> None:
    """Five large units and twenty small ones: items that are counted one by one let the large ones decide."""
    by_unit, by_item = [], []
    for seed in range(300):
        random = generator(seed, "promise")
        # Large units score low, so that items alone would set the bound too low for a unit that is drawn at random.
        levels = np.concatenate([random.random(5) * 0.2, 0.2 + 0.8 * random.random(20)])
        units = np.repeat(np.arange(25), [40] * 5 + [2] * 20)
        scores = levels[units] + 0.01 * random.random(len(units))
        new = random.random(500) * 0.2 if random.random() < 0.2 else 0.2 + 0.8 * random.random(500)
        by_unit.append(np.mean(new <= HeldOut.of(scores, units).bound(0.8)))
        by_item.append(np.mean(new <= HeldOut.of(scores).bound(0.8)))
    assert np.mean(by_unit) >= 0.77
    assert np.mean(by_item) < 0.5


def test_the_report_counts_what_the_sets_hold() -> None:
    held_out = HeldOut.of(np.linspace(0.0, 0.5, 50))  # at 80 %: every class of 0.58 or more, rounded
    probabilities = np.array([[0.9, 0.1, 0.0], [0.45, 0.4, 0.15], [0.61, 0.39, 0.0], [0.6, 0.4, 0.0]])
    report = judge_sets(np.array([0, 1, 3, 0]), probabilities, held_out, 0.8)
    assert (report.covered.value, report.covered.n) == (0.5, 4)  # the model does not know the class of the third
    assert (report.size.value, report.single.value, report.is_reached) == (1.0, 1.0, True)
    wide = judge_sets(np.array([0, 1, 3, 0]), probabilities, held_out, 0.99)
    assert (wide.covered.value, wide.size.value, wide.is_reached) == (0.75, 3.0, False)


def test_the_band_of_a_test_in_groups_is_that_of_so_many_independent_items() -> None:
    random = generator(5, "groups")
    held_out = lac(*softmaxed(random, 100))
    new, targets = softmaxed(random, 60)
    groups = [f"g{row // 6}" for row in range(60)]
    report = judge_sets(targets, new, held_out, 0.9, groups=groups)
    assert (report.expected_low, report.expected_high) == held_out.band(0.9, 10)


@pytest.mark.parametrize(
    ("coverage", "hint"),
    [(0.0, "for example 0.9"), (1.0, "for example"), (-2.0, "for example"), (90.0, "0.9 for 90 %")],
)
def test_a_coverage_is_a_share(coverage: float, hint: str) -> None:
    held_out = HeldOut.of(np.array([0.3]))
    for call in (held_out.bound, lambda share: held_out.band(share, 3), n_needed):
        with pytest.raises(
            OptionError, match=f"a coverage must lie above 0 and below 1, but got {coverage:g}"
        ) as caught:
            call(coverage)
        assert hint in caught.value.hint


def test_nothing_to_learn_from_is_refused() -> None:
    for scores in (np.zeros(0), np.array([0.1, np.nan]), np.zeros((2, 2))):
        with pytest.raises(DataError, match="a bound needs a finite score"):
            HeldOut.of(scores)
    with pytest.raises(DataError, match="each item needs one unit"):
        HeldOut.of(np.zeros(3), [1, 2])
