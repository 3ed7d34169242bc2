"""What a search for settings is about: a strategy on features, or one that moves weights, and how a trial is judged."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from headstart.adaptation.epochs import TIMELY, GiveUp
from headstart.adaptation.strategies.settings import Value, settled, values_of
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset
from headstart.evaluation.calibration import calibrated_losses, softmax
from headstart.evaluation.metrics import item_losses
from headstart.features.extract import namespace_of
from headstart.recipes.climb import Climb
from headstart.recipes.move import Attempt, Move
from headstart.search.candidates import Candidate, try_out
from headstart.search.choice import AnyCandidate
from headstart.search.moving import Moved, some
from headstart.search.space import Space
from headstart.search.trials import DEFAULTS, GivenUp, Trial, is_behind, judge_trial


class Subject(Protocol):
    """A strategy with its defaults, and the best of the trials that this process has judged."""

    @property
    def base(self) -> AnyCandidate:
        """The candidate with the defaults."""

    @property
    def space(self) -> Space:
        """What is searched."""

    @property
    def known(self) -> Trial:
        """What the defaults came to, as if they were a trial."""

    @property
    def held(self) -> Trial | None:
        """The best trial that was judged here, if any."""

    @property
    def n_held_out(self) -> int | None:
        """How many items trials are judged on where weights move; None where these are all training items."""

    @property
    def left_s(self) -> float:
        """Seconds for trials: what is left but for what must follow."""

    @property
    def first_s(self) -> float:
        """About how long the first trial takes, in seconds."""

    def judge(self, number: int, settings: Mapping[str, Value], best: Trial | None) -> Trial | GivenUp:
        """See a trial to its end, unless it is clearly behind or there is no time for that.

        Args:
            number: Which.
            settings: What to try.
            best: What it is compared with on the way; None for nothing.

        Raises:
            HeadstartError: If it cannot be judged.
        """

    def enter(self) -> AnyCandidate | None:
        """Make the best trial that was judged here a candidate, if there is one and it is worth a place among them."""

    def is_worth_it(self, trial: Trial) -> bool:
        """Whether a trial would become a candidate if it is the best.

        Args:
            trial: Which.
        """

    def identity(self) -> list[object]:
        """What makes two searches the same, besides items, folds, space and seed."""


@dataclass
class OnFeatures:
    """A strategy on features: trials are judged fold by fold.

    Attributes:
        base: The candidate with the defaults.
        space: What is searched.
        climb: Has the features, the time and the candidates.
        train: The training items.
        folds: The fold of each.
        seed: Of whatever is random.
        backbones: Those of the candidate, among others.
    """

    base: Candidate
    space: Space
    climb: Climb
    train: Dataset
    folds: Int[np.ndarray, " train"]
    seed: int
    backbones: Sequence[Local]
    held: Trial | None = None
    _candidate: Candidate | None = None

    @property
    def n_held_out(self) -> None:
        """Trials are judged on all training items."""

    @property
    def known(self) -> Trial:
        """What the defaults came to, as if they were a trial."""
        return self._trial(DEFAULTS, {name: getattr(self.base.strategy, name) for name in self.space}, self.base)

    @property
    def left_s(self) -> float:
        """Seconds for trials: what is left but for what must follow."""
        return self.climb.left_s

    @property
    def first_s(self) -> float:
        """About how long the first trial takes, in seconds."""
        return self.base.seconds

    def judge(self, number: int, settings: Mapping[str, Value], best: Trial | None) -> Trial | GivenUp:
        """See a trial to its end, unless it is clearly behind or there is no time for that.

        Args:
            number: Which.
            settings: What to try.
            best: What it is compared with on the way; None for nothing.
        """
        strategy = settled(self.base.strategy, settings)
        outcome: Candidate | GivenUp
        if best is None:
            outcome = try_out(
                *(self.base.proposal, self.climb.seen, self.train.targets, self.folds),
                make=lambda _: strategy,
                n_classes=len(self.train.classes),
                seed=self.seed,
                groups=self.train.groups,
            )
        else:
            outcome = judge_trial(
                *(self.base.proposal, strategy, self.climb.seen, self.train.targets, self.folds),
                best=best.losses,
                n_classes=len(self.train.classes),
                seed=self.seed,
                deadline=time.monotonic() + self.left_s,
                groups=self.train.groups,
            )
        if isinstance(outcome, GivenUp):
            return outcome
        found = self._trial(number, settings, outcome)
        if self.held is None or best is None or found.loss < self.held.loss:
            self.held, self._candidate = found, replace(outcome, searched=True)
        return found

    def enter(self) -> Candidate | None:
        """Make the best trial that was judged here a candidate, if there is one."""
        if self._candidate is not None:
            self.climb.candidates.append(self._candidate)
        return self._candidate

    def is_worth_it(self, trial: Trial) -> bool:  # noqa: ARG002 - the choice knows the defaults on all items too
        """Whether a trial would become a candidate if it is the best.

        Args:
            trial: Which.
        """
        return True

    def identity(self) -> list[object]:
        """What makes two searches the same, besides items, folds, space and seed."""
        by_name, proposal = {local.spec.name: local for local in self.backbones}, self.base.proposal
        return [
            [namespace_of(by_name[spec.name], self.climb.compute).id for spec in proposal.backbones],
            [(part.backbone, part.layer) for part in proposal.parts],
            *(self.base.strategy.name, _fixed(self.base, self.space), self.climb.compute.device),
        ]

    def _trial(self, number: int, settings: Mapping[str, Value], candidate: Candidate) -> Trial:
        result = candidate.out_of_fold
        losses = item_losses(self.train.targets, softmax(result.logits, result.temperature))
        return Trial(number, settings, candidate.right, _as_kept(losses), candidate.seconds)


@dataclass
class WithMovedWeights:
    """A strategy that moves weights: each trial is one training, without the fold that the defaults were judged on.

    Attributes:
        base: The candidate with the defaults.
        space: What is searched.
        climb: Has time and candidates.
        move: Trains.
        train: The training items.
        seed: Of intervals and trainings.
        local: The backbone.
    """

    base: Moved
    space: Space
    climb: Climb
    move: Move
    train: Dataset
    seed: int
    local: Local
    held: Trial | None = None
    _attempt: Attempt | None = None

    @property
    def n_held_out(self) -> int:
        """How many items trials are judged on."""
        return int(np.count_nonzero(self.base.first_out))

    @property
    def known(self) -> Trial:
        """What the defaults came to, as if they were a trial."""
        values = {name: getattr(self.base.strategy, name) for name in self.space}
        return replace(self._trial(DEFAULTS, values, self.base), looks=self.move.looks_of(self.base))

    @property
    def left_s(self) -> float:
        """Seconds for trials: what is left but for what must follow.

        Once one looks better than the defaults, that is also another fold for both, on which it was not lucky.
        """
        return self.move.spare_s(self.base, n_further=2 if self.held and self.is_worth_it(self.held) else 0)

    @property
    def first_s(self) -> float:
        """About how long the first trial takes, in seconds."""
        return self.move.whole_s(self.base)

    def judge(self, number: int, settings: Mapping[str, Value], best: Trial | None) -> Trial | GivenUp:
        """See a trial to its end, unless it is clearly behind or there is no time for that.

        Args:
            number: Which.
            settings: What to try.
            best: What it is compared with on the way; None for nothing.

        Raises:
            HeadstartError: If it cannot be trained.
        """
        n_train = int(np.count_nonzero(~self.base.first_out))
        ends = time.monotonic() + self.left_s - self.move.after_s(self.base)
        looker = _Looker(
            n_epochs=settled(self.base.strategy, settings).n_epochs(n_train),
            ends=ends,
            is_behind=lambda epoch, losses: best is not None and self._is_behind(losses, best.looks.get(epoch)),
        )
        try:
            attempt = self.move.vary(self.base, settings, looker, deadline=ends)
        except GiveUp:
            return looker.given_up
        history = attempt.results[0][1].history
        if attempt.moved is None or history.cut or history.diverged:
            self.move.discard(attempt)
            # What had fewer epochs says nothing about the settings, and what went astray says enough.
            return GivenUp(len(history.epochs), looker.given_up.loss, late=history.cut)
        found = replace(self._trial(number, settings, attempt.moved), looks=attempt.looks)
        if self.held is None or best is None or found.loss < self.held.loss:
            self._discard_held()
            self.held, self._attempt = found, attempt
        else:
            self.move.discard(attempt)
        return found

    def enter(self) -> Moved | None:
        """Make the best trial that was judged here a candidate, if it is better than the defaults on the same items."""
        if self._attempt is None or self.held is None:
            return None
        if not self.is_worth_it(self.held):
            self._discard_held()
            return None
        self.move.enter(self._attempt)
        return self._attempt.moved

    def is_worth_it(self, trial: Trial) -> bool:
        """Whether a trial would become a candidate if it is the best.

        A choice by accuracy alone among two that were tested on some dozens of items would be one by luck: it should be
        better by the log loss too.

        Args:
            trial: Which.
        """
        return trial.loss < self.known.loss

    def identity(self) -> list[object]:
        """What makes two searches the same, besides items, folds, space and seed."""
        start, strategy, compute = self.base.start, self.base.strategy, self.climb.compute
        n_train = int(np.count_nonzero(~self.base.first_out))
        return [
            [namespace_of(self.local, compute).id, compute.device, compute.precision],
            [values_of(start.strategy), dict(start.out_of_fold.chosen), np.flatnonzero(self.base.first_out).tolist()],
            *(strategy.name, _fixed(self.base, self.space), strategy.n_epochs(n_train)),
        ]

    def _is_behind(self, losses: Float[np.ndarray, " some"], best: Float[np.ndarray, " some"] | None) -> bool:
        if best is None or len(best) != len(losses):
            return False
        groups = some(self.train.groups, self.base.first_out)
        if groups is not None and len(losses) < len(groups):
            return False  # the strategy looks at some of the items only, and which groups these are of is not known
        return is_behind(losses, best, seed=self.seed, groups=groups)

    def _discard_held(self) -> None:
        if self._attempt is not None:
            self.move.discard(self._attempt)
        self.held = self._attempt = None

    def _trial(self, number: int, settings: Mapping[str, Value], moved: Moved) -> Trial:
        out = self.base.first_out
        # Calibrated for comparisons: with the temperature that is shipped, weights without an error on some dozens of
        # items would look worse than sharper ones with an error.
        losses = calibrated_losses(moved.out_of_fold.logits[out], self.train.targets[out])
        return Trial(number, settings, moved.right[out], _as_kept(losses), moved.seconds)


@dataclass
class _Looker:
    """Looks at a training after each epoch, and gives it up when it is clearly behind or would come too late.

    Attributes:
        n_epochs: How many it has.
        ends: When the last one must be over, on the clock of `time.monotonic`.
        is_behind: Whether what held-out items lose after an epoch is clearly more than they should.
        given_up: When and why, as far as it went.
    """

    n_epochs: int
    ends: float
    is_behind: Callable[[int, Float[np.ndarray, " some"]], bool]
    given_up: GivenUp = field(default_factory=lambda: GivenUp(0, math.nan, late=False))
    _begin: float | None = None
    _first: int = 0

    def __call__(self, epoch: int, losses: Float[np.ndarray, " some"]) -> None:
        now, loss = time.monotonic(), float(losses.mean()) if len(losses) else math.nan
        is_behind, late = self.is_behind(epoch, losses), False
        if self._begin is None:
            self._begin, self._first = now, epoch
        else:
            lap_s, n_left = (now - self._begin) / (epoch - self._first), self.n_epochs - epoch
            late = n_left > 0 and now + lap_s * n_left / TIMELY > self.ends  # else the loop would shorten its schedule
        self.given_up = GivenUp(epoch, loss, late=late and not is_behind)
        if late or is_behind:
            raise GiveUp


def _fixed(base: AnyCandidate, space: Space) -> dict[str, Value]:
    return {name: value for name, value in values_of(base.strategy).items() if name not in space}


def _as_kept(losses: Float[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
    """Through float32, so that it plays no part whether a trial comes from the storage."""
    return losses.astype(np.float32).astype(np.float64)
