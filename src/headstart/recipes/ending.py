"""From what a fit has found so far to a run that can be used: the model, its judgement, the record and the page."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64

from headstart.adaptation.predictor import AnyPredictor
from headstart.auditing import Finding
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local
from headstart.data._units import units_of
from headstart.data.dataset import Dataset
from headstart.data.split import Split
from headstart.evaluation.metrics import correct
from headstart.features.memory import MemoryStore
from headstart.features.store import Store
from headstart.recipes.auditing import with_clean_accuracy
from headstart.recipes.choosing import choose_model, fit_model, fitter
from headstart.recipes.climb import Climb
from headstart.recipes.control import same_network
from headstart.recipes.judge import Judgement, from_scratch, judge
from headstart.recipes.ladder import Ladder
from headstart.recipes.limits import Limits
from headstart.recipes.move import Move
from headstart.recipes.nearness import nearness_of
from headstart.recipes.race import rank_passes
from headstart.recipes.record import Made, make_record
from headstart.recipes.ship import ship
from headstart.recipes.uncertainty import Uncertainty, judge_uncertainty, learn_uncertainty
from headstart.recipes.validation import selection_of
from headstart.recipes.workspace import Workspace
from headstart.reports import Run, write_predictions, write_report, write_run
from headstart.search.choice import AnyCandidate, Choice, called
from headstart.search.combine import Combination
from headstart.search.curve import draw_curve
from headstart.search.moving import Moved
from headstart.selection.prior import Prior
from headstart.selection.ranking import Ranking


@dataclass
class Ending:
    """Ends a fit, as often as it is asked to: what is written is complete each time.

    Attributes:
        dataset: All items.
        sides: Training items and sealed test.
        findings: What is remarkable about the data.
        shared: The names of test items that are copies of training items.
        priors: What was known of the backbones before, by name.
        raced: The race, where there was one.
        ladder: What was tried, on which backbones and folds, and what the user asked for.
        store: Counts how often the test was opened.
        workspace: Where the run is written.
        asked: What decides what is found, by name.
    """

    dataset: Dataset
    sides: Split
    findings: tuple[Finding, ...]
    shared: frozenset[str]
    priors: Mapping[str, Prior]
    raced: Ranking | None
    ladder: Ladder
    store: Store | MemoryStore
    workspace: Workspace
    asked: dict[str, str]
    _openings: int | None = None
    _scratch: Float64[np.ndarray, "items classes"] | None = field(default=None, repr=False)

    @property
    def _climb(self) -> Climb:
        return self.ladder.climb

    @property
    def _move(self) -> Move:
        return self.ladder.move

    def write(self, *, unfinished: str = "", aloud: bool = True) -> Run:
        """Choose among what was tried, fit it, open the sealed test, and write the run into the workspace.

        Nothing that is tried later depends on what the test says here.

        Args:
            unfinished: Why this is not the end, one sentence. There is then no time for further trainings.
            aloud: Whether it is said what was chosen.
        """
        climb, sides, options = self._climb, self.sides, self.ladder.options
        clock, train, folds = climb.clock, sides.train, self.ladder.folds
        backbones = {each.spec.name: each for each in self.ladder.backbones}
        with clock.step("search"):
            considered, validation = self._considered(), self.ladder.validation
            heads = fitter(climb.seen, train, seed=options.seed)
            limits = Limits.of(options, climb, backbones.values(), train)
            choice = choose_model(considered, train, folds, limits, seed=options.seed, prefer=options.prefer)
            selection, allowed = None, limits.within(considered)
            if not isinstance(choice.winner, Combination):
                selection = selection_of(
                    *(allowed, choice.winner, train, validation),
                    seed=options.seed,
                    searched=self.ladder.trials.of(allowed),
                    prefer=options.prefer,
                )
            if aloud:
                climb.progress.say(f"Chosen: {called(choice, climb.candidates)}. {choice.why}")
        with clock.step("rank"):
            ranking = rank_passes(climb, train, priors=self.priors, raced=self.raced)
            nearest = choice.on_features.proposal.backbones[0].name
            local = backbones[nearest]
            nearness = nearness_of(local, climb.seen[nearest])
        with clock.step("fit"):
            fitted = fit_model(
                *(choice, train),
                fit=heads,
                finish=lambda moved: self._move.finish(
                    moved, backbones[moved.proposal.backbones[0].name], hurry=bool(unfinished)
                ),
                seen=climb.seen,
            )
            notes = [fitted.note, self._not_tried()]
            choice = replace(choice, why=" ".join([choice.why, *filter(None, notes)]))
            curve = draw_curve(
                choice.on_features,
                climb.seen,
                train.targets,
                folds,
                n_classes=len(train.classes),
                seed=options.seed,
                units=units_of(train, seed=options.seed, purpose="learning curve").of_items,
            )
            curve = replace(curve, sentence=f"{_of_curve(choice)}{curve.sentence}")
            doubts = learn_uncertainty(choice.winner, fitted, climb.seen, train, folds, seed=options.seed)
        with clock.step("evaluate"):
            judgement = self._judge(fitted.predictor, local, hurry=bool(unfinished))
            uncertainty = judge_uncertainty(
                *(doubts, judgement.targets, judgement.probabilities, climb.unseen),
                seed=options.seed,
                groups=sides.test.groups,
            )
        made = Made(
            name=self.workspace.target.name,
            out=str(self.workspace.target),
            options=options,
            command=options.command or f"headstart fit {shlex.quote(str(self.dataset.source))} --seed {options.seed}",
            dataset=self.dataset,
            split=sides,
            findings=with_clean_accuracy(
                *(self.findings, self.shared, sides.test.items),
                correct(judgement.targets, judgement.probabilities),
            ),
            ranking=ranking,
            nearness=nearness,
            climb=climb,
            limits=limits,
            allowed=allowed,
            choice=choice,
            training=fitted.training,
            curve=curve,
            judgement=judgement,
            openings=self._count_opening(),
            asked=self.asked,
            trainings=self._move.watch.trainings,
            rungs=tuple(self.ladder.rungs),
            unfinished=unfinished,
            uncertainty=uncertainty,
            validation=validation.record,
            selection=selection,
            searches=tuple(self.ladder.trials.records),
        )
        usable = backbones | ({fitted.local.spec.name: fitted.local} if fitted.local else {})
        return _write(made, fitted.predictor, doubts, usable, self.workspace)

    def _considered(self) -> list[AnyCandidate]:
        """Those that the user named: a linear head may only be there because a training starts from it.

        Where moving weights has clearly done harm to all of them, that head is considered too.
        """
        candidates = self._climb.candidates
        named = [each for each in candidates if each.strategy.name in self.ladder.options.strategies]
        if named and all(isinstance(each, Moved) and each.difference.high < 0 for each in named):
            self._climb.progress.say("Moving the weights did harm, so the heads on features are considered as well.")
            return candidates
        return named or candidates

    def _not_tried(self) -> str:
        """What became of strategies that were named and are not among the candidates, or nothing."""
        tried = {each.strategy.name for each in self._climb.candidates}
        missing = [name for name in self.ladder.options.strategies if name not in tried]
        return f"Named, but left out for want of time or because of an error: {', '.join(missing)}." if missing else ""

    def _judge(self, predictor: AnyPredictor, local: Local, *, hurry: bool) -> Judgement:
        climb, sides, options = self._climb, self.sides, self.ladder.options
        if self._scratch is None:
            control = (climb.seen[PIXELS.name], climb.unseen[PIXELS.name]) if PIXELS.name in climb.seen else None
            self._scratch = from_scratch(sides.train, self.ladder.folds, sides.test.items, control)
        network = None if hurry else same_network(local, sides, climb, options=options, folder=self.workspace.folder)
        return judge(
            *(sides.test, predictor, climb.unseen),
            train=sides.train,
            scratch=self._scratch,
            network=network,
            seed=options.seed,
        )

    def _count_opening(self) -> int:
        """A run counts once: what it saw the first time has decided nothing."""
        if self._openings is None:
            # Of our own hold-outs all data counts: another seed would otherwise begin a new count.
            data, test = self.dataset, self.sides.test
            opened = data.fingerprint if data.sides is None else test.fingerprint
            self._openings = self.store.count_opening(opened, self.workspace.target.name)
        return self._openings


def _of_curve(choice: Choice) -> str:
    """What the learning curve is of, where it is not of the model; may be empty."""
    if isinstance(choice.members[0], Moved):
        return "For the linear head that the training started from: "
    return "For the member with the largest weight alone: " if len(choice.members) > 1 else ""


def _write(
    made: Made, predictor: AnyPredictor, doubts: Uncertainty, backbones: dict[str, Local], workspace: Workspace
) -> Run:
    """Bundle, predictions, record and page; the record is written last, with the time that all this took."""
    sealed, judgement, clock = made.split.test, made.judgement, made.climb.clock
    with clock.step("report"):
        write_predictions(
            workspace.folder / "predictions_test.csv",
            sealed.items.names,
            classes=predictor.classes,
            probabilities=judgement.probabilities,
            targets=[sealed.classes[target] for target in judgement.targets],
        )
        draft = make_record(made)
        shutil.rmtree(workspace.folder / "bundle", ignore_errors=True)  # of the first model
        ship(
            workspace.folder / "bundle",
            draft,
            predictor,
            held_out=doubts.held_out,
            gate=doubts.gate,
            backbones=backbones,
            compute=made.climb.compute,
            training_keys=made.split.train.items.keys,
        )
        write_report(draft, workspace.folder)
    workspace.log("done", accuracy=judgement.evaluation.accuracy.value, unfinished=made.unfinished)
    run = replace(draft, timings=clock.timings())  # now with the time that the page took
    write_report(run, workspace.folder)
    write_run(run, workspace.folder)
    return run
