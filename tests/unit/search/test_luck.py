"""The choice made again on parts of the items, and what the winner's number is without its luck."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from headstart.adaptation.epochs import History
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.strategies import FineTune, Knn, Linear, OutOfFold
from headstart.adaptation.tuning import Tuned
from headstart.backbones.resolve import Local
from headstart.evaluation.calibration import softmax
from headstart.evaluation.comparison import compare_correct
from headstart.evaluation.metrics import correct, item_losses, log_loss, share_right
from headstart.evaluation.records import Estimate
from headstart.features.extract import Features
from headstart.search.candidates import Candidate, Proposal, proposals, try_out, with_repeats
from headstart.search.choice import choose
from headstart.search.luck import chooser, without_luck
from headstart.search.moving import Moved
from headstart.search.trials import Searched, Trial, best_of
from search.synthetic import candidate, features, right, spec

N = 80
TARGETS = np.arange(N) % 2
FOLDS = (np.arange(N) // 2 % 5)[None]


def _guessed(seed: int, *, skill: float, gflops: float, width: int = 4) -> Candidate:
    """A candidate whose accuracy and log loss come from its logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(N, 2))
    logits[np.arange(N), TARGETS] += skill
    probabilities = softmax(logits, 1.0)
    return replace(
        candidate(correct(TARGETS, probabilities), name=str(gflops), gflops=gflops, width=width),
        out_of_fold=OutOfFold(logits, {"l2": 1.0}, 1.0),
        accuracy=share_right(correct(TARGETS, probabilities), cross_validated=True),
        log_loss=log_loss(TARGETS, probabilities),
    )


def _field(seed: int) -> list[Candidate]:
    rng = np.random.default_rng([seed, 7])
    return [
        _guessed(100 * seed + number, skill=float(rng.uniform(1.0, 1.6)), gflops=float(rng.integers(1, 4)))
        for number in range(6)
    ]


def test_on_all_items_the_choice_is_the_same_as_ever() -> None:
    for seed in range(25):
        field = _field(seed)
        number = chooser(field, TARGETS)(np.ones(N, dtype=bool))
        assert field[number] is choose(field).winner


def test_on_some_items_it_is_the_choice_among_what_was_found_there() -> None:
    rows = np.random.default_rng(0).random(N) < 0.7
    for seed in range(10):
        field = _field(seed)
        there = [
            replace(
                each,
                right=each.right[rows],
                accuracy=share_right(each.right[rows], cross_validated=True),
                log_loss=log_loss(TARGETS[rows], softmax(each.out_of_fold.logits[rows], 1.0)),
            )
            for each in field
        ]
        number = chooser(field, TARGETS)(rows)
        assert there[number] is choose(there).winner


