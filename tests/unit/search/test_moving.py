"""Candidates whose weights move: what their trainings say, and how they stand beside others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.adaptation.epochs import Epoch, History, Scores
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.strategies import FineTune, Linear
from headstart.adaptation.tuning import Tuned
from headstart.backbones.resolve import Local
from headstart.evaluation.metrics import share_right
from headstart.search.choice import choose, expected_accuracy
from headstart.search.moving import Moved, judge_moved, some, starting_head
from search.synthetic import candidate, features, right, spec

N = 200
TARGETS = np.arange(N) % 2
FOLDS = np.arange(N) // 2 % 5


def tuned(is_right: np.ndarray, *, seconds: float = 2.0, epochs: int = 3) -> Tuned:
    """A training that predicts so."""
    logits = np.zeros((N, 2), dtype=np.float32)
    logits[np.arange(N), np.where(is_right, TARGETS, 1 - TARGETS)] = 2.0
    done = tuple(Epoch(number, Scores(1.0), None, 1e-3, 1e-3, 1.0, seconds) for number in range(1, epochs + 1))
    head = LinearHead(np.zeros((2, 4), dtype=np.float32), np.zeros(2, dtype=np.float32))
    return Tuned(Local(spec("a+finetune"), Path(), {}), head, logits, History(done, f"all {epochs} epochs", epochs))


def moved(
    linear: np.ndarray, trained: np.ndarray, *, n_folds: int, groups: tuple[str, ...] | None = None, **start: Any
) -> Moved:
    folds = [(fold == FOLDS, tuned(trained)) for fold in range(n_folds)]
    return judge_moved(
        candidate(linear, **start), FineTune(epochs=3), folds, TARGETS, seconds=9.0, seed=0, groups=groups
    )


def test_it_is_judged_on_the_items_that_its_trainings_did_not_see() -> None:
    linear, trained = right(N, 150), right(N, 180)
    found = moved(linear, trained, n_folds=2)
    seen = FOLDS < 2
    assert found.tested.tolist() == seen.tolist()
    assert found.right.tolist() == (trained & seen).tolist()
    assert found.accuracy == share_right(trained[seen], cross_validated=True)
    assert found.difference.value == pytest.approx(trained[seen].mean() - linear[seen].mean())
    assert found.difference.n == 80
    assert not found.out_of_fold.logits[~seen].any()
    assert found.name == "a · last · finetune"
    # 6 s for four fifths of the items.
    assert found.final_s == pytest.approx(6 * 5 / 4)


def test_items_of_one_group_widen_the_interval() -> None:
    linear, trained = right(N, 150), right(N, 180)
    alone = moved(linear, trained, n_folds=5).difference
    together = moved(linear, trained, n_folds=5, groups=tuple(str(row // 10) for row in range(N))).difference
    assert together.high - together.low > alone.high - alone.low
    assert some(None, np.ones(3, dtype=bool)) is None
    assert some(("a", "b", "c"), np.array([True, False, True])) == ("a", "c")


def test_two_are_compared_on_the_items_that_both_were_tested_on() -> None:
    """On the fold that was trained without, the linear head is worse than on the others: only that counts."""
    linear = np.where(FOLDS == 0, right(N, 0), right(N, N))
    trained = moved(linear, np.ones(N, dtype=bool), n_folds=1)
    assert trained.accuracy.value > 0.99
    choice = choose([candidate(linear), trained])
    assert choice.winner is trained
    assert "Moving the weights brought +100.0 points" in choice.why
    assert choice.on_features is trained.start


def test_a_fold_that_suits_a_training_does_not_make_it_the_best() -> None:
    """There it beats a candidate that is better on all items, but not the head that it started from."""
    start = np.where(FOLDS == 0, right(N, N), np.arange(N) % 4 > 0)
    better = np.where(FOLDS == 0, np.arange(N) % 20 > 1, right(N, N))
    trained = moved(start, start & (np.arange(N) > 0), n_folds=1)
    assert trained.right[trained.tested].sum() > better[trained.tested].sum()
    assert expected_accuracy(trained) == pytest.approx(start.mean() - 1 / 40)
    other = candidate(better, name="b")
    assert choose([trained.start, other, trained]).winner is other
    assert choose([trained.start, trained]).winner is trained.start


def test_one_fold_does_not_make_a_tie_of_what_starts_far_behind() -> None:
    """On that fold all are alike; on the others the head that it started from errs five times as often."""
    start = np.where(FOLDS == 0, right(N, 180), np.arange(N) % 4 > 0)
    dear = candidate(np.where(FOLDS == 0, right(N, 180), np.arange(N) % 20 > 0), name="dear", gflops=9.0)
    trained = moved(start, start, n_folds=1, gflops=1.0)
    choice = choose([trained.start, dear, trained])
    assert choice.winner is dear
    assert choice.ties == ()


def test_the_items_of_one_fold_do_not_widen_the_margin_of_a_tie() -> None:
    """One of 40 items is 2.5 points; of all 200 the head that it started from is as many behind, and no tie either."""
    dear = candidate(right(N, N), name="dear", gflops=9.0)
    start = (FOLDS == 0) | (np.arange(N) % 32 > 0)
    behind = 1 - start.mean()
    assert 0.02 < behind < 0.03
    trained = moved(start, start, n_folds=1, gflops=1.0)
    choice = choose([trained.start, dear, trained])
    assert choice.winner is dear
    assert choice.ties == ()


def test_a_training_that_is_no_better_loses_to_its_head() -> None:
    start = right(N, 190)
    worse = moved(start, right(N, 150), n_folds=5)
    assert choose([worse.start, worse]).winner is worse.start
    alone = choose([worse])
    assert alone.winner is worse
    assert alone.why.endswith("With --strategy linear as well, the better is taken.")


def test_a_slightly_better_training_beats_its_head_and_a_tie_that_costs_more() -> None:
    trained = moved(right(N, 183), right(N, 184), n_folds=5, gflops=1.0)
    dear = candidate(right(N, 185), name="dear", gflops=9.0)
    choice = choose([trained.start, dear, trained])
    assert choice.winner is trained
    assert choice.ties == (dear,)


def test_log_losses_on_other_items_decide_nothing() -> None:
    """On one easy fold a training loses little; the head that it ties with is tested on hard ones too."""
    start = right(N, 180)
    trained = moved(start, start, n_folds=1, log_loss=9.0)
    assert trained.log_loss.value < 1 < trained.start.log_loss.value
    assert choose([trained.start, trained]).winner is trained.start


def test_the_starting_head_is_that_of_the_items_it_may_see() -> None:
    backbone = spec("a", layers=(("early", 3), ("last", 4)))
    seen = {"a": features(backbone, TARGETS, apart=2.0)}
    start = candidate(right(N, 150), layers="last")
    half, whole = (
        starting_head(start, seen, TARGETS, rows, classes=("x", "y")) for rows in (np.arange(100), np.arange(N))
    )
    predictor = start.strategy.fit(seen, TARGETS, classes=("x", "y"), chosen=start.out_of_fold)
    assert isinstance(predictor.head, LinearHead)
    np.testing.assert_array_equal(whole.weight, predictor.head.weight)
    assert not np.allclose(half.weight, whole.weight)


def test_the_starting_head_has_no_shift_for_rare_classes() -> None:
    """A training has it in its own loss: with both, rare classes would be favoured twice."""
    backbone = spec("a", layers=(("early", 3), ("last", 4)))
    rare = np.where(np.arange(N) % 10 == 0, 1, 0)
    seen = {"a": features(backbone, rare, apart=2.0)}
    plain = candidate(right(N, 150))
    shifted = replace(plain, strategy=Linear(plain.proposal.parts, balance=1.0))
    heads = [starting_head(each, seen, rare, np.arange(N), classes=("x", "y")) for each in (plain, shifted)]
    np.testing.assert_array_equal(heads[0].bias, heads[1].bias)
    own = shifted.strategy.fit(seen, rare, classes=("x", "y"), chosen=shifted.out_of_fold).head
    assert isinstance(own, LinearHead)
    assert own.bias[1] - own.bias[0] > heads[1].bias[1] - heads[1].bias[0] + 1
