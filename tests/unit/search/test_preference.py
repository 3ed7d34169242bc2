"""What is given up for a cheaper model, by what is preferred."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from headstart.evaluation.records import Difference, Estimate
from headstart.search.choice import choose, offer
from headstart.search.combine import combine
from headstart.search.luck import chooser
from headstart.search.preference import (
    LEAST_SHARE,
    PREFERENCES,
    doublings,
    is_small_loss,
    most_worthwhile,
    pays,
)
from search.synthetic import candidate, right, spec


def test_operations_are_counted_in_doublings_and_unknown_ones_are_not() -> None:
    assert doublings(8.0, 1.0) == 3.0
    assert doublings(1.0, 8.0) == doublings(0.0, 1.0) == doublings(8.0, 0.0) == 0.0


def test_a_doubling_pays_if_it_takes_away_its_share() -> None:
    least = 0.1 * (1 - LEAST_SHARE)
    assert pays(least, 0.1, 1)
    assert not pays(1.001 * least, 0.1, 1)
    assert not pays(least, 0.1, 2)
    assert pays(0.1, 0.1, 0)


def test_the_most_worthwhile_one_is_left_by_nothing_that_pays() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(1, 9))
        accuracies = rng.uniform(0.9, 0.95, n).tolist()
        gflops = (2.0 ** rng.integers(0, 6, n)).tolist()
        found = most_worthwhile(accuracies, gflops)
        for accuracy, operations in zip(accuracies, gflops, strict=True):
            further = math.log2(operations / gflops[found])
            # Better by more than its doublings ask for, or as much cheaper than it loses.
            assert 1 - accuracy >= (1 - accuracies[found]) * (1 - LEAST_SHARE) ** further - 1e-12


def test_where_operations_are_unknown_the_most_accurate_one_is_the_most_worthwhile() -> None:
    assert most_worthwhile([0.9, 0.9001], [1.0, 1000.0]) == 0
    assert most_worthwhile([0.9, 0.9001], [0.0, 1000.0]) == 1


@pytest.mark.parametrize(
    ("accuracy", "best", "small"),
    [(0.90, 0.93, True), (0.899, 0.93, False), (0.985, 0.99, True), (0.98, 0.99, False), (1.0, 1.0, True)],
)
def test_small_gives_up_points_and_errors_within_bounds(accuracy: float, best: float, small: bool) -> None:
    assert is_small_loss(accuracy, best) is small


def test_a_model_that_is_too_complex_for_its_gain_is_not_chosen_however_sure_the_gain_is() -> None:
    """Better by 0.3 points, never wrong where the other is right, for ten times the operations."""
    cheap = candidate(right(10_000, 9_000), name="cheap", gflops=1)
    dear = candidate(right(10_000, 9_030), name="dear", gflops=10)
    choice = choose([cheap, dear])
    assert choice.winner is cheap
    assert choice.ties == ()
    assert choice.why == (
        "dear · last is 0.3 points better out-of-fold (0.2 to 0.4) and takes 10.0 times the operations, but takes away "
        "less than 1 % of the errors for each doubling of the operations."
    )
    nearer = replace(dear, proposal=replace(dear.proposal, backbones=(spec("dear", gflops=2),)))
    assert choose([cheap, nearer]).winner is nearer
    assert choose([cheap, candidate(right(10_000, 9_030), name="near", gflops=2)]).winner is not cheap
    assert choose([cheap, candidate(right(10_000, 9_040), name="dear", gflops=10)]).winner is not cheap


def test_accurate_takes_the_most_accurate_one_though_others_tie() -> None:
    cheap = candidate(right(400, 378), name="cheap", gflops=1)
    dear = candidate(right(400, 380), name="dear", gflops=9)
    assert choose([cheap, dear]).winner is cheap
    choice = choose([cheap, dear], prefer="accurate")
    assert choice.winner is dear
    assert choice.ties == (cheap,)
    assert choice.why == (
        "It is the most accurate out-of-fold, as --prefer accurate asks; 1 other candidate ties with it, and 1 of them "
        "is cheaper to run."
    )
    same = candidate(right(400, 380), name="same", gflops=3)
    assert choose([cheap, dear, same], prefer="accurate").winner is same


def test_small_takes_the_cheapest_within_the_loss_and_says_what_it_gives_up() -> None:
    tiny = candidate(right(1000, 850), name="tiny", gflops=1)
    cheap = candidate(right(1000, 875), name="cheap", gflops=2)
    dear = candidate(right(1000, 900), name="dear", gflops=9)
    assert choose([tiny, cheap, dear]).winner is dear
    choice = choose([tiny, cheap, dear], prefer="small")
    assert choice.winner is cheap
    assert choice.ties == ()
    assert choice.why.startswith("dear · last is 2.5 points better out-of-fold (1.5 to ")
    assert choice.why.endswith(" and takes 4.5 times the operations; --prefer small gives that up for the cheaper one.")


def test_what_is_preferred_orders_the_costs_of_the_winners() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        field = [
            candidate(rng.random(200) < rng.uniform(0.8, 0.9), name=f"n{number}", gflops=float(2 ** rng.integers(0, 5)))
            for number in range(6)
        ]
        costs = {prefer: choose(field, prefer=prefer).winner.proposal.cost for prefer in PREFERENCES}  # type: ignore[union-attr]
        assert costs["small"] <= costs["balanced"] <= costs["accurate"]


def test_the_order_of_trying_does_not_matter() -> None:
    tried = [
        candidate(right(5_000, 4_500), name="a", gflops=1),
        candidate(right(5_000, 4_540), name="b", gflops=2),
        candidate(right(5_000, 4_550), name="c", gflops=16),
    ]
    for prefer, expected in (("small", "a"), ("balanced", "b"), ("accurate", "c")):
        winners = {
            choose(order, prefer=prefer).winner.proposal.backbones[0].name  # type: ignore[union-attr,arg-type]
            for order in itertools.permutations(tried)
        }
        assert winners == {expected}


@pytest.mark.parametrize("prefer", PREFERENCES)
def test_the_choice_that_is_made_again_prefers_the_same(prefer: str) -> None:
    rng = np.random.default_rng(1)
    targets = np.arange(300) % 2
    for _ in range(10):
        field = [
            candidate(rng.random(300) < rng.uniform(0.8, 0.9), name=f"n{number}", gflops=float(2 ** rng.integers(0, 5)))
            for number in range(5)
        ]
        number = chooser(field, targets, prefer=prefer)(np.ones(300, dtype=bool))  # type: ignore[arg-type]
        # All have the same log loss here and there.
        assert field[number].proposal.cost == choose(field, prefer=prefer).winner.proposal.cost  # type: ignore[union-attr,arg-type]


def _combined(gain: tuple[float, float, float], nats: tuple[float, float, float], *, gflops: float = 1.0) -> object:
    """A single candidate and a combination that is so much better and needs two networks."""
    rng = np.random.default_rng(0)
    targets = np.arange(400) % 2
    several = []
    for name, operations in (("one", 1.0), ("two", gflops)):
        logits = 2 * np.eye(2)[targets] + rng.normal(size=(400, 2))
        one = candidate(logits.argmax(axis=1) == targets, name=name, gflops=operations)
        several.append(replace(one, out_of_fold=replace(one.out_of_fold, logits=logits)))
    found = combine(several, several[0], targets, np.arange(400) // 2 % 5)
    assert found is not None
    made = replace(
        found,
        accuracy=Estimate(0.9 + gain[0], 0, 1, 400),
        log_loss=Estimate(0.3 + nats[0], 0, 1, 400),
        difference=Difference(*gain, 0.5, 400),
        loss_difference=Estimate(*nats, 400),
    )
    return choose(several[:1]), made


@pytest.mark.parametrize(
    ("gain", "nats", "gflops", "taken"),
    [
        ((0.02, 0.01, 0.03), (0.0, -0.1, 0.1), 1.0, {"small", "balanced", "accurate"}),
        ((0.002, 0.001, 0.003), (0.0, -0.1, 0.1), 1000.0, {"accurate"}),  # 2 % of the errors for ten doublings
        ((0.001, -0.01, 0.01), (-0.05, -0.06, -0.04), 1000.0, {"small", "balanced", "accurate"}),  # a sixth of the nats
        ((0.001, -0.01, 0.01), (0.0, -0.1, 0.1), 1.0, {"accurate"}),
        ((0.0, -0.01, 0.01), (-0.05, -0.06, -0.04), 1.0, set()),
    ],
)
def test_a_combination_must_be_worth_its_networks(
    gain: tuple[float, float, float], nats: tuple[float, float, float], gflops: float, taken: set[str]
) -> None:
    choice, made = _combined(gain, nats, gflops=gflops)  # type: ignore[misc]
    found = {prefer for prefer in PREFERENCES if offer(choice, made, prefer=prefer).winner is made}
    assert found == taken


def test_where_the_operations_of_one_are_unknown_the_parameters_alone_count() -> None:
    """A network that nobody has counted is not free."""
    unknown = candidate(right(100, 90), name="unknown", gflops=0)
    unknown = replace(unknown, proposal=replace(unknown.proposal, backbones=(spec("unknown", gflops=0, n_params=99),)))
    known = candidate(right(100, 90), name="known", gflops=5)
    assert choose([unknown, known]).winner is known
