"""Moving weights within a budget: one strategy on one backbone, fold after fold, and at last on all items."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float16, Int

from headstart._fingerprint import fingerprint
from headstart.adaptation.epochs import Epoch
from headstart.adaptation.predictor import AnyPredictor, Part, Predictor
from headstart.adaptation.strategies import MOVING, STRATEGIES, MakeMoving, MovingStrategy, Strategy
from headstart.adaptation.strategies.linear import Linear
from headstart.adaptation.strategies.settings import Value, settled, values_of
from headstart.backbones.loaders import can_be_cut
from headstart.backbones.resolve import Local
from headstart.backbones.tensors import has_linear_layers
from headstart.data.dataset import Dataset, Items
from headstart.errors import HeadstartError, OptionError
from headstart.evaluation.calibration import softmax
from headstart.evaluation.metrics import accuracy, item_losses
from headstart.evaluation.records import Estimate
from headstart.features.extract import extract
from headstart.features.memory import MemoryStore
from headstart.recipes.climb import Climb
from headstart.recipes.watch import Watch
from headstart.reports.record import TrainingRecord
from headstart.search.candidates import Candidate
from headstart.search.choice import ahead_of, choose
from headstart.search.moving import Moved, judge_moved, some, starting_head
from headstart.search.trials import looks

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


def check_backbones(strategies: Iterable[MovingStrategy], backbones: Sequence[Local]) -> None:
    """Refuse what no backbone can be trained with, before anything is computed.

    Args:
        strategies: Those of the asked ones that move weights.
        backbones: Those that come into question.

    Raises:
        OptionError: If one cannot be used.
    """
    for strategy in strategies:
        if not any(can_be_cut(local.spec) for local in backbones):
            raise OptionError(
                f"the strategy {strategy.name!r} moves weights, but those of "
                f"{' and '.join(local.spec.name for local in backbones)} cannot be moved",
                hint="Choose a network of timm for images, one of transformers for texts, or the strategy linear.",
            )
        if getattr(strategy, "trains", "") == "adapters" and not any(map(has_linear_layers, backbones)):
            raise OptionError(
                f"the strategy {strategy.name!r} trains adapters beside linear layers, "
                f"but there are none below the head of {' and '.join(local.spec.name for local in backbones)}",
                hint="For convolutional networks use --strategy biases; "
                "adapters are for vision transformers and networks for texts.",
            )


def _names_for(modality: str) -> list[str]:
    on_features = [name for name, make in STRATEGIES.items() if modality in make(()).modalities]
    return [*on_features, *(name for name, make in MOVING.items() if modality in make().modalities)]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The model of a run.

    Attributes:
        predictor: From features to probabilities.
        training: Its accuracy on the training items that it was fitted on.
        on_training: Its probabilities for all training items.
        fitted_on: Which of them it was fitted on.
        local: The backbone with moved weights; None where they stayed.
        note: What is to be said about it, one sentence; may be empty.
        directions: Of the training items by the moved network, see `Tuned`; None where weights stayed.
    """

    predictor: AnyPredictor
    training: Estimate
    on_training: Float[np.ndarray, "items classes"]
    fitted_on: Bool[np.ndarray, " items"]
    local: Local | None = None
    note: str = ""
    directions: Float16[np.ndarray, "items width"] | None = None


# Of a pass: computing what flows over the cut, which is low where all stages move, and the end, for which the stages
# that were trained run again. Pictures are decoded again.
_BELOW, _BELOW_ALL, _AFTER_UPPER = {"image": 1.0, "text": 0.7}, {"image": 0.4, "text": 0.1}, 0.4
# Of a pass, for each item that a training sees: forward and back through all stages, or the last two of about seven.
_WHOLE, _UPPER = 3.0, {"image": 0.9, "text": 0.85}
_LEAST = 0.5  # of the epochs that a strategy wants; with fewer a training is not worth its beginning
_PLANNED = 0.95  # of the time that is left is what a training plans its epochs for
_FURTHER = 1.1  # of the last training is what one without another fold is expected to take
_ENOUGH = 0.7  # of them; with fewer in two trainings one that has all the time is better


_MEASURING = 1.1  # times its steps is what an epoch takes with a look at the items that are held out

Look = Callable[[int, Float[np.ndarray, " some"]], None]
"""Told after each epoch its number and what held-out items lose, in nats; it may raise `GiveUp`."""


