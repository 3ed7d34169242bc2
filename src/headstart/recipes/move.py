"""Moving weights within a budget: one strategy on one backbone, fold after fold, and at last on all items."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies import MOVING, STRATEGIES, MakeMoving, MovingStrategy, Strategy
from headstart.adaptation.strategies.linear import Linear
from headstart.adaptation.strategies.settings import settled, values_of
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, Items
from headstart.errors import OptionError
from headstart.evaluation.calibration import softmax
from headstart.evaluation.metrics import accuracy
from headstart.evaluation.records import Estimate
from headstart.features.extract import extract
from headstart.features.memory import MemoryStore
from headstart.recipes.climb import RESERVE_S, Climb
from headstart.recipes.watch import Watch
from headstart.search.candidates import Candidate
from headstart.search.choice import choose
from headstart.search.moving import Moved, judge_moved, starting_head

if TYPE_CHECKING:
    from headstart.adaptation.tuning import Tuned

LAST = "last"
"""The layer that moves, and the name of the proposal of it alone."""


def check_modality(strategies: Iterable[Strategy | MovingStrategy], modality: str) -> None:
    """Refuse strategies that are not for such items, before anything is computed.

    Args:
        strategies: What was asked for.
        modality: `image` or `text`.

    Raises:
        OptionError: If one cannot be used.
    """
    for strategy in strategies:
        if modality not in strategy.modalities:
            raise OptionError(
                f"the strategy {strategy.name!r} is for {' and '.join(strategy.modalities)}s, "
                f"but the data holds {modality}s",
                hint=f"For {modality}s there are {', '.join(_names_for(modality))}.",
            )


def _names_for(modality: str) -> list[str]:
    on_features = [name for name, make in STRATEGIES.items() if modality in make(()).modalities]
    return [*on_features, *(name for name, make in MOVING.items() if modality in make().modalities)]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The model of a run.

    Attributes:
        predictor: From features to probabilities.
        training: Its accuracy on the training items, which it was fitted on.
        local: The backbone with moved weights; None where they stayed.
        note: What is to be said about it, one sentence; may be empty.
    """

    predictor: Predictor
    training: Estimate
    local: Local | None = None
    note: str = ""


