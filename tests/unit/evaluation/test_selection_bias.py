"""The luck of the best of several: what it is worth, and what stays when there is none."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import Bool
from scipy.stats import binom

from headstart.evaluation.metrics import share_right
from headstart.evaluation.selection_bias import Pick, optimism


def most_accurate(right: np.ndarray) -> Pick:
    """The simplest rule: the first of those that are right most often."""
    return lambda rows: int(right[:, rows].sum(axis=1).argmax())


def equally_good(m: int, n: int, *, share: float, correlation: float, seed: int) -> Bool[np.ndarray, "m n"]:
    """Candidates of the same true share whose hits have this correlation."""
    rng = np.random.default_rng(seed)
    common = rng.random((m, n)) < np.sqrt(correlation)
    return np.asarray(np.where(common, rng.random(n), rng.random((m, n))) < share)


def luck_of(right: np.ndarray, *, units: np.ndarray | None = None, seed: int = 0) -> float:
    everything = np.arange(right.shape[1]) if units is None else units
    tested, pick = np.ones(right.shape, dtype=bool), most_accurate(right)
    return optimism(right.astype(float), tested, pick, chosen=pick(tested[0]), units=everything, seed=seed)


def test_one_candidate_owes_nothing_to_a_choice() -> None:
    right = equally_good(1, 50, share=0.7, correlation=0.0, seed=0)
    assert luck_of(right) == 0.0


def test_a_candidate_that_dominates_owes_almost_nothing() -> None:
    right = np.vstack([equally_good(10, 200, share=0.7, correlation=0.5, seed=0), np.ones((1, 200), dtype=bool)])
    assert luck_of(right) == 0.0


def test_it_is_the_mean_over_parts_by_brute_force() -> None:
    right = equally_good(6, 40, share=0.6, correlation=0.3, seed=3)
    pick = most_accurate(right)
    # Leaving out one item at a time, every division is the same.
    expected = np.mean(
        [right[pick(np.ones(40, bool)), item] * 1.0 - right[pick(np.arange(40) != item), item] for item in range(40)]
    )
    tested, units = np.ones_like(right), np.arange(40)
    chosen = pick(tested[0])
    found = optimism(right.astype(float), tested, pick, chosen=chosen, units=units, n_parts=40, n_rounds=3, seed=1)
    assert found == pytest.approx(max(0.0, expected))


@pytest.mark.parametrize("n", [50, 100, 200])
def test_the_best_of_twenty_equal_ones_is_not_reported_better_than_it_is(n: int) -> None:
    apparent, corrected = [], []
    for seed in range(60):
        right = equally_good(20, n, share=0.85, correlation=0.7, seed=seed)
        apparent.append(right.mean(axis=1).max())
        corrected.append(apparent[-1] - luck_of(right, seed=seed))
    # The expected maximum of 20 normal numbers is 1.867 standard deviations of what is not common to all.
    expected = 1.867 * np.sqrt(0.85 * 0.15 * 0.3 / n)
    standard_error = np.sqrt(0.85 * 0.15 / n)
    assert np.mean(apparent) - 0.85 == pytest.approx(expected, abs=0.4 * expected)
    assert np.mean(corrected) - 0.85 < standard_error / 3
    assert np.mean(corrected) - 0.85 > -standard_error / 2


def test_the_interval_around_the_corrected_share_holds_the_truth_as_often_as_it_says() -> None:
    held = {"apparent": 0, "corrected": 0}
    for seed in range(100):
        right = equally_good(20, 60, share=0.5, correlation=0.3, seed=seed)
        best = right[most_accurate(right)(np.ones(60, dtype=bool))]
        estimates = {
            "apparent": share_right(best),
            "corrected": share_right(best, value=best.mean() - luck_of(right, seed=seed)),
        }
        for name, estimate in estimates.items():
            held[name] += estimate.low <= 0.5 <= estimate.high
    assert held["corrected"] >= binom.ppf(0.005, 100, 0.95)
    assert held["apparent"] < binom.ppf(0.005, 100, 0.95)


def test_items_of_one_unit_stay_together() -> None:
    # Each item is there four times. Apart, a copy would tell how the others do, and the luck would stay.
    once = equally_good(20, 25, share=0.6, correlation=0.0, seed=5)
    right = np.repeat(once, 4, axis=1)
    together = luck_of(right, units=np.arange(100) // 4)
    assert together > luck_of(right) + 0.03
    assert together == pytest.approx(luck_of(once), abs=0.1)


def test_candidates_that_were_tested_on_part_of_the_items_are_compared_on_what_both_have() -> None:
    right = np.zeros((2, 40))
    right[0, :20], right[1, :] = 1.0, 1.0
    tested = np.ones((2, 40), dtype=bool)
    tested[0, 20:] = False
    # The first was chosen, and without a part it is the second: both are right wherever both were tested.
    assert optimism(right, tested, lambda _: 1, chosen=0, units=np.arange(40)) == 0.0


def test_the_seed_decides_and_nothing_else() -> None:
    right = equally_good(8, 60, share=0.7, correlation=0.2, seed=2)
    assert luck_of(right, seed=4) == luck_of(right, seed=4)
    assert luck_of(right, seed=4) != luck_of(right, seed=5)
