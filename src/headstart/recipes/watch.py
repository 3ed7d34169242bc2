"""Trainings while they run: a line in the log for each epoch, the terminal, and other programs that show them."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from headstart._progress import Progress, Task
from headstart.adaptation.epochs import Epoch, History, Scores
from headstart.errors import HeadstartError
from headstart.recipes.options import FitOptions
from headstart.recipes.trackers import Tracker, open_trackers
from headstart.recipes.workspace import Log, Workspace
from headstart.reports.record import TrainingRecord


@dataclass
class _Now:
    """The training that runs.

    Attributes:
        record: What is known of it, with the epochs so far.
        title: What people are told that it is.
        name: What trackers call it.
        task: Where it is shown.
        display: Ends the task.
    """

    record: TrainingRecord
    title: str
    name: str
    task: Task
    display: ExitStack


class Watch:
    """Watches one training after the other. Without one nothing is shown, written or sent.

    A tracker that fails is left out from there on, aloud: a training is worth more than its curves.

    Attributes:
        trainings: The records of those that have ended, in order.
    """

    def __init__(self, log: Log, progress: Progress, trackers: tuple[Tracker, ...] = ()) -> None:
        self.trainings: tuple[TrainingRecord, ...] = ()
        self._log = log
        self._progress = progress
        self._trackers = trackers
        self._now: _Now | None = None
        self._n_begun = 0

    def begin(
        self,
        *,
        strategy: str,
        backbone: str,
        fold: int | None,
        n_train: int,
        n_held_out: int,
        n_epochs: int,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """A training begins.

        Args:
            strategy: The strategy's name.
            backbone: The network's name.
            fold: Which fold is held out, from 0; None when none is.
            n_train: Items that it is trained on.
            n_held_out: Items that are held out.
            n_epochs: How many epochs it takes when nothing ends it earlier.
            settings: What was set; what is None is left out.
        """
        self._close(finished=False)
        where = "all items" if fold is None else f"fold {fold + 1} held out"
        display = ExitStack()
        title = f"{strategy} on {backbone}, {where}"
        task = display.enter_context(self._progress.task(f"Training {title}", n_epochs))
        side = "all" if fold is None else f"fold {fold + 1}"
        self._n_begun += 1
        record = TrainingRecord(strategy, backbone, fold, n_train, n_held_out, (), "", 0, (), 0.0)
        self._now = _Now(record, title, f"{self._n_begun:02d} {strategy} {backbone} {side}", task, display)
        known = {name: value for name, value in (settings or {}).items() if value is not None}
        facts = {"strategy": strategy, "backbone": backbone, "fold": side, "n_train": n_train, **known}
        self._tell(lambda tracker: tracker.begin(self._running.name, facts))

    def epoch(self, epoch: Epoch) -> None:
        """An epoch of it was finished.

        Args:
            epoch: What happened in it.

        Raises:
            OutputError: If the log cannot be written.
        """
        now, epoch = self._running, _finite(epoch)
        before = now.record.epochs
        now.record = replace(now.record, epochs=(*before, epoch))
        of = {"strategy": now.record.strategy, "backbone": now.record.backbone, "fold": now.record.fold}
        self._log.log("epoch", **of, **asdict(epoch))
        # After a training that was killed, the first one is not number 1.
        now.task.advance(epoch.number - (before[-1].number if before else 0), note=_in_words(epoch))
        self._pass_on(epoch)

    def end(self, history: History) -> TrainingRecord:
        """It has ended.

        Args:
            history: What it did; it may have epochs from before it was killed and started again.

        Returns:
            Its record, which is kept.
        """
        now = self._running
        epochs = tuple(_finite(each) for each in history.epochs)
        told = {each.number for each in now.record.epochs}
        for each in epochs:
            if each.number not in told:
                self._pass_on(each)
        record = replace(
            now.record,
            epochs=epochs,
            ended=history.ended,
            kept=history.kept,
            notes=history.notes,
            seconds=sum(each.seconds for each in epochs),
        )
        self.trainings += (record,)
        self._close(finished=True)
        for note in history.notes:
            self._progress.say(f"{now.title}: {note}")
        return record

    def forget(self, records: Collection[TrainingRecord]) -> None:
        """Keep some records no longer: of trainings that were tried and are no part of the run.

        Args:
            records: What `end` returned.
        """
        self.trainings = tuple(each for each in self.trainings if not any(each is one for one in records))

    def close(self) -> None:
        """End what an error has interrupted."""
        self._close(finished=False)

    @property
    def _running(self) -> _Now:
        if self._now is None:
            raise RuntimeError("no training has begun")
        return self._now

    def _close(self, *, finished: bool) -> None:
        if self._now is None:
            return
        now, self._now = self._now, None
        now.display.close()
        self._tell(lambda tracker: tracker.end(finished=finished))

    def _pass_on(self, epoch: Epoch) -> None:
        values = numbers_of(epoch)
        self._tell(lambda tracker: tracker.epoch(epoch.number, values))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for tracker in self._trackers:
            try:
                what(tracker)
            except HeadstartError as error:
                self._trackers = tuple(each for each in self._trackers if each is not tracker)
                self._progress.say(f"{tracker.name} is left out from here on: {error}.")


@contextlib.contextmanager
def watching(workspace: Workspace, options: FitOptions, progress: Progress) -> Iterator[Watch]:
    """A watch over the trainings of one run.

    Args:
        workspace: Of the run; `log.jsonl` and, if asked for, `tensorboard` are written there.
        options: What the user asked for.
        progress: Where progress is shown.
    """
    trackers = open_trackers(
        tensorboard=options.tensorboard, mlflow=options.mlflow, folder=workspace.folder, name=workspace.target.name
    )
    watch = Watch(workspace, progress, trackers)
    try:
        yield watch
    finally:
        watch.close()


def numbers_of(epoch: Epoch) -> dict[str, float]:
    """What was measured in an epoch, by the names that trackers show; what is not defined is left out.

    Args:
        epoch: What happened in it.
    """
    sides = {"training": epoch.train, "validation": epoch.validation}
    values = {
        f"{score}/{side}": value
        for side, scores in sides.items()
        if scores is not None
        for score, value in asdict(scores).items()
    }
    values |= {"learning_rate/highest": epoch.lr, "learning_rate/lowest": epoch.lowest_lr}
    values |= {"gradient_norm": epoch.gradient_norm, "seconds": epoch.seconds, "pieces": epoch.pieces}
    return {name: float(value) for name, value in values.items() if value is not None}


def _in_words(epoch: Epoch) -> str:
    """What fits beside a bar: both losses, and the scores of the held-out items, else of those that it trains on."""
    found = epoch.validation or epoch.train
    scores = {"accuracy": found.accuracy, "precision": found.precision, "recall": found.recall, "F1": found.f1}
    return ", ".join(
        [
            f"loss {epoch.train.loss:.3g}",
            *([] if epoch.validation is None else [f"held out {epoch.validation.loss:.3g}"]),
            *(f"{name} {value:.2f}" for name, value in scores.items() if value is not None),
            f"rate {epoch.lr:.0e}",
            f"gradient {epoch.gradient_norm:.2g}",
        ]
    )


def _finite(epoch: Epoch) -> Epoch:
    """The same with the largest number for what is none: a record cannot hold NaN or infinity."""

    def known(value: float) -> float:
        return value if math.isfinite(value) else sys.float_info.max

    def scores(given: Scores) -> Scores:
        return replace(given, loss=known(given.loss))

    return replace(
        epoch,
        train=scores(epoch.train),
        validation=None if epoch.validation is None else scores(epoch.validation),
        gradient_norm=known(epoch.gradient_norm),
    )
