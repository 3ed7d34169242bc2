"""The search for settings: other settings of the strategies that were asked for, after their defaults were tried."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from headstart._fingerprint import fingerprint
from headstart.adaptation.strategies import MakeStrategy
from headstart.adaptation.strategies.settings import Value, settled, values_of
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset
from headstart.errors import OptionError, StoreError
from headstart.evaluation.calibration import softmax
from headstart.evaluation.comparison import compare_correct
from headstart.evaluation.metrics import item_losses
from headstart.features.extract import namespace_of
from headstart.recipes.climb import Climb
from headstart.recipes.limits import Limits
from headstart.recipes.options import FitOptions
from headstart.recipes.sentences import search_sentence
from headstart.reports.record import SearchRecord
from headstart.search.candidates import Candidate, try_out
from headstart.search.choice import choose
from headstart.search.space import Space, space_of
from headstart.search.trials import GivenUp, Searched, Trial, best_of, judge_trial

if TYPE_CHECKING:  # a fit without a search does without optuna
    from headstart.search.study import Asked, Study

_FOLDER = "studies"
_FORMAT = 1  # of what a trial keeps; a study of another one is not taken up again
IN_MEMORY = "memory"
"""What the record says where trials were not kept."""


@dataclass
class _Search:
    """One search, as far as it has come.

    `held` is the best of the trials that this process has judged: another one's best has to be fitted again.
    """

    base: Candidate
    make: MakeStrategy
    space: Space
    n_wanted: int
    trials: list[Trial] = field(default_factory=list)
    own: list[Trial] = field(default_factory=list)
    held: Candidate | None = None
    n_pruned: int = 0
    n_found: int = 0
    seconds: float = 0.0
    is_all: bool = False  # no other settings are left
    storage: str = IN_MEMORY

    @property
    def name(self) -> str:
        return self.base.strategy.name

    @property
    def n_done(self) -> int:
        return len(self.trials) + self.n_pruned

    @property
    def n_left(self) -> int:
        return 0 if self.is_all else max(0, self.n_wanted - self.n_done)


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
        records: What was searched, in order.
    """

    climb: Climb
    train: Dataset
    folds: Int[np.ndarray, " train"]
    backbones: Sequence[Local]
    options: FitOptions
    home: Path | None = None
    records: list[SearchRecord] = field(default_factory=list)
    _trials: dict[int, tuple[Trial, ...]] = field(default_factory=dict)  # by the place of the candidate

    def search_all(self) -> None:
        """Search the settings of each strategy in turn, for as many trials as were asked for and there is time."""
        if self.options.trials is None:
            return
        limits = Limits.of(self.options, self.climb, self.backbones, self.train)
        for make in self.options.makes:
            strategy = make(())
            space = space_of(strategy, self.options.fixed)
            tried = [
                each
                for each in self.climb.candidates
                if isinstance(each, Candidate) and each.strategy.name == strategy.name and not each.searched
                if limits.allow([each])  # what cannot become the model is not searched
            ]
            named = strategy.name in self.options.strategies or not self.options.strategies
            if space and tried and named:
                base = choose(tried, groups=self.train.groups, prefer=self.options.prefer).on_features
                self._search(_Search(base, make, space, self.options.trials))

    def of(self, candidates: Sequence[object]) -> tuple[Searched, ...]:
        """The searches whose best trial is among some candidates.

        Args:
            candidates: As in `climb`.
        """
        found = ((self.climb.candidates[place], trials) for place, trials in self._trials.items())
        return tuple(
            Searched(best, trials)
            for best, trials in found
            if isinstance(best, Candidate) and any(each is best for each in candidates)
        )

    def _search(self, search: _Search) -> None:
        """One search; what it has found by then becomes a candidate whatever ends it."""
        names, where = ", ".join(search.space), search.base.proposal.name
        self.climb.progress.say(f"Searching {names} of {search.name} on {where}: {search.n_wanted} trials.")
        begin = time.monotonic()
        name, complete = self._identity(search), False
        try:
            try:
                with self._study(name, search) as study:
                    self._run(study, search)
            except (StoreError, OptionError) as error:
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

        file = self._file(name)
        with contextlib.ExitStack() as stack:
            try:
                study = stack.enter_context(open_study(file, name, search.space, seed=self.options.seed))
            except OptionError as error:
                if self.options.storage is not None:
                    raise
                self.climb.progress.say(f"Trials are kept in memory only: {error}.")
                file = None
                study = stack.enter_context(open_study(None, name, search.space, seed=self.options.seed))
            search.storage = IN_MEMORY if file is None else str(file)
            yield study

    def _run(self, study: Study, search: _Search) -> None:
        searched = {name: getattr(search.base.strategy, name) for name in search.space}
        study.know(searched, search.base.log_loss.value)
        known = self._losses(search.base)
        longest_s = search.base.seconds
        search.trials, search.n_pruned = study.finished()
        search.n_found = search.n_done
        with self.climb.progress.task(f"Trials of {search.name}", search.n_wanted) as task:
            task.advance(min(search.n_found, search.n_wanted))
            while search.n_left:
                if longest_s > self.climb.left_s:
                    self.climb.skip(f"{search.n_left} of {search.n_wanted} trials of {search.name}", longest_s)
                    return
                asked = study.ask()
                if asked is None:
                    search.is_all = True
                    return
                if not self._try(study, asked, search, known):
                    return
                longest_s = max([longest_s, *(each.seconds for each in search.own[-1:])])
                search.trials, search.n_pruned = study.finished()
                best = best_of(search.trials).loss if search.trials else float("nan")
                task.advance(note=f"log loss of the best {min(best, float(known.mean())):.4f}")

    def _try(self, study: Study, asked: Asked, search: _Search, known: Float[np.ndarray, " train"]) -> bool:
        """Judge one trial; False where there was no time to see it to its end."""
        climb, best = self.climb, known
        if search.trials and best_of(search.trials).loss < known.mean():
            best = best_of(search.trials).losses
        told = False
        try:
            outcome = judge_trial(
                search.base.proposal,
                settled(search.base.strategy, asked.settings),
                climb.seen,
                self.train.targets,
                self.folds,
                best=best,
                n_classes=len(self.train.classes),
                seed=self.options.seed,
                deadline=time.monotonic() + climb.left_s,
                groups=self.train.groups,
            )
            facts = {"number": asked.number, "strategy": search.name, **asked.settings}
            if isinstance(outcome, GivenUp):
                if outcome.late:
                    climb.skip(f"{search.n_left} of {search.n_wanted} trials of {search.name}", search.base.seconds)
                    return False
                study.prune(asked, outcome)
                climb.workspace.log("trial", pruned_after=outcome.n_folds, oof_log_loss=outcome.loss, **facts)
            else:
                found = Trial(asked.number, asked.settings, outcome.right, self._losses(outcome), outcome.seconds)
                if search.held is None or found.loss < best_of(search.own).loss:
                    search.held = replace(outcome, searched=True)
                search.own.append(found)
                study.complete(asked, found)
                climb.workspace.log("trial", oof_accuracy=outcome.accuracy.value, oof_log_loss=found.loss, **facts)
            told = True
        finally:
            if not told:
                study.fail(asked)
        return True

    def _enter(self, search: _Search, *, again: bool) -> None:
        """Make the best trial a candidate; `again` where there is time to fit it again if another process found it."""
        held, trials = search.held, search.own
        if again and search.trials and not self._holds(search, best_of(search.trials)):
            best = best_of(search.trials)
            if best.seconds <= self.climb.left_s:
                held, trials = self._again(search, best), search.trials
            else:
                self.climb.skip(f"The best trial of {search.name}", best.seconds)
        elif again:
            trials = search.trials or search.own
        gain = None
        if held is not None:
            self._trials[len(self.climb.candidates)] = tuple(trials)
            gain = compare_correct(held.right, search.base.right, groups=self.train.groups)
            self.climb.candidates.append(held)
        record = SearchRecord(
            strategy=search.name,
            backbone=" + ".join(spec.name for spec in search.base.proposal.backbones),
            layers=search.base.proposal.layers,
            searched={name: setting.rule for name, setting in search.space.items()},
            trials=len(search.trials),
            pruned=search.n_pruned,
            left_out=search.n_left,
            found=search.n_found,
            storage=search.storage,
            candidate=None if held is None else len(self.climb.candidates) - 1,
            gain=gain,
            seconds=round(search.seconds, 3),
            sentence="",
        )
        record = replace(record, sentence=search_sentence(record))
        self.records.append(record)
        self.climb.progress.say(record.sentence)

    @staticmethod
    def _holds(search: _Search, best: Trial) -> bool:
        return bool(search.own) and best_of(search.own).number == best.number

    def _again(self, search: _Search, best: Trial) -> Candidate:
        """A trial that is known from the storage, fitted in this process."""
        candidate = try_out(
            *(search.base.proposal, self.climb.seen, self.train.targets, self.folds),
            make=lambda _: settled(search.base.strategy, best.settings),
            n_classes=len(self.train.classes),
            seed=self.options.seed,
            groups=self.train.groups,
        )
        return replace(candidate, searched=True)

    def _losses(self, candidate: Candidate) -> Float[np.ndarray, " train"]:
        """In float32, as they are kept, so that it plays no part whether a trial comes from the storage."""
        result = candidate.out_of_fold
        losses = item_losses(self.train.targets, softmax(result.logits, result.temperature))
        return losses.astype(np.float32).astype(np.float64)

    def _file(self, name: str) -> Path | None:
        if self.options.storage is not None:
            return Path(self.options.storage)
        if self.home is None:
            return None
        folder = self.home / _FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.db"

    def _identity(self, search: _Search) -> str:
        """The name of a study: in another search another trial would be the best one."""
        by_name = {local.spec.name: local for local in self.backbones}
        proposal, compute, train = search.base.proposal, self.climb.compute, self.train
        fixed: dict[str, Value] = {
            name: value for name, value in values_of(search.base.strategy).items() if name not in search.space
        }
        identity = [
            _FORMAT,
            *(train.items.keys, train.targets.tolist(), self.folds.tolist(), train.groups, len(train.classes)),
            [namespace_of(by_name[spec.name], compute).id for spec in proposal.backbones],
            [(part.backbone, part.layer) for part in proposal.parts],
            *(search.name, fixed, {name: (each.rule, each.log) for name, each in search.space.items()}),
            *(self.options.seed, compute.device),
        ]
        return fingerprint(identity)[:24]