def test_groups_count_as_one() -> None:
    groups = [str(row // 8) for row in range(N)]
    same = [
        field[chooser(field, TARGETS, groups=groups)(np.ones(N, dtype=bool))] is choose(field, groups=groups).winner
        for field in map(_field, range(8))
    ]
    assert sum(same) >= 7  # a close tie may be decided otherwise


def _search(seed: int, *, skill: float, n: int = 10) -> Searched:
    """Trials whose losses are those of guesses, and the best of them as a candidate."""
    guesses = [_guessed(seed + number, skill=skill, gflops=2.0) for number in range(n)]
    losses = [item_losses(TARGETS, softmax(each.out_of_fold.logits, 1.0)) for each in guesses]
    trials = tuple(
        Trial(n, {}, each.right, loss, 0.1) for n, (each, loss) in enumerate(zip(guesses, losses, strict=True))
    )
    return Searched(guesses[best_of(trials).number], trials)


def test_on_all_items_the_best_trial_is_the_one_that_was_entered() -> None:
    for seed in range(0, 250, 10):
        search = _search(1000 + seed, skill=1.0)
        field = [*_field(seed), search.candidate]
        number = chooser(field, TARGETS, searched=[search])(np.ones(N, dtype=bool))
        assert number < len(field)
        assert field[number] is choose(field).winner


def test_on_some_items_another_trial_may_be_the_best_of_its_search() -> None:
    search = _search(0, skill=1.0)
    others = [each for each in search.trials if each is not search.best]
    pick, found = chooser([search.candidate], TARGETS, searched=[search]), set()
    for seed in range(20):
        rows = np.random.default_rng(seed).random(N) < 0.5
        best = min(search.trials, key=lambda each: each.losses[rows].mean())
        number = pick(rows)
        assert (search.best if number == 0 else others[number - 1]) is best
        found.add(number)
    assert len(found) > 1


def test_trials_that_mean_nothing_lower_the_number_of_the_best_one() -> None:
    search = _search(7, skill=0.0, n=30)
    field = [search.candidate]
    luck = [
        search.candidate.accuracy.value
        - without_luck(*(field, search.candidate, TARGETS, FOLDS), units=np.arange(N), seed=0, searched=searched).value
        for searched in ([], [search])
    ]
    assert luck[0] == 0
    assert luck[1] > 0.01


def _moved_search(seed: int, *, n: int = 12) -> Searched:
    """Trials of moved weights that were judged on one fold, by guesses; the best was tested on a second one later."""
    search, out = _search(seed, skill=0.5, n=n), FOLDS[0] == 0
    trials = tuple(replace(each, right=each.right[out], losses=each.losses[out]) for each in search.trials)
    guesses = search.trials[best_of(trials).number]
    tested = FOLDS[0] < 2
    tuned = Tuned(
        Local(spec("a+tuned"), Path(), {}),
        LinearHead(np.zeros((2, 4), np.float32), np.zeros(2, np.float32)),
        np.zeros((N, 2)),
        History((), "all"),
    )
    moved = Moved(
        start=candidate(right(N, N // 2)),
        strategy=FineTune(),
        out_of_fold=search.candidate.out_of_fold,
        tested=tested,
        right=guesses.right & tested,
        accuracy=share_right(guesses.right[tested]),
        log_loss=search.candidate.log_loss,
        difference=compare_correct(guesses.right[tested], right(N, N // 2)[tested]),
        seconds=1.0,
        first=tuned,
        first_out=out,
        final_s=1.0,
        searched=True,
    )
    return Searched(moved, trials)


def test_trials_of_moved_weights_are_chosen_from_by_the_items_that_their_search_held_out() -> None:
    search = _moved_search(3)
    assert search.tested.tolist() == (FOLDS[0] == 0).tolist()
    others = [each for each in search.trials if each is not search.best]
    pick, found = chooser([search.candidate], TARGETS, searched=[search]), set()
    for seed in range(20):
        rows = np.random.default_rng(seed).random(N) < 0.6
        number = pick(rows)
        held_out = rows[search.tested]
        if number:
            best = min(others, key=lambda each: each.losses[held_out].mean())
            assert others[number - 1] is best
        found.add(number)
    assert len(found) > 1
    # Where none of these items is there, nothing speaks against the one that was entered.
    assert pick(FOLDS[0] != 0) == 0


def test_trials_of_moved_weights_lower_the_number_of_the_best_one() -> None:
    lost = []
    for seed in range(8):
        search = _moved_search(seed, n=30)
        winner = search.candidate
        (corrected, alone) = (
            without_luck([winner], winner, TARGETS, FOLDS, units=np.arange(N), seed=0, searched=searched)
            for searched in ([search], [])
        )
        assert alone == winner.accuracy
        assert corrected.n == winner.accuracy.n
        lost.append(winner.accuracy.value - corrected.value)
    assert min(lost) >= 0
    assert np.mean(lost) > 0.01


def _corrected(field: list[Candidate], groups: list[str] | None = None) -> tuple[Candidate, Estimate]:
    choice = choose(field, groups=groups)
    assert isinstance(choice.winner, Candidate)
    units = np.arange(N) if groups is None else np.unique(groups, return_inverse=True)[1]
    return choice.winner, without_luck(field, choice.winner, TARGETS, FOLDS, units=units, seed=0, groups=groups)


def test_a_single_candidate_keeps_its_number() -> None:
    (only,) = field = [_guessed(0, skill=1.0, gflops=1.0)]
    assert _corrected(field)[1] == only.accuracy


def test_a_candidate_far_ahead_keeps_its_number() -> None:
    field = [*_field(1), _guessed(0, skill=6.0, gflops=9.0)]
    winner, corrected = _corrected(field)
    assert corrected == winner.accuracy


@pytest.mark.parametrize("grouped", [False, True])
def test_the_number_falls_and_its_interval_counts_the_same_items(grouped: bool) -> None:
    groups = [str(row // 4) for row in range(N)] if grouped else None
    field = [_guessed(seed, skill=0.0, gflops=1.0, width=4 + seed) for seed in range(12)]
    winner, corrected = _corrected(field, groups)
    assert corrected.value < winner.accuracy.value - 0.02
    assert corrected.n == N
    assert corrected.low < corrected.value < corrected.high
    width, own = corrected.high - corrected.low, winner.accuracy.high - winner.accuracy.low
    if not grouped:
        assert width == pytest.approx(own, rel=0.1)


def _noise(seed: int, n: int = 60) -> tuple[np.ndarray, dict[str, Features], Proposal]:
    rng = np.random.default_rng(seed)
    targets = rng.permutation(n) % 2
    backbone = spec("noise", layers=(("early", 6), ("last", 6)))
    values = rng.normal(size=(n, 12)).astype(np.float32)
    return targets, {"noise": Features(backbone, values, np.ones(n, dtype=bool))}, proposals(backbone)[0]


def test_on_noise_the_reported_interval_holds_chance() -> None:
    held = n_runs = 0
    for seed in range(12):
        targets, seen, last = _noise(seed)
        folds = np.empty(60, dtype=np.int64)
        for target in range(2):
            folds[targets == target] = np.arange(30) % 5
        field = [
            try_out(each, seen, targets, folds, make=make, n_classes=2, seed=0)
            for each in proposals(last.backbones[0])
            for make in (Linear, Knn)
        ]
        choice = choose(field)
        estimate = without_luck(field, choice.winner, targets, folds[None], units=np.arange(60), seed=seed)
        held += estimate.low <= 0.5 <= estimate.high
        n_runs += 1
    assert held >= binom.ppf(0.005, n_runs, 0.95)


def test_repeats_are_averaged_and_the_model_keeps_the_settings_of_the_first() -> None:
    backbone = spec("a", layers=(("last", 12),))
    seen = {"a": features(backbone, TARGETS, apart=1.2)}
    rounds = np.stack([FOLDS[0], np.random.default_rng(0).permutation(FOLDS[0])])
    tried = [
        try_out(Proposal("last", (backbone,)), seen, TARGETS, folds, make=Linear, n_classes=2, seed=0)
        for folds in rounds
    ]
    both = with_repeats(tried[0], tried[1:], rounds)
    assert both.accuracy.value == pytest.approx(np.mean([each.right.mean() for each in tried]))
    assert both.log_loss.value == pytest.approx(np.mean([each.log_loss.value for each in tried]))
    assert both.accuracy.n == N
    assert both.out_of_fold is tried[0].out_of_fold
    assert np.array_equal(both.right, tried[0].right)
    assert np.array_equal(both.rounds, np.stack([each.right for each in tried]))
    assert both.seconds == pytest.approx(sum(each.seconds for each in tried))


def test_what_has_no_repeats_is_compared_on_the_first() -> None:
    # In the further repeat the first one loses its lead; with that repeat counted the cheaper one would win.
    lead = candidate(right(100, 80), name="a", gflops=9)
    lead = replace(lead, again=(right(100, 62),), accuracy=replace(lead.accuracy, value=0.71))
    other = candidate(right(100, 70), name="b", gflops=1)
    assert choose([other, lead]).winner is lead
    again = replace(other, again=(right(100, 90),), accuracy=replace(other.accuracy, value=0.8))
    assert choose([again, lead]).winner is again
