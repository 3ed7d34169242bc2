"""One trial: judged fold by fold, and given up when it is clearly behind on the same items."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from headstart.adaptation.strategies import Linear
from headstart.evaluation.calibration import softmax
from headstart.evaluation.metrics import item_losses
from headstart.search.candidates import Candidate, Proposal, try_out
from headstart.search.trials import GivenUp, Trial, best_of, is_behind, judge_trial, looks
from search.dial import Dial
from search.synthetic import features, spec

N = 100
TARGETS = np.arange(N) % 2
FOLDS = np.arange(N) // 2 % 5
SPEC = spec("a")
PROPOSAL = Proposal("last", (SPEC,))
FEATURES = {"a": features(SPEC, TARGETS, apart=1.0)}


def _losses(candidate: Candidate) -> np.ndarray:
    return item_losses(TARGETS, softmax(candidate.out_of_fold.logits, candidate.out_of_fold.temperature))


def _tried(make: Any) -> Candidate:
    return try_out(PROPOSAL, FEATURES, TARGETS, FOLDS, make=make, n_classes=2, seed=0)


def _judged(strategy: Any, best: Candidate, *, deadline: float = math.inf) -> Candidate | GivenUp:
    options: dict[str, Any] = {"best": _losses(best), "n_classes": 2, "seed": 0, "deadline": deadline}
    return judge_trial(PROPOSAL, strategy, FEATURES, TARGETS, FOLDS, **options)


def test_a_trial_is_behind_when_the_paired_interval_lies_above_zero() -> None:
    rng = np.random.default_rng(0)
    best = rng.exponential(size=200)
    assert is_behind(best + rng.normal(0.1, 0.2, size=200), best)
    assert not is_behind(best - 0.1, best)
    assert not is_behind(best, best)


def test_unpaired_the_same_difference_would_not_be_seen() -> None:
    best = np.random.default_rng(1).exponential(scale=5.0, size=60)
    worse = best + np.random.default_rng(2).normal(0.3, 0.2, size=60)
    assert is_behind(worse, best)
    assert not is_behind(np.random.default_rng(3).permutation(worse), best)


def test_an_equal_trial_is_given_up_at_one_look_about_as_often_as_the_interval_says() -> None:
    rng = np.random.default_rng(4)
    n_behind = sum(is_behind(rng.normal(size=80), rng.normal(size=80), seed=number) for number in range(200))
    assert n_behind <= 14  # 2.5 % are 5; more than 14 of 200 come by chance in one of 10,000 cases


def test_items_of_one_group_are_no_independent_evidence() -> None:
    further = np.repeat(np.tile([-0.8, 1.2, -0.7, 1.4, -0.9, 0.9, 0.1, 0.3], 3), 10)[:200]
    groups = [f"patient {number}" for number in np.arange(200) // 10]
    assert is_behind(further, np.zeros(200))
    assert not is_behind(further, np.zeros(200), groups=groups)


def test_a_handful_of_items_or_groups_sets_nothing_apart() -> None:
    assert not is_behind(np.ones(19), np.zeros(19))
    assert is_behind(np.ones(20), np.zeros(20))
    assert not is_behind(np.ones(38), np.zeros(38), groups=[str(row // 2) for row in range(38)])


def test_what_is_as_good_is_judged_to_the_end_and_is_the_same_as_in_one_go() -> None:
    best, found = _tried(Dial), _judged(Dial(PROPOSAL.parts, x=0.5), _tried(Dial))
    assert isinstance(found, Candidate)
    assert found.log_loss == _tried(lambda parts: Dial(parts, x=0.5)).log_loss
    assert found.log_loss.value < best.log_loss.value


def test_what_is_clearly_behind_is_given_up_before_the_last_fold() -> None:
    found = _judged(Dial(PROPOSAL.parts, x=1.0, kind="odd"), _tried(lambda parts: Dial(parts, x=0.3)))
    assert isinstance(found, GivenUp)
    assert found.step < 5
    assert not found.late


def test_what_cannot_end_in_time_is_given_up_as_late() -> None:
    found = _judged(Dial(PROPOSAL.parts, x=0.3), _tried(Dial), deadline=-math.inf)
    assert found == GivenUp(1, pytest.approx(found.loss if isinstance(found, GivenUp) else math.nan), late=True)


def test_what_judges_all_folds_together_is_never_given_up() -> None:
    found = _judged(Linear(PROPOSAL.parts, l2=1e3), _tried(lambda parts: Dial(parts, x=0.3)), deadline=-math.inf)
    assert isinstance(found, Candidate)


@pytest.mark.parametrize(
    ("n_epochs", "expected"), [(1, set()), (2, {1}), (3, {1, 2}), (4, {1, 2, 3}), (6, {2, 3, 5}), (13, {4, 7, 10})]
)
def test_a_training_is_looked_at_on_its_way_and_never_at_its_end(n_epochs: int, expected: set[int]) -> None:
    assert looks(n_epochs) == expected


def test_the_best_trial_has_the_lowest_loss_and_of_equals_the_first() -> None:
    right = np.ones(3, dtype=bool)
    trials = [Trial(number, {}, right, np.full(3, loss), 0.0) for number, loss in ((4, 0.5), (2, 0.5), (1, 0.7))]
    assert best_of(trials).number == 2
