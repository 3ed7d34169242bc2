"""Combinations: the weights are the best there are, the judgement is honest, and a tie stays single."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.adaptation.epochs import History
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.strategies import FineTune, Linear, OutOfFold
from headstart.adaptation.tuning import Tuned
from headstart.backbones.resolve import Local
from headstart.evaluation.comparison import compare_correct
from headstart.evaluation.metrics import accuracy, correct, log_loss
from headstart.search.candidates import Candidate, Proposal
from headstart.search.choice import called, choose, offer
from headstart.search.combine import LEAST_WEIGHT, combine, mixture_weights, networks_of
from headstart.search.moving import Moved
from search.synthetic import spec

N = 400
TARGETS = np.arange(N) % 2
FOLDS = np.arange(N) // 2 % 5


def tried(of_truth: np.ndarray, *, name: str = "a", gflops: float = 1.0, targets: np.ndarray = TARGETS) -> Candidate:
    """A candidate that gives the true class of each item this probability."""
    probabilities = np.stack([of_truth, 1 - of_truth], axis=1)
    probabilities[targets == 1] = probabilities[targets == 1][:, ::-1]
    proposal = Proposal("last", (spec(name, gflops=gflops),))
    return Candidate(
        proposal=proposal,
        strategy=Linear(proposal.parts),
        out_of_fold=OutOfFold(np.log(probabilities), {"l2": 1e-3}, 1.0),
        right=correct(targets, probabilities),
        accuracy=accuracy(targets, probabilities),
        log_loss=log_loss(targets, probabilities),
        seconds=0.1,
    )


def pair(sure: float = 0.95, unsure: float = 0.45) -> tuple[Candidate, Candidate]:
    """Two that are each sure, and right, on the half of the items where the other is not."""
    half = np.arange(N) // 10 % 2 == 0
    return tried(np.where(half, sure, unsure), name="a"), tried(np.where(half, unsure, sure), name="b")


PAIR = pair()


def moved(start: Candidate, tested: np.ndarray, of_truth: np.ndarray) -> Moved:
    """The same backbone with moved weights, tried on some of the items."""
    like = tried(of_truth)
    backbone = start.proposal.backbones[0]
    local = Local(replace(backbone, name=f"{backbone.name}+finetune"), Path(), {})
    head = LinearHead(np.zeros((2, 4)), np.zeros(2))
    return Moved(
        start=start,
        strategy=FineTune(),
        out_of_fold=OutOfFold(like.out_of_fold.logits * tested[:, None], {}, 1.0),
        tested=tested,
        right=like.right & tested,
        accuracy=like.accuracy,
        log_loss=like.log_loss,
        difference=compare_correct(like.right[tested], start.right[tested]),
        seconds=1.0,
        first=Tuned(local, head, like.out_of_fold.logits.astype(np.float32), History((), "all", 0)),
        first_out=tested,
        final_s=1.0,
    )


def loss(weights: np.ndarray, likelihoods: np.ndarray) -> float:
    return float(-np.log(weights @ likelihoods).mean())


@pytest.mark.parametrize("n_members", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_no_weights_on_a_grid_are_better(n_members: int, seed: int) -> None:
    likelihoods = np.random.default_rng(seed).beta(2, 1, (n_members, 60))
    steps = range(101)
    grid = [np.array(each) / 100 for each in itertools.product(steps, repeat=n_members) if sum(each) == 100]
    best = min(grid, key=lambda weights: loss(weights, likelihoods))
    found = mixture_weights(likelihoods)
    assert loss(found, likelihoods) <= loss(best, likelihoods) + 1e-6
    assert np.abs(found - best).max() < 0.06  # flat at the bottom, and the grid has steps of its own
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_that_was_there_is_better(seed: int) -> None:
    """Neither a single member, nor all alike, nor what greedy selection with replacement finds."""
    rng = np.random.default_rng(seed)
    n_members, n_items = int(rng.integers(2, 12)), int(rng.integers(1, 200))
    likelihoods = np.clip(rng.beta(0.5, 0.3, (n_members, n_items)), 1e-15, 1.0)
    found = loss(mixture_weights(likelihoods), likelihoods)
    bag, counts = np.zeros(n_items), np.zeros(n_members)
    for size in range(1, 51):
        chosen = int(np.log((bag + likelihoods) / size).mean(axis=1).argmax())
        bag, counts[chosen] = bag + likelihoods[chosen], counts[chosen] + 1
        assert found <= loss(counts / size, likelihoods) + 2e-5
    for weights in (*np.eye(n_members), np.full(n_members, 1 / n_members)):
        assert found <= loss(weights, likelihoods) + 2e-5


@pytest.mark.parametrize("seed", range(10))
def test_certainty_that_is_wrong_does_not_end_the_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_members, n_items = int(rng.integers(2, 8)), int(rng.integers(5, 60))
    likelihoods = np.where(rng.uniform(size=(n_members, n_items)) < 0.6, 1.0, 1e-15)
    weights = mixture_weights(likelihoods)
    # At the lowest loss no member gains on the mixture (Karush, Kuhn and Tucker).
    assert (likelihoods / (weights @ likelihoods)).mean(axis=1).max() < 1 + 1e-3


def test_members_that_are_all_alike_share_the_weight() -> None:
    likelihoods = np.tile(np.random.default_rng(0).uniform(0.1, 1, 50), (4, 1))
    np.testing.assert_allclose(mixture_weights(likelihoods), 0.25)


def test_a_planted_pair_is_taken() -> None:
    first, second = pair()
    choice = choose([first, second])
    found = combine([first, second], choice.winner, TARGETS, FOLDS)
    assert found is not None
    assert found.is_better
    assert found.accuracy.value == 1.0
    assert found.difference.value == pytest.approx(0.5)
    assert [weight for _, weight in found.members] == pytest.approx([0.5, 0.5], abs=0.05)
    taken = offer(choice, found)
    assert taken.winner is found
    assert taken.why.startswith(
        f"A weighted average of 2 candidates is better than the best one, {choice.members[0].name}: "
        "out-of-fold accuracy +50.0 points"
    )
    assert taken.why.endswith(f"Of single ones: {choice.why}")
    assert sorted(called(taken, [first, second]).split(" and ")) == ["50 % a · last", "50 % b · last"]


def test_equal_candidates_are_a_tie_and_a_tie_stays_single() -> None:
    first, second = pair()
    twin = replace(first, proposal=second.proposal)
    choice = choose([first, twin])
    found = combine([first, twin], choice.winner, TARGETS, FOLDS)
    assert found is not None
    assert not found.is_better
    stays = offer(choice, found)
    assert stays.winner is choice.winner
    assert stays.combination is found
    assert "It stays alone: a weighted average of 2 candidates is no better by an interval" in stays.why


def test_noisy_copies_are_rarely_better() -> None:
    """At equal skill an average wins only by what chance allows, and then because its probabilities are better."""
    taken = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        skill = rng.uniform(0.3, 0.95, N)
        several = [tried(np.clip(skill + rng.normal(0, 0.01, N), 0.01, 0.99), name=f"b{each}") for each in range(4)]
        found = combine(several, choose(several).winner, TARGETS, FOLDS, seed=seed)
        taken += found is not None and found.difference.low > 0
    assert taken <= 1


def test_better_probabilities_count_where_accuracy_is_higher_at_all() -> None:
    half = np.arange(N) // 10 % 2 == 0
    first, second = tried(np.where(half, 0.95, 0.55), name="a"), tried(np.where(half, 0.55, 0.95), name="b")
    found = combine([first, second], first, TARGETS, FOLDS)
    assert found is not None
    assert found.difference.value == 0
    assert found.loss_difference.high < 0
    assert not found.is_better
    assert replace(found, difference=replace(found.difference, value=0.01, low=-0.02)).is_better
    assert not replace(found, difference=replace(found.difference, value=-0.01, low=-0.02)).is_better


def test_too_few_items_show_nothing() -> None:
    first, second = pair()
    some = np.arange(N) < 99

    def few(each: Candidate) -> Candidate:
        logits = replace(each.out_of_fold, logits=each.out_of_fold.logits[some])
        return replace(each, out_of_fold=logits, right=each.right[some])

    assert combine([few(first), few(second)], few(first), TARGETS[some], FOLDS[some]) is None


def test_the_items_of_a_fold_have_no_part_in_the_weights_that_predict_them() -> None:
    rng = np.random.default_rng(0)
    first, second = (tried(np.clip(rng.beta(3, 1, N), 0.05, 0.95), name=name) for name in "ab")
    here = FOLDS == 0
    # With other targets there, the first one is right in that fold wherever the second is less sure.
    truth = np.exp([each.out_of_fold.logits[np.arange(N), TARGETS] for each in (first, second)])
    changed = np.where(here & (truth[0] < truth[1]), 1 - TARGETS, TARGETS)
    found, again = (combine([first, second], first, targets, FOLDS) for targets in (TARGETS, changed))
    assert found is not None
    assert again is not None
    np.testing.assert_array_equal(found.out_of_fold.logits[here], again.out_of_fold.logits[here])
    assert np.abs(found.out_of_fold.logits[~here] - again.out_of_fold.logits[~here]).max() > 1e-3


def test_the_record_agrees_with_the_probabilities() -> None:
    first, second = pair()
    found = combine([first, second], first, TARGETS, FOLDS)
    assert found is not None
    probabilities = np.exp(found.out_of_fold.logits)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert found.accuracy == accuracy(TARGETS, probabilities)
    assert found.log_loss.value == pytest.approx(log_loss(TARGETS, probabilities).value)
    assert found.loss_difference.value == pytest.approx(found.log_loss.value - first.log_loss.value)
    np.testing.assert_array_equal(found.right, correct(TARGETS, probabilities))


def test_light_members_are_dropped_and_the_others_share_their_weight() -> None:
    rng = np.random.default_rng(0)
    several = [*pair(), *(tried(rng.uniform(0.2, 0.6, N), name=f"weak {each}") for each in range(5))]
    found = combine(several, several[0], TARGETS, FOLDS)
    assert found is not None
    assert min(weight for _, weight in found.members) >= LEAST_WEIGHT
    assert sum(weight for _, weight in found.members) == pytest.approx(1)
    assert {member.proposal.backbones[0].name for member, _ in found.members} == {"a", "b"}


def test_one_that_does_everything_best_is_no_combination() -> None:
    first, _ = pair()
    best = tried(np.full(N, 0.99), name="best")
    assert combine([first, best], best, TARGETS, FOLDS) is None


def test_a_network_without_room_goes_with_all_members_that_need_it() -> None:
    rng = np.random.default_rng(1)
    thirds = np.arange(N) // 10 % 3
    a, b, c = (tried(np.where(thirds == each, 0.95, 0.4), name=name) for each, name in enumerate("abc"))
    small = tried(np.clip(rng.normal(0.6, 0.2, N), 0.1, 0.9), name="c")
    together = combine([a, b, c, small], a, TARGETS, FOLDS)
    assert together is not None
    assert set(together.networks) == {"a", "b", "c"}
    some = combine([a, b, c, small], a, TARGETS, FOLDS, fits=lambda members: len(networks_of(members)) < 3)
    assert some is not None
    assert len(some.networks) == 2
    assert combine([a, b, c], a, TARGETS, FOLDS, fits=lambda members: len(members) < 2) is None


def test_moved_weights_are_a_member_where_they_won_and_are_judged_where_they_were_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headstart.search.combine.LEAST_ITEMS", 80)
    first, second = pair()
    tested = FOLDS == 2
    tuned = moved(first, tested, np.where(np.arange(N) // 10 % 2 == 0, 0.97, 0.45))
    found = combine([first, second, tuned], tuned, TARGETS, FOLDS)
    assert found is not None
    assert tuned in [member for member, _ in found.members]
    np.testing.assert_array_equal(found.tested, tested)
    assert found.accuracy.n == int(tested.sum()) == 80
    assert not found.right[~tested].any()
    assert set(found.networks) == {"a+finetune", "b"}
    without = combine([first, second, tuned], first, TARGETS, FOLDS)
    assert without is not None
    assert tuned not in [member for member, _ in without.members]
    assert without.tested.all()


def test_groups_count_as_one_and_stay_together_within_a_fold() -> None:
    first, second = pair()
    groups = tuple(str(row // 20) for row in range(N))
    apart, together = (
        combine([first, second], first, TARGETS, np.zeros(N, dtype=int), groups=each) for each in (None, groups)
    )
    assert apart is not None
    assert together is not None
    assert together.difference.low < apart.difference.low
    of_group = np.exp(together.out_of_fold.logits).max(axis=1).round(9).reshape(20, 20)
    assert all(len(set(row)) == 1 for row in of_group)


def test_items_that_cannot_be_parted_say_nothing() -> None:
    first, second = pair()
    assert combine([first, second], first, TARGETS, np.zeros(N, dtype=int), groups=("one",) * N) is None


def test_the_same_seed_gives_the_same_combination() -> None:
    one, other = (combine(PAIR, PAIR[0], TARGETS, np.zeros(N, dtype=int), seed=3) for _ in range(2))
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.out_of_fold.logits, other.out_of_fold.logits)
    assert [weight for _, weight in one.members] == [weight for _, weight in other.members]
    assert (one.difference, one.loss_difference) == (other.difference, other.loss_difference)
