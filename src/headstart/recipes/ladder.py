"""Which step comes next: the one that is expected to bring most for its time, of those that the budget has room for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int

from headstart.adaptation.strategies import MOVING, MovingStrategy
from headstart.adaptation.strategies.linear import Linear
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset
from headstart.recipes.climb import Climb
from headstart.recipes.move import LAST, Move
from headstart.recipes.options import FitOptions
from headstart.recipes.trials import Trials
from headstart.recipes.validation import Validation, repeat, without_repeats
from headstart.reports.record import RungRecord
from headstart.search import gains
from headstart.search.candidates import Candidate, Proposal, joint_proposals, proposals
from headstart.search.choice import expected_accuracy
from headstart.search.moving import Moved

LONG_S = 10.0
"""Steps that take less together are not worth a model on disk before them."""
_MOST_SHOWN = 4


@dataclass(frozen=True)
class Rung:
    """A step that can be made.

    Attributes:
        name: What it is.
        seconds: What it is expected to take.
        later_s: What follows at the end if its result is chosen.
        least_s: What must be left for it; it then makes do.
        gain: The accuracy that it is expected to add to that of the best candidate, 0 to 1.
        make: Makes the step.
        takes_all: Whether it may take all the time that is left.
    """

    name: str
    seconds: float
    later_s: float
    least_s: float
    gain: float
    make: Callable[[], None]
    takes_all: bool = False

    @property
    def merit(self) -> float:
        """Gain for time."""
        return self.gain / max(self.seconds + self.later_s, 1e-3)


@dataclass
class Ladder:
    """The steps of one fit.

    Attributes:
        climb: Passes and heads; has the features of the first backbone.
        move: Trainings.
        train: The training items.
        folds: The fold of each.
        backbones: The first one, and those that may follow.
        options: What the user asked for.
        rungs: What was done so far.
        home: headstart's home, where trials are kept; None keeps them in memory.
        validation: On which folds candidates on features were judged.
        trials: The searches for settings.
    """

    climb: Climb
    move: Move
    train: Dataset
    folds: Int[np.ndarray, " train"]
    backbones: Sequence[Local]
    options: FitOptions
    rungs: list[RungRecord] = field(default_factory=list)
    home: Path | None = None
    validation: Validation = field(init=False)
    trials: Trials = field(init=False)
    _tried: set[str] = field(default_factory=set)
    _reached: list[Local] = field(default_factory=list)
    _n_joined: int = 1

    def begin(self) -> None:
        """Heads on the first backbone: after this there is a model."""
        self.trials = Trials(
            *(self.climb, self.train, self.folds, self.backbones, self.options, self.home), move=self.move
        )
        self.validation = without_repeats(self.train, self.folds, self.options)
        self._reach(self.backbones[0])

    @property
    def takes_long(self) -> bool:
        """Whether the first model is worth writing before a better one is looked for."""
        fitting = [each.seconds for each in self._possible() if each.least_s <= self.climb.left_s]
        return not self._needs_moving and sum(fitting) >= LONG_S

    def ascend(self) -> None:
        """Step after step, until nothing is left that is worth its time or has room in the budget.

        Raises:
            HeadstartError: If the user named only strategies that move weights, and none can be trained.
        """
        with self.climb.clock.step("search"):
            self.move.try_all(self.options.moves, self.backbones, needed=self._needs_moving)
        if self.options.moves:  # also those that had no time, or failed: they would again
            backbone = self.move.start().proposal.backbones[0].name
            self._tried |= {f"{backbone} · {LAST} · {make().name}" for make in self.options.moves}
        while fitting := [each for each in self._possible() if each.least_s <= self.climb.left_s]:
            ordered = sorted(fitting, key=lambda each: -each.merit)
            if ordered[0].takes_all and self._try_side_by_side():
                continue  # with what they have shown
            self._say_plan(ordered)
            self._make(ordered[0])
        for each in self._possible():
            self.climb.skip(each.name, each.least_s)
        self._try_side_by_side()
        with self.climb.clock.step("search"):
            self.trials.search_all()
            self.move.go_on()  # with what they have found
            self.validation = repeat(self.climb, self.train, self.validation, self.options)

    @property
    def _needs_moving(self) -> bool:
        """Whether the user named nothing but strategies that move weights."""
        return bool(self.options.moves) and len(self.options.moves) == len(self.options.strategies)

    def _possible(self) -> list[Rung]:
        return [each for each in (*self._passes(), *self._trainings()) if each.name not in self._tried]

    def _passes(self) -> Iterator[Rung]:
        """Backbones that have not been computed."""
        for local in self.backbones[1:]:
            seconds = self.climb.next_pass_s(local)
            gain = gains.further_backbone(1 - self._best)
            yield Rung(local.spec.name, seconds, 0.0, seconds, gain, partial(self._pass, local))

    def _trainings(self) -> Iterator[Rung]:
        """Strategies that move weights, on backbones on which a linear head was fitted; unasked only where it pays."""
        asked = {make().name: make for make in self.options.moves}
        if self.options.strategies and not asked:
            return
        labels_a_class = len(self.train) / len(self.train.classes)
        for name, make in (asked or {name: MOVING[name] for name in gains.suited(self.train.modality)}).items():
            of_this = [each for each in self.climb.candidates if isinstance(each, Moved) and each.strategy.name == name]
            seen = [_share_taken(each) for each in of_this]
            done = {each.proposal.backbones[0].name for each in of_this}
            for local in self._reached:
                linear = self._linear(local)
                if not linear or local.spec.name in done:
                    continue
                error = 1 - max(each.accuracy.value for each in linear)
                brought = gains.moving(name, self.train.modality, error=error, labels_a_class=labels_a_class, seen=seen)
                gain = 1 - error + brought - self._best
                if gain < gains.LEAST_GAIN:
                    continue
                strategy = make()
                cost = self.move.cost(strategy, local)
                called = f"{local.spec.name} · {LAST} · {name}"
                make_it = partial(self._train, strategy, local)
                later_s, least_s = cost.final_s, cost.least_s
                less = gain - gains.FEWER_ITEMS * error
                if least_s > self.climb.left_s and less >= gains.LEAST_GAIN:
                    gain, later_s, least_s = less, 0.0, cost.alone_s
                yield Rung(called, cost.first_s, later_s, least_s, gain, make_it, takes_all=True)

    def _make(self, rung: Rung) -> None:
        before, begin = self._best, time.monotonic()
        predicted_s = min(rung.seconds, self.climb.left_s)  # a training has fewer epochs where there is less time
        self._tried.add(rung.name)
        rung.make()
        record = RungRecord(
            name=rung.name,
            predicted_s=round(predicted_s, 1),
            seconds=round(time.monotonic() - begin, 1),
            predicted_gain=round(rung.gain, 4),
            gain=round(self._best - before, 4),
        )
        self.rungs.append(record)
        self.climb.workspace.log("rung", **asdict(record))

    def _pass(self, local: Local) -> None:
        with self.climb.clock.step("extract"):
            there = self.climb.next_pass(local)
        if there:
            self._reach(local)

    def _reach(self, local: Local) -> None:
        self._reached.append(local)
        with self.climb.clock.step("search"):
            self._try(proposals(local.spec))

    def _try(self, wanted: Sequence[Proposal]) -> None:
        self.climb.try_all(
            wanted,
            self.options.makes,
            self.train.targets,
            self.folds,
            n_classes=len(self.train.classes),
            seed=self.options.seed,
            groups=self.train.groups,
        )

    def _try_side_by_side(self) -> bool:
        """All backbones that were reached together; whether that was to be done."""
        specs = [local.spec for local in self._reached]
        if len(specs) <= self._n_joined:
            return False
        self._n_joined = len(specs)
        with self.climb.clock.step("search"):
            self._try(joint_proposals(specs))
        return True

    def _train(self, strategy: MovingStrategy, local: Local) -> None:
        with self.climb.clock.step("search"):
            self.move.try_one(strategy, self.move.start(local), local)

    def _linear(self, local: Local) -> list[Candidate]:
        """The linear heads on one backbone, if one on the layer that a training starts from is among them."""
        found = [
            each
            for each in self.climb.candidates
            if isinstance(each, Candidate) and each.strategy.name == Linear.name
            if each.proposal.backbones == (local.spec,)
        ]
        return found if any(each.proposal.layers == LAST for each in found) else []

    @property
    def _best(self) -> float:
        return max(map(expected_accuracy, self.climb.candidates))

    def _say_plan(self, ordered: Sequence[Rung]) -> None:
        """What comes next, and what it costs; a person can then still say that it is too much."""
        left_s = self.climb.left_s
        costs = [(each.name, min(each.seconds + each.later_s, left_s)) for each in ordered[:_MOST_SHOWN]]
        steps = [f"{name} (about {seconds:.0f} s)" for name, seconds in costs]
        more = f" and {len(ordered) - _MOST_SHOWN} more" if len(ordered) > _MOST_SHOWN else ""
        self.climb.progress.say(f"Next: {', then '.join(steps)}{more}; {left_s:.0f} s are left for it.")


def _share_taken(moved: Moved) -> float:
    """The share of the errors of its start that a training took away, 0 to 1."""
    errors = np.count_nonzero(moved.tested & ~moved.start.right)
    return min(1.0, max(0.0, moved.difference.value * moved.difference.n / errors)) if errors else 0.0