@dataclass(eq=False)
class Attempt:
    """One strategy on one backbone, with what its trainings made so far.

    Attributes:
        strategy: With its settings.
        start: The linear head that it starts from.
        local: The backbone.
        searched: Whether its settings are those of a trial.
        moved: What its trainings say; None before the first, and after one that failed.
        results: For each training the items that were held out, and what it made.
        looks: What held-out items lost on the way of the first, by the epoch; nothing where it was taken up at its end.
        seconds: What its trainings took.
        after_s: From the end of the last epoch to the end of the training, in seconds; 0 where it was taken up there.
        files: What its trainings have written.
        records: What they were recorded as.
    """

    strategy: MovingStrategy
    start: Candidate
    local: Local
    searched: bool = False
    moved: Moved | None = None
    results: list[tuple[Bool[np.ndarray, " items"], Tuned]] = field(default_factory=list)
    looks: dict[int, Float[np.ndarray, " some"]] = field(default_factory=dict)
    seconds: float = 0.0
    after_s: float = 0.0
    files: list[Path] = field(default_factory=list)
    records: list[TrainingRecord] = field(default_factory=list)

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.start.proposal.name} · {self.strategy.name}"


@dataclass(frozen=True)
class Cost:
    """What trying a strategy takes, in seconds.

    Attributes:
        first_s: A training without one fold that nothing ends early.
        final_s: What follows if it is chosen: a training on all items, and the features of the test.
        least_s: All of it with as few epochs as are worth it.
        alone_s: The same without the training on all items.
    """

    first_s: float
    final_s: float
    least_s: float
    alone_s: float