@dataclass
class Move:
    """The trainings of one run; all of them share the activations at a cut.

    Attributes:
        climb: Time, items and features.
        train: The training items.
        folds: The fold of each.
        seed: Of whatever is random.
        scratch: Where activations and the state of trainings are kept, so that a run that was killed goes on.
        watch: Told of each training.
    """

    climb: Climb
    train: Dataset
    folds: Int[np.ndarray, " train"]
    seed: int
    scratch: Path
    watch: Watch
    _reserved_s: float = 0.0  # for a training on all items with the best strategy so far

    def try_all(self, makes: Sequence[MakeMoving], backbones: Sequence[Local]) -> None:
        """Try strategies on the backbone whose features serve a linear head best.

        Args:
            makes: The strategies.
            backbones: Those that were computed, and others.
        """
        for make in makes:
            start = self._start()
            local = next(each for each in backbones if each.spec.name == start.proposal.backbones[0].name)
            if (moved := self.try_out(make(), start, local)) is not None:
                self.climb.candidates.append(moved)

    def _start(self) -> Candidate:
        """Of the best backbone by linear heads on single ones, the head on its layer `last`."""
        linear = [
            each
            for each in self.climb.candidates
            if isinstance(each, Candidate) and each.strategy.name == Linear.name and len(each.proposal.backbones) == 1
        ]
        best = choose(linear, groups=self.train.groups).winner.proposal.backbones
        return next(each for each in linear if each.proposal.backbones == best and each.proposal.layers == LAST)

    def try_out(self, strategy: MovingStrategy, start: Candidate, local: Local) -> Moved | None:
        """Train without one fold, and without others while there is time and hope.

        Args:
            strategy: What moves the weights.
            start: A linear head on the layer `last` of the backbone.
            local: The backbone.

        Returns:
            None where there was no time to train at all.
        """
        climb, begin = self.climb, time.monotonic()
        name = f"{start.proposal.name} · {strategy.name}"
        predicted = climb.pass_s(local, self.train.items, n_views=getattr(strategy, "n_views", 1))
        if predicted > self._left_s():
            climb.skip(name, predicted)
            return None
        results: list[tuple[Bool[np.ndarray, " items"], Tuned]] = []
        moved = None
        for fold in np.unique(self.folds):
            if moved is not None and (moved.difference.high < 0 or 2.2 * moved.final_s > self._left_s()):
                break
            held_out = self.folds == fold
            results.append((held_out, self._fit(strategy, start, local, int(fold), held_out)))
            moved = judge_moved(
                start,
                strategy,
                results,
                self.train.targets,
                seconds=time.monotonic() - begin,
                seed=self.seed,
                groups=self.train.groups,
            )
        if moved is not None:
            self._reserved_s = max(self._reserved_s, moved.final_s)
            climb.workspace.log(
                "candidate",
                name=start.proposal.name,
                strategy=strategy.name,
                oof_accuracy=moved.accuracy.value,
                oof_log_loss=moved.log_loss.value,
                n_tested=moved.accuracy.n,
                against_linear=moved.difference.value,
                seconds=round(moved.seconds, 3),
            )
        return moved

    def finish(self, moved: Moved, local: Local, unseen: Items) -> Fitted:
        """Train on all items, or take the training without the first fold where there is no time left for it.

        Args:
            moved: What was chosen.
            local: Its backbone.
            unseen: The test items, whose features are computed with the network as it was written.
        """
        self._reserved_s, tuned, note = 0.0, moved.first, ""
        if moved.final_s <= self._left_s():
            strategy = settled(moved.strategy, moved.first.chosen)
            tuned = self._fit(strategy, moved.start, local, None, None)
        else:
            n_seen = int(np.count_nonzero(self.folds != self.folds.min()))
            note = (
                f"The weights were trained on {n_seen:,} of {len(self.folds):,} training items: the budget left no "
                "time for another training on all of them."
            )
            self.climb.progress.say(note)
        name, temperature = tuned.local.spec.name, moved.out_of_fold.temperature
        found = extract(unseen, [tuned.local], store=MemoryStore(), compute=self.climb.compute)
        self.climb.unseen[name] = found.features[0]
        predictor = Predictor(self.train.classes, (Part(name, LAST),), tuned.head, temperature)
        on_training = softmax(tuned.logits, temperature)
        training = accuracy(self.train.targets, on_training, groups=self.train.groups)
        return Fitted(predictor, training, tuned.local, note)

    def clean(self) -> None:
        """Remove what only a run that was killed would need."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _left_s(self) -> float:
        return self.climb.clock.left_s - RESERVE_S - self._reserved_s

    def _fit(
        self,
        strategy: MovingStrategy,
        start: Candidate,
        local: Local,
        fold: int | None,
        held_out: Bool[np.ndarray, " items"] | None,
    ) -> Tuned:
        rows = np.arange(len(self.folds)) if held_out is None else np.flatnonzero(~held_out)
        head = starting_head(start, self.climb.seen, self.train.targets, rows, classes=self.train.classes)
        settings = values_of(strategy)
        self.watch.begin(
            strategy=strategy.name,
            backbone=local.spec.name,
            fold=fold,
            n_train=len(rows),
            n_held_out=len(self.folds) - len(rows),
            n_epochs=strategy.n_epochs(len(rows)),
            settings=settings,
        )
        tuned = strategy.fit(
            *(local, self.train.items, self.train.targets, head),
            held_out=held_out,
            folder=self.scratch / f"{strategy.name}-{'whole' if fold is None else fold}",
            scratch=self.scratch,
            compute=self.climb.compute,
            seed=self.seed,
            deadline=time.monotonic() + self._left_s(),
            on_epoch=self.watch.epoch,
            progress=self.climb.progress,
        )
        self.watch.end(tuned.history)
        return tuned
