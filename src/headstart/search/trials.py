"""Trials: other settings of a strategy, judged out-of-fold, and given up as soon as they are clearly behind.

On features a trial is compared with the best one after each fold; where weights move, at looks on the way of one
training, on the items that it holds out. Both are successive halving with evidence in place of ranks: plain halving
gives up the worse half whatever the difference, and on some dozens of items that half is a matter of luck.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.strategies.contract import FoldByFold, OutOfFold, Strategy
from headstart.adaptation.strategies.settings import Value
from headstart.evaluation.calibration import softmax
from headstart.evaluation.intervals import bootstrap_mean
from headstart.evaluation.metrics import item_losses
from headstart.features.extract import Features
from headstart.search.candidates import Candidate, Proposal, from_result
from headstart.search.moving import Moved, some

_FEWEST = 20
_LOOKS = (0.25, 0.5, 0.75)  # shares of a training

DEFAULTS = -1
"""The number of the trial that nobody asked for: that of the defaults."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Settings that were judged on all training items or, where weights move, on those that one training held out.

    Attributes:
        number: Which of its search, from 0.
        settings: What was tried, by name.
        right: For each of these items whether its out-of-fold prediction is right.
        losses: For each the negative log probability of its class, calibrated, in nats.
        seconds: What it took.
        looks: Where weights moved, what held-out items lost on the way, by the number of the epoch.
    """

    number: int
    settings: Mapping[str, Value]
    right: Bool[np.ndarray, " items"]
    losses: Float[np.ndarray, " items"]
    seconds: float
    looks: Mapping[int, Float[np.ndarray, " some"]] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The out-of-fold log loss, by which the best trial is told: as cross-validation chooses its own settings."""
        return float(self.losses.mean(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Searched:
    """What a search has found.

    Attributes:
        candidate: The best trial as a candidate.
        trials: All among which it is the best, itself included.
    """

    candidate: Candidate | Moved
    trials: tuple[Trial, ...]

    @property
    def tested(self) -> Bool[np.ndarray, " items"]:
        """The training items that all trials were judged on."""
        return self.candidate.first_out if isinstance(self.candidate, Moved) else self.candidate.tested

    @property
    def best(self) -> Trial:
        """The trial that became the candidate."""
        return best_of(self.trials)


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial with the lowest out-of-fold log loss; of equals the first.

    Args:
        trials: At least one.
    """
    return min(trials, key=lambda each: (each.loss, each.number))


@dataclass(frozen=True)
class GivenUp:
    """A trial that was not seen to its end.

    Attributes:
        step: How many folds were judged or, where weights move, epochs were done.
        loss: The log loss on their items, or on those that are held out, in nats.
        late: Whether there was no time left for it; else it was clearly behind.
    """

    step: int
    loss: float
    late: bool


def judge_trial(
    proposal: Proposal,
    strategy: Strategy,
    features: Mapping[str, Features],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    *,
    best: Float[np.ndarray, " items"],
    n_classes: int,
    seed: int,
    deadline: float,
    groups: Sequence[str] | None = None,
) -> Candidate | GivenUp:
    """Cross-validate a strategy with other settings, fold by fold where it can, as long as that is worth it.

    Args:
        proposal: What it sees.
        strategy: With the settings of the trial.
        features: Of the training items, by the name of the backbone.
        targets: The class of each training item.
        folds: The fold of each, the same for all trials, so that every comparison is paired.
        best: The losses of the best settings so far.
        n_classes: The number of classes.
        seed: Of whatever is random in the strategy, and of intervals.
        deadline: When it must have ended, on the clock of `time.monotonic`.
        groups: For each item what it belongs with; items of one group need not be independent.

    Returns:
        The candidate, or why there is none.

    Raises:
        RuntimeError: If the strategy breaks its promise to judge all folds.
    """
    begin, n_folds = time.monotonic(), len(np.unique(folds))
    for number, (tested, result) in enumerate(_in_turn(strategy, features, targets, folds, n_classes, seed), 1):
        seconds = time.monotonic() - begin
        if tested.all():
            return from_result(*(proposal, strategy, result, targets), seconds=seconds, seed=seed, groups=groups)
        losses = item_losses(targets[tested], softmax(result.logits[tested], result.temperature))
        late = begin + seconds * n_folds / number > deadline
        if late or is_behind(losses, best[tested], seed=seed, groups=some(groups, tested)):
            return GivenUp(number, float(losses.mean()), late)
    raise RuntimeError(f"{strategy.name} ended before all folds were judged")


def looks(n_epochs: int) -> frozenset[int]:
    """After which epochs of a training it is compared with the best one, at the same share of the same schedule.

    The order on the way is not that of the end: a high rate makes restless weights that come to rest with the schedule.
    So what is behind by less than its interval goes on.

    Args:
        n_epochs: How many it has.
    """
    return frozenset(math.ceil(share * n_epochs) for share in _LOOKS) - {n_epochs}


def is_behind(
    losses: Float[np.ndarray, " items"],
    best: Float[np.ndarray, " items"],
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> bool:
    """Whether a trial is clearly behind the best one so far: the interval of its further losses lies above zero.

    The interval is that of the paired bootstrap at 95 %, over groups where there are some. A trial that is as good as
    the best one is given up at one look with a chance of about 2.5 %, which costs nothing, and a better one with less.
    Of fewer than 20 items or groups the bootstrap makes intervals that are too narrow; these set nothing apart.

    Args:
        losses: Of the trial on the items that were judged so far, in nats.
        best: Those of the best trial, on the same items.
        seed: Of the bootstrap.
        groups: For each item what it belongs with.
    """
    if len(losses if groups is None else set(groups)) < _FEWEST:
        return False
    return bootstrap_mean(losses - best, seed=seed, groups=groups).low > 0


def _in_turn(
    strategy: Strategy,
    features: Mapping[str, Features],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    n_classes: int,
    seed: int,
) -> Iterator[tuple[Bool[np.ndarray, " items"], OutOfFold]]:
    """What is known after each fold, or only at the end where the strategy judges all folds together."""
    if isinstance(strategy, FoldByFold):
        yield from strategy.fold_by_fold(features, targets, folds, n_classes=n_classes, seed=seed)
    else:
        whole = strategy.cross_validate(features, targets, folds, n_classes=n_classes, seed=seed)
        yield np.ones(len(targets), dtype=np.bool_), whole