@dataclass
class Move:
    """The trainings of one run; those on one backbone share the activations at a cut.

    Attributes:
        climb: Time, items and features.
        train: The training items.
        folds: The fold of each.
        unseen: The test items, whose features are computed with the network as it was written.
        seed: Of whatever is random.
        scratch: Where activations and the state of trainings are kept, so that a run that was killed goes on.
        watch: Told of each training.
    """

    climb: Climb
    train: Dataset
    folds: Int[np.ndarray, " train"]
    unseen: Items
    seed: int
    scratch: Path
    watch: Watch
    _attempts: list[Attempt] = field(default_factory=list)
    _order: list[int] = field(default_factory=list)

    def try_all(self, makes: Sequence[MakeMoving], backbones: Sequence[Local], *, needed: bool) -> None:
        """Train strategies without one fold, on the backbone whose features serve a linear head best.

        Args:
            makes: The strategies.
            backbones: Those that were computed, and others.
            needed: Whether the user named nothing else. One that cannot be trained is then an error, else left out.

        Raises:
            HeadstartError: If none can be trained, though they are needed.
        """
        if not makes:
            return
        start = self.start()
        local = next(each for each in backbones if each.spec.name == start.proposal.backbones[0].name)
        failed: list[HeadstartError] = []
        for number, make in enumerate(makes):
            failed += self.try_one(make(), start, local, n_left=len(makes) - number)
        if len(failed) == len(makes) and needed:
            raise failed[0]

    def try_one(
        self, strategy: MovingStrategy, start: Candidate, local: Local, *, n_left: int = 1
    ) -> tuple[HeadstartError, ...]:
        """Train a strategy without one fold, if there is time for it; the result is a candidate.

        Args:
            strategy: Which.
            start: The linear head on the layer `last` of the backbone.
            local: The backbone.
            n_left: How many strategies share the time that is left; at last there is a training on all items.

        Returns:
            Why it could not be trained; nothing where it could, or where there was no time.
        """
        attempt = Attempt(strategy, start, local)
        try:
            attempt.moved = self._first(attempt, n_left=n_left)
        except HeadstartError as error:
            self.climb.progress.say(f"{attempt.name} is left out: {error}.")
            self.climb.workspace.log("skipped", what=attempt.name, error=str(error))
            return (error,)
        if attempt.moved is not None and not attempt.moved.first.history.epochs:
            self.climb.progress.say(f"{attempt.name} is left out: its time was up before the first epoch had ended.")
            self.climb.workspace.log("skipped", what=attempt.name, epochs=0)
        elif attempt.moved is not None:
            self._attempts.append(attempt)
            self.climb.candidates.append(attempt.moved)
            self._tell(attempt.moved)
            self._reserve()
        return ()

    def go_on(self) -> None:
        """Train without further folds, in turn, while it is open whether moving the weights helps and there is time."""
        for fold in self._order[1:]:
            for attempt in self._attempts:
                before, left_s, rival = attempt.moved, self._left_s(attempt.local), self._open_rival(attempt)
                if before is None or not (rival or before.difference.low <= 0 <= before.difference.high):
                    continue
                reserved_s = max(each.moved.final_s for each in self._attempts if each.moved)
                # Of two that are compared, one is not worth a fold without the other.
                n_wanted = 2 if rival and len(rival.results) <= len(attempt.results) else 1
                if n_wanted * _FURTHER * before.final_s + reserved_s <= left_s:
                    try:
                        attempt.moved = self._without(attempt, fold, time.monotonic() + left_s - reserved_s)
                    except HeadstartError as error:  # what was judged on other folds is there all the same
                        self.climb.progress.say(f"{attempt.name} goes no further: {error}.")
                        attempt.moved = None
                        continue
                    place = next(n for n, each in enumerate(self.climb.candidates) if each is before)
                    self.climb.candidates[place] = attempt.moved
                    self._tell(attempt.moved)

    def vary(self, base: Moved, settings: Mapping[str, Value], look: Look, *, deadline: float) -> Attempt:
        """Train the strategy of a candidate with other settings, from the same head and without the same items.

        The kept activations are shared. What comes of it is no candidate until it is entered.

        Args:
            base: The candidate.
            settings: What is other than there.
            look: Told of each epoch; when it gives the training up, nothing is left of it.
            deadline: When its last epoch must be over, on the clock of `time.monotonic`.

        Raises:
            HeadstartError: If it cannot be trained.
        """
        tried = self._attempt_of(base)
        attempt = Attempt(settled(tried.strategy, settings), tried.start, tried.local, searched=True)
        fold = int(self.folds[base.first_out][0])
        try:
            attempt.moved = self._without(attempt, fold, deadline, look)
        finally:
            self.watch.close()
        return attempt

    def enter(self, attempt: Attempt) -> None:
        """Make a training with other settings a candidate.

        Args:
            attempt: What `vary` made.
        """
        if attempt.moved is not None:
            self._attempts.append(attempt)
            self.climb.candidates.append(attempt.moved)
            self._tell(attempt.moved)
            self._reserve()

    def discard(self, attempt: Attempt) -> None:
        """Remove what a training with other settings has made.

        Args:
            attempt: What `vary` made, and nobody needs.
        """
        self.watch.forget(attempt.records)
        for path in attempt.files:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def looks_of(self, base: Moved) -> dict[int, Float[np.ndarray, " some"]]:
        """What held-out items lost on the way of a first training, by the epoch.

        Args:
            base: The candidate. Where time cut its schedule short, an epoch stands for another share of it: nothing.
        """
        return {} if base.first.history.cut else self._attempt_of(base).looks

    def whole_s(self, base: Moved) -> float:
        """About how long a training like the first one takes that has all of its epochs, in seconds.

        Args:
            base: The candidate.
        """
        epochs = base.first.history.epochs
        lap_s = sum(each.seconds for each in epochs) / len(epochs)
        n_epochs = base.strategy.n_epochs(int(np.count_nonzero(~base.first_out)))
        return _MEASURING * n_epochs * lap_s + self.after_s(base)

    def after_s(self, base: Moved) -> float:
        """What comes after the last epoch of a training like the first one, in seconds.

        Args:
            base: The candidate.
        """
        attempt = self._attempt_of(base)
        return max(attempt.after_s, self._after_s(attempt.strategy, attempt.local))

    def spare_s(self, base: Moved, *, n_further: int = 0) -> float:
        """Seconds for trainings with other settings: what is left but for that of the best one on all items.

        Args:
            base: The candidate whose settings they vary.
            n_further: How many trainings without another fold are to follow.
        """
        kept_s = max(self.climb.reserved_s, base.final_s) + n_further * _FURTHER * base.final_s
        return self._left_s(self._attempt_of(base).local) - kept_s

    def _attempt_of(self, moved: Moved) -> Attempt:
        return next(each for each in self._attempts if each.moved is moved)

    def _open_rival(self, attempt: Attempt) -> Attempt | None:
        """The same strategy on the same backbone with other settings, while it is open which of the two is better.

        Of a search on one fold the best trial is the luckiest too; what both do on another fold knows nothing of that.
        """
        one = attempt.moved
        for rival in self._attempts:
            other = rival.moved
            if rival is attempt or one is None or other is None or max(one.difference.high, other.difference.high) < 0:
                continue
            if (one.name, one.searched) == (other.name, not other.searched):
                ahead = ahead_of(one, other, self.train.groups)
                return rival if ahead.low <= 0 <= ahead.high else None
        return None

    def cost(self, strategy: MovingStrategy, local: Local) -> Cost:
        """What trying a strategy would take.

        Args:
            strategy: Which.
            local: On which backbone.
        """
        frozen_s = self._frozen_s(strategy, local)
        n_items, after_s = len(self.train), self._after_s(strategy, local)
        n_first = n_items - n_items // len(np.unique(self.folds))
        epochs_s, first_s = (self._epochs_s(strategy, local, n) for n in (n_items, n_first))
        test_s = self.climb.pass_s(local, self.unseen)
        return Cost(
            first_s=frozen_s + first_s + after_s,
            final_s=epochs_s + after_s + test_s,
            least_s=frozen_s + 2 * (_ENOUGH * first_s + after_s) + test_s,  # on all items as many steps will do
            alone_s=frozen_s + _LEAST * first_s + after_s + test_s,
        )

    def start(self, local: Local | None = None) -> Candidate:
        """The linear head on the layer `last` that a training starts from.

        Args:
            local: The backbone; left out, the one whose features serve a linear head best, on whatever layers.
        """
        linear = [
            each
            for each in self.climb.candidates
            if isinstance(each, Candidate) and each.strategy.name == Linear.name and len(each.proposal.backbones) == 1
        ]
        lasts = {each.proposal.backbones[0].name: each for each in linear if each.proposal.layers == LAST}
        if local is not None:
            return lasts[local.spec.name]
        able = [each for each in linear if each.proposal.backbones[0].name in lasts]
        return lasts[choose(able, groups=self.train.groups).on_features.proposal.backbones[0].name]

    def finish(self, moved: Moved, local: Local, *, hurry: bool = False) -> Fitted:
        """Train on all items, or take the first training where there is no time left for it.

        Args:
            moved: What was chosen.
            local: Its backbone.
            hurry: Whether nothing may be trained any more.
        """
        tuned, why = moved.first, "there was no time left for another training on all of them"
        n_first = int(np.count_nonzero(~moved.first_out))
        if not hurry and self._least_final_s(moved, local) <= self._left_s(local):
            attempt = Attempt(settled(moved.strategy, moved.first.chosen), moved.start, local)
            deadline = time.monotonic() + self._left_s(local) - self._after_s(moved.strategy, local)
            try:
                tuned, why = (
                    self._fit(attempt, None, None, deadline),
                    "another training on all of them did not go as well",
                )
            except HeadstartError as error:
                why = f"another training on all of them failed, as {error}"
        # What is shipped is what was judged: no training that went astray, or had less time to learn.
        n_seen = _n_seen(moved.strategy, len(self.folds), tuned.history.epochs)
        n_seen_first = _n_seen(moved.strategy, n_first, moved.first.history.epochs)
        shorter = tuned.history.cut and (not n_seen or n_seen < n_seen_first)
        is_first = tuned is moved.first or shorter or (tuned.history.diverged and not moved.first.history.diverged)
        tuned = moved.first if is_first else tuned
        seen, note = np.ones(len(self.folds), dtype=np.bool_), ""
        if is_first:
            seen = ~moved.first_out
            note = f"The weights were trained on {n_first:,} of {len(seen):,} training items: {why}."
            self.climb.progress.say(note)
        name, temperature = tuned.local.spec.name, moved.out_of_fold.temperature
        found = extract(self.unseen, [tuned.local], store=MemoryStore(), compute=self.climb.compute)
        self.climb.unseen[name] = found.features[0]
        predictor = Predictor(self.train.classes, (Part(name, LAST),), tuned.head, temperature)
        on_training = softmax(tuned.logits, temperature)
        training = accuracy(self.train.targets[seen], on_training[seen], groups=some(self.train.groups, seen))
        return Fitted(predictor, training, on_training, seen, tuned.local, note, tuned.directions)

    def _least_final_s(self, moved: Moved, local: Local) -> float:
        """What a training on all items takes with as many steps as the first had: then it is as good, or better."""
        epochs, n_first = moved.first.history.epochs, int(np.count_nonzero(~moved.first_out))
        if not epochs:
            return moved.final_s
        strategy, n_items = moved.strategy, len(self.folds)
        ratio = _n_seen(strategy, n_items, epochs[:1]) / _n_seen(strategy, n_first, epochs[:1])
        n_epochs = min(strategy.n_epochs(n_items), math.ceil(len(epochs) / ratio - 1e-9))
        lap_s = ratio * sum(epoch.seconds for epoch in epochs) / len(epochs)
        return n_epochs * lap_s / _PLANNED + self._after_s(strategy, local)

    def _first(self, attempt: Attempt, *, n_left: int) -> Moved | None:
        """The first training of a strategy, or None where there is no time for it.

        It has its share of the time: so many strategies are to come, and at last there is a training on all items,
        unless that would leave too few epochs for either.
        """
        local, fold = attempt.local, self._ordered()[0]
        predicted = self._frozen_s(attempt.strategy, local)
        left_s = self._left_s(local) - self.climb.reserved_s
        if predicted > left_s:
            self.climb.skip(attempt.name, predicted, left_s=left_s)
            return None
        n_first, after_s = int(np.count_nonzero(self.folds != fold)), self._after_s(attempt.strategy, local)
        enough_s = _ENOUGH * self._epochs_s(attempt.strategy, local, n_first)
        # The last training has more items; then as many steps as this one; then there is none.
        for n_later in (len(self.folds) / n_first, 1.0, 0.0):
            share_s = (left_s - predicted) / (n_left + n_later) - after_s
            if share_s >= enough_s or n_left > 1:
                break
        return self._without(attempt, fold, time.monotonic() + predicted + share_s)

    def _ordered(self) -> list[int]:
        """The folds, the most typical one first: where a linear head is most nearly as good as on all items.

        On one that happens to suit it, moving the weights has little to gain, and on another much. Whether the head is
        right there is known before anything is trained, so this favours neither. All trainings share the order, which
        follows from the first head, so that a run that is taken up finds its trainings.
        """
        if not self._order:
            start = next(
                each
                for each in self.climb.candidates
                if isinstance(each, Candidate) and each.strategy.name == Linear.name and each.proposal.layers == LAST
            )
            probabilities = softmax(start.out_of_fold.logits, start.out_of_fold.temperature)
            losses = item_losses(self.train.targets, probabilities)

            def away(fold: int) -> tuple[float, float]:
                here = self.folds == fold
                return (
                    round(abs(float(start.right[here].mean() - start.right.mean())), 9),
                    abs(float(losses[here].mean() - losses.mean())),
                )

            folds = np.unique(self.folds).tolist()
            first = min(folds, key=away)
            self._order = [first, *(fold for fold in folds if fold != first)]
        return self._order

    def _without(self, attempt: Attempt, fold: int, deadline: float, look: Look | None = None) -> Moved:
        begin, held_out = time.monotonic(), self.folds == fold
        attempt.results.append((held_out, self._fit(attempt, fold, held_out, deadline, look)))
        attempt.seconds += time.monotonic() - begin
        return judge_moved(
            *(attempt.start, attempt.strategy, attempt.results, self.train.targets),
            seconds=attempt.seconds,
            after_s=attempt.after_s,
            seed=self.seed,
            groups=self.train.groups,
            searched=attempt.searched,
        )

    def _left_s(self, local: Local) -> float:
        """Seconds for trainings: what is left but for the features of the test, the report and the bundle."""
        return self.climb.clock.left_s - self.climb.ending_s - self.climb.pass_s(local, self.unseen)

    def _reserve(self) -> None:
        """Other rungs must leave time for the last training of what looks as if it helped."""
        hopeful = [each for each in self._attempts if each.moved is not None and each.moved.difference.value > 0]
        self.climb.reserved_s = max(
            (each.moved.final_s + self.climb.pass_s(each.local, self.unseen) for each in hopeful if each.moved),
            default=0.0,
        )

    def _tell(self, moved: Moved) -> None:
        self.climb.workspace.log(
            "candidate",
            name=moved.proposal.name,
            strategy=moved.strategy.name,
            oof_accuracy=moved.accuracy.value,
            oof_log_loss=moved.log_loss.value,
            n_tested=moved.accuracy.n,
            against_linear=moved.difference.value,
            seconds=round(moved.seconds, 3),
        )

    def _n_views(self, strategy: MovingStrategy) -> int:
        return int(getattr(strategy, "n_views", 1)) if self.train.modality == "image" else 1

    def _epochs_s(self, strategy: MovingStrategy, local: Local, n_items: int) -> float:
        """All epochs on so many items, as fast as such trainings were here, else from the pace of a pass."""
        n_seen = strategy.n_seen(n_items)
        if pace := self.climb.speeds.speed(_called(strategy, local), **self.climb.where):
            return n_seen / pace
        return (_WHOLE if _is_whole(strategy) else _UPPER[local.spec.modality]) * self.climb.seen_s(local, n_seen)

    def _frozen_s(self, strategy: MovingStrategy, local: Local) -> float:
        """About how long it takes to compute what flows over the cut."""
        share = (_BELOW_ALL if _is_whole(strategy) else _BELOW)[local.spec.modality]
        return share * self.climb.pass_s(local, self.train.items, n_views=self._n_views(strategy))

    def _after_s(self, strategy: MovingStrategy, local: Local) -> float:
        """About how long it takes to compute the logits of all items after the last epoch, and to write the network."""
        return (1.0 if _is_whole(strategy) else _AFTER_UPPER) * self.climb.pass_s(local, self.train.items)

    def _fit(
        self,
        attempt: Attempt,
        fold: int | None,
        held_out: Bool[np.ndarray, " items"] | None,
        deadline: float,
        look: Look | None = None,
    ) -> Tuned:
        from headstart.adaptation.tuning import keep_tuned, kept_tuned  # with torch, which other runs do without

        strategy, local = attempt.strategy, attempt.local
        rows = np.arange(len(self.folds)) if held_out is None else np.flatnonzero(~held_out)
        what = f"{strategy.name}-{fingerprint(local.spec.name)[:8]}-{_settings_print(strategy)}"
        folder = self.scratch / f"{what}-{'whole' if fold is None else fold}"
        file = folder.with_suffix(".tuned")
        attempt.files += [folder, file]
        self.watch.begin(
            strategy=strategy.name,
            backbone=local.spec.name,
            fold=fold,
            n_train=len(rows),
            n_held_out=len(self.folds) - len(rows),
            n_epochs=strategy.n_epochs(len(rows)),
            settings=values_of(strategy),
        )
        tuned = kept_tuned(file, folder)
        if tuned is None:
            last, lost = time.monotonic(), np.zeros(0)
            kept = looks(strategy.n_epochs(len(rows))) if not attempt.results else frozenset()

            def hear(losses: Float[np.ndarray, " some"]) -> None:
                nonlocal lost
                # As they are kept, so that it plays no part whether what they are compared with comes from a storage.
                lost = losses.astype(np.float32).astype(np.float64)

            def tell(epoch: Epoch) -> None:
                nonlocal last
                self.watch.epoch(epoch)
                last = time.monotonic()
                if epoch.number in kept:
                    attempt.looks[epoch.number] = lost
                if look is not None:
                    look(epoch.number, lost)

            head = starting_head(attempt.start, self.climb.seen, self.train.targets, rows, classes=self.train.classes)
            tuned = strategy.fit(
                *(local, self.train.items, self.train.targets, head),
                held_out=held_out,
                folder=folder,
                scratch=self.scratch,
                compute=self.climb.compute,
                seed=self.seed,
                deadline=deadline,
                on_epoch=tell,
                on_held_out=hear,
                progress=self.climb.progress,
            )
            keep_tuned(tuned, file)
            attempt.after_s = time.monotonic() - last
            if not attempt.searched:  # other settings have the same pace
                self._remember_pace(attempt, len(rows), tuned.history.epochs)
        attempt.records.append(self.watch.end(tuned.history))
        return tuned

    def _remember_pace(self, attempt: Attempt, n_items: int, epochs: Sequence[Epoch]) -> None:
        """What the next prediction starts from."""
        strategy, seconds = attempt.strategy, sum(each.seconds for each in epochs)
        if seconds > 0:
            n_seen = strategy.n_seen(n_items) * len(epochs) / strategy.n_epochs(n_items)
            self.climb.remember_pace(_called(strategy, attempt.local), n_seen / seconds)


def _n_seen(strategy: MovingStrategy, n_items: int, epochs: Sequence[Epoch]) -> float:
    """How many items went through the network in some epochs on so many items."""
    return len(epochs) * strategy.n_seen(n_items) / strategy.n_epochs(n_items)


def _is_whole(strategy: MovingStrategy) -> bool:
    """Whether all stages move."""
    return getattr(strategy, "n_stages", None) is None


def _called(strategy: MovingStrategy, local: Local) -> str:
    """The name of a pace: with other settings a training has another one."""
    return f"{local.spec.name} {strategy.name} {_settings_print(strategy)}"


def _settings_print(strategy: MovingStrategy) -> str:
    return fingerprint(sorted(values_of(strategy).items()))[:8]
