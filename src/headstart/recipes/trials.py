"""The search for settings: other settings of the strategies that were asked for, after their defaults were tried."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from headstart._fingerprint import fingerprint
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset
from headstart.errors import HeadstartError, OptionError, StoreError
from headstart.evaluation.comparison import compare_correct
from headstart.recipes.climb import Climb
from headstart.recipes.limits import Limits
from headstart.recipes.move import Move
from headstart.recipes.options import FitOptions
from headstart.recipes.sentences import search_sentence
from headstart.recipes.subjects import OnFeatures, Subject, WithMovedWeights
from headstart.reports.record import SearchRecord
from headstart.search.candidates import Candidate
from headstart.search.choice import choose
from headstart.search.moving import some
from headstart.search.space import space_of
from headstart.search.trials import GivenUp, Searched, Trial, best_of

if TYPE_CHECKING:  # a fit without a search does without optuna
    from headstart.search.study import Asked, Study

_FOLDER = "studies"
_FORMAT = 2  # of what a trial keeps; a study of another one is not taken up again
IN_MEMORY = "memory"
"""What the record says where trials were not kept."""


@dataclass
class _Search:
    """One search, as far as it has come."""

    subject: Subject
    n_wanted: int
    trials: list[Trial] = field(default_factory=list)
    own: list[Trial] = field(default_factory=list)
    n_pruned: int = 0
    n_found: int = 0
    seconds: float = 0.0
    is_all: bool = False  # no other settings are left
    has_failed: bool = False  # the last trial could not be judged
    storage: str = IN_MEMORY

    @property
    def name(self) -> str:
        return self.subject.base.strategy.name

    @property
    def n_done(self) -> int:
        return len(self.trials) + self.n_pruned

    @property
    def n_left(self) -> int:
        return 0 if self.is_all else max(0, self.n_wanted - self.n_done)

    @property
    def left(self) -> str:
        return f"What is left of the search of {self.name} ({self.n_left} of {self.n_wanted} trials)"

    @property
    def trial_s(self) -> float:
        """About how long a trial takes that nothing ends, in seconds."""
        return max((each.seconds for each in self.own), default=self.subject.first_s)


@dataclass
class Trials:
    """The searches of one fit.

    Attributes:
        climb: Features and candidates; the best trial of each search is added to these.
        train: The training items.
        folds: The fold of each.
        backbones: Those of the candidates, among others.
        options: What the user asked for.
        home: headstart's home, below which trials are kept where the user names no file; None keeps them in memory.
        move: Trains, for strategies that move weights; None where there are none.
        records: What was searched, in order.
    """

    climb: Climb
    train: Dataset
    folds: Int[np.ndarray, " train"]
    backbones: Sequence[Local]
    options: FitOptions
    home: Path | None = None
    move: Move | None = None
    records: list[SearchRecord] = field(default_factory=list)
    _trials: dict[int, tuple[Trial, ...]] = field(default_factory=dict)  # by the place of the candidate

    def search_all(self) -> None:
        """Search the settings of each strategy in turn, for as many trials as were asked for and there is time."""
        if self.options.trials is None:
            return
        for subject in self._subjects():
            self._search(_Search(subject, self.options.trials))

    def of(self, candidates: Sequence[object]) -> tuple[Searched, ...]:
        """The searches whose best trial is among some candidates.

        Args:
            candidates: As in `climb`.
        """
        found = ((self.climb.candidates[place], trials) for place, trials in self._trials.items())
        return tuple(Searched(best, trials) for best, trials in found if any(each is best for each in candidates))

    def _subjects(self) -> Iterator[Subject]:
        """The strategies that have something to search, each where its defaults do best."""
        limits = Limits.of(self.options, self.climb, self.backbones, self.train)
        named = self.options.strategies
        for strategy in self.options.every_strategy:
            space = space_of(strategy, self.options.fixed)
            tried = [
                each
                for each in self.climb.candidates
                if each.strategy.name == strategy.name and not each.searched
                if limits.allow([each])  # what cannot become the model is not searched
            ]
            if not space or not tried or (named and strategy.name not in named):
                continue
            (base,) = choose(tried, groups=self.train.groups, prefer=self.options.prefer).members
            if isinstance(base, Candidate):
                yield OnFeatures(
                    *(base, space, self.climb, self.train, self.folds, self.options.seed), backbones=self.backbones
                )
            elif self.move is not None:
                name = base.proposal.backbones[0].name
                local = next(each for each in self.backbones if each.spec.name == name)
                yield WithMovedWeights(base, space, self.climb, self.move, self.train, self.options.seed, local)

    def _search(self, search: _Search) -> None:
        """One search; what it has found by then becomes a candidate whatever ends it."""
        names, where = ", ".join(search.subject.space), search.subject.base.proposal.name
        self.climb.progress.say(f"Searching {names} of {search.name} on {where}: {search.n_wanted} trials.")
        begin = time.monotonic()
        name, complete = self._identity(search.subject), False
        try:
            try:
                with self._study(name, search) as study:
                    self._run(study, search)
            except HeadstartError as error:
                # A file that the user names was looked at before anything was computed; this came after that.
                self.climb.progress.say(f"The search ends early: {error}.")
                self.climb.workspace.log("search failed", error=str(error))
                kept = {each.number for each in search.trials}
                search.trials += [each for each in search.own if each.number not in kept]
            complete = True
        finally:
            search.seconds = time.monotonic() - begin
            self._enter(search, again=complete)

    @contextlib.contextmanager
    def _study(self, name: str, search: _Search) -> Iterator[Study]:
        """The trials of a search; where our own file for them cannot be used they are not kept, and that is said."""
        from headstart.search.study import open_study

        file, space, seed = self._file(name), search.subject.space, self.options.seed
        with contextlib.ExitStack() as stack:
            try:
                study = stack.enter_context(open_study(file, name, space, seed=seed))
            except OptionError as error:
                if self.options.storage is not None:
                    raise
                self.climb.progress.say(f"Trials are kept in memory only: {error}.")
                file = None
                study = stack.enter_context(open_study(None, name, space, seed=seed))
            search.storage = IN_MEMORY if file is None else str(file)
            yield study

    def _run(self, study: Study, search: _Search) -> None:
        subject = search.subject
        known = study.looks(subject.known)
        study.know(known.settings, known.loss)
        search.trials, search.n_pruned = study.finished()
        search.n_found = search.n_done
        with self.climb.progress.task(f"Trials of {search.name}", search.n_wanted) as task:
            task.advance(min(search.n_found, search.n_wanted))
            while search.n_left:
                if search.trial_s > subject.left_s:
                    self.climb.skip(search.left, search.trial_s, left_s=subject.left_s)
                    return
                asked = study.ask()
                if asked is None:
                    search.is_all = True
                    return
                if not self._try(study, asked, search, best_of([known, *search.trials])):
                    return
                search.trials, search.n_pruned = study.finished()
                best = f"log loss of the best {best_of([known, *search.trials]).loss:.4f}"
                task.advance(note=f"{best}, {search.n_left} left, about {search.n_left * search.trial_s:.0f} s")

    def _try(self, study: Study, asked: Asked, search: _Search, best: Trial) -> bool:
        """Judge one trial; False where there was no time to see it to its end."""
        climb, subject = self.climb, search.subject
        try:
            outcome = subject.judge(asked.number, asked.settings, best)
        except BaseException as error:
            with contextlib.suppress(StoreError):  # it must not take the place of what ended the trial
                study.fail(asked, again=isinstance(error, KeyboardInterrupt))
            if not isinstance(error, HeadstartError) or search.has_failed:
                raise
            # These settings may be the reason; a second time in a row it is something else.
            search.has_failed = True
            climb.progress.say(f"Trial {asked.number} of {search.name} cannot be judged: {error}.")
            return True
        search.has_failed = False
        facts = {"number": asked.number, "strategy": search.name, **asked.settings}
        if isinstance(outcome, GivenUp):
            if outcome.late:
                study.fail(asked, again=True)
                climb.skip(search.left, search.trial_s, left_s=subject.left_s)
                return False
            study.prune(asked, outcome)
            climb.workspace.log("trial", pruned_after=outcome.step, oof_log_loss=outcome.loss, **facts)
        else:
            search.own.append(outcome)
            study.complete(asked, outcome)
            accuracy = float(outcome.right.mean())
            climb.workspace.log("trial", oof_accuracy=accuracy, oof_log_loss=outcome.loss, **facts)
        return True

    def _enter(self, search: _Search, *, again: bool) -> None:
        """Make the best trial a candidate; `again` where there is time to fit it again if another process found it."""
        subject, trials = search.subject, search.own
        is_held = again and self._hold(search)
        if is_held:
            trials = search.trials
        entered, gain = subject.enter(), None
        if entered is not None:
            place = len(self.climb.candidates) - 1
            self._trials[place] = tuple(trials)
            tested = entered.tested
            gain = compare_correct(
                entered.right[tested], subject.base.right[tested], groups=some(self.train.groups, tested)
            )
        record = SearchRecord(
            strategy=search.name,
            backbone=" + ".join(spec.name for spec in subject.base.proposal.backbones),
            layers=subject.base.proposal.layers,
            searched={name: setting.rule for name, setting in subject.space.items()},
            trials=len(search.trials),
            pruned=search.n_pruned,
            left_out=search.n_left,
            found=search.n_found,
            storage=search.storage,
            candidate=None if entered is None else place,
            gain=gain,
            seconds=round(search.seconds, 3),
            sentence="",
            n_held_out=subject.n_held_out,
        )
        is_lost = not is_held and bool(search.trials) and subject.is_worth_it(best_of(search.trials))
        record = replace(record, sentence=search_sentence(record, is_lost=is_lost))
        self.records.append(record)
        self.climb.progress.say(record.sentence)

    def _hold(self, search: _Search) -> bool:
        """See to it that the best of all trials is there; False where another one has to do for want of time."""
        subject = search.subject
        if not search.trials:
            return False
        best = best_of(search.trials)
        if (subject.held is not None and subject.held.number == best.number) or not subject.is_worth_it(best):
            return True
        if best.seconds <= subject.left_s:
            try:
                return not isinstance(subject.judge(best.number, best.settings, None), GivenUp)
            except HeadstartError as error:
                self.climb.progress.say(f"The best trial of {search.name} is left out: {error}.")
                return False
        self.climb.skip(f"The best trial of {search.name}", best.seconds, left_s=subject.left_s)
        return False

    def _file(self, name: str) -> Path | None:
        if self.options.storage is not None:
            return Path(self.options.storage)
        if self.home is None:
            return None
        folder = self.home / _FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.db"

    def _identity(self, subject: Subject) -> str:
        """The name of a study: in another search another trial would be the best one."""
        train, space = self.train, {name: (each.rule, each.log) for name, each in subject.space.items()}
        items = [train.items.keys, train.targets.tolist(), self.folds.tolist(), train.groups, len(train.classes)]
        return fingerprint([_FORMAT, *items, *subject.identity(), space, self.options.seed])[:24]
