"""The choice: the cheapest of those that the evidence does not set apart from the best."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from headstart.adaptation.strategies import Mlp
from headstart.search.choice import choose, names
from search.synthetic import candidate, right


def test_a_clearly_better_candidate_wins_though_it_costs_more() -> None:
    cheap = candidate(right(400, 300), name="cheap", gflops=1)
    dear = candidate(right(400, 380), name="dear", gflops=9)
    choice = choose([cheap, dear])
    assert choice.winner is dear
    assert choice.ties == ()
    assert choice.why == "It is the most accurate out-of-fold, ahead of every other candidate by more than a tie."


def test_a_tie_goes_to_the_cheaper_and_the_reason_says_what_was_given_up() -> None:
    cheap = candidate(right(400, 378), name="cheap", gflops=1)
    dear = candidate(right(400, 380), name="dear", gflops=9)
    choice = choose([cheap, dear])
    assert choice.winner is cheap
    assert choice.ties == (dear,)
    assert choice.why == (
        "dear · last is 0.5 points better out-of-fold, which 400 items cannot tell from chance, and costs more to run; "
        "a tie goes to the cheaper."
    )


def test_equal_accuracy_at_a_higher_cost_is_not_called_better() -> None:
    cheap = candidate(right(400, 380), name="cheap", gflops=1, log_loss=0.4)
    dear = candidate(right(400, 380), name="dear", gflops=9, log_loss=0.3)
    choice = choose([dear, cheap])
    assert choice.winner is cheap
    assert choice.why == "dear · last is as good out-of-fold and costs more to run; a tie goes to the cheaper."


def test_pairing_decides_what_a_tie_is() -> None:
    # Five more right of 400: within chance for independent samples, but here never once wrong where the other is right.
    best, behind = right(400, 380), right(400, 366)
    choice = choose([candidate(behind, name="cheap", gflops=1), candidate(best, name="dear", gflops=9)])
    assert choice.winner.proposal.backbones[0].name == "dear"


def test_layers_of_one_pass_cost_the_same_so_the_more_accurate_wins() -> None:
    last = candidate(right(400, 378), layers="last")
    stages = candidate(right(400, 380), layers="stages")
    choice = choose([last, stages])
    assert choice.winner is stages
    assert choice.why == (
        "It is the most accurate out-of-fold; 1 other candidate ties with it, and none of them is cheaper to run."
    )


def test_equal_accuracy_and_cost_is_decided_by_the_log_loss_then_by_the_width() -> None:
    sure, unsure = candidate(right(50, 40), log_loss=0.3), candidate(right(50, 40), log_loss=0.4)
    assert choose([unsure, sure]).winner is sure
    narrow, wide = candidate(right(50, 40), width=4), candidate(right(50, 40), width=8)
    assert choose([wide, narrow]).winner is narrow


def test_a_candidate_that_ties_only_with_the_runner_up_does_not_win() -> None:
    best = candidate(right(1000, 900), name="best", gflops=9)
    middle = candidate(right(1000, 890), name="middle", gflops=9)
    worse = candidate(right(1000, 884), name="worse", gflops=1)
    assert choose([worse, middle, best]).winner is not worse


def test_a_single_candidate_needs_no_comparison() -> None:
    only = candidate(right(10, 5))
    choice = choose([only])
    assert (choice.winner, choice.ties, choice.why) == (only, (), "It is the only candidate that was considered.")


def test_the_order_of_trying_does_not_matter() -> None:
    tried = [
        candidate(right(200, 180), name="a", gflops=3, log_loss=0.31),
        candidate(right(200, 182), name="b", gflops=2, log_loss=0.32),
        candidate(right(200, 181), name="c", gflops=2, log_loss=0.33),
    ]
    assert {choose(order).winner.proposal.name for order in itertools.permutations(tried)} == {"b · last"}


def test_strategies_are_told_apart_by_name_where_there_are_several() -> None:
    linear = candidate(right(400, 378), name="cheap", gflops=1)
    mlp = replace(candidate(right(400, 380), name="dear", gflops=9), strategy=Mlp(()))
    choice = choose([linear, mlp])
    assert choice.why.startswith("dear · last · mlp is 0.5 points better out-of-fold")
    assert names(choice.ties, [linear, mlp]) == ("dear · last · mlp",)
    assert names([linear], [linear]) == ("cheap · last",)


@pytest.mark.parametrize("n", [50, 100, 400])
def test_one_item_is_a_tie(n: int) -> None:
    cheap, dear = candidate(right(n, n - 1), gflops=1), candidate(right(n, n), gflops=2, name="dear")
    assert choose([dear, cheap]).winner is cheap


def test_what_is_far_behind_is_no_tie_though_few_items_cannot_tell() -> None:
    cheap = candidate(right(40, 34), name="cheap", gflops=1)
    dear = candidate(right(40, 36), name="dear", gflops=9)
    assert choose([cheap, dear]).winner is dear
