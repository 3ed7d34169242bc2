"""The story of `fit`: from data to a model that can be trusted."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from headstart._home import default_home
from headstart._progress import SILENT, Progress
from headstart.adaptation.predictor import Predictor
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.precision import pick_device, pick_precision
from headstart.backbones.resolve import Local
from headstart.data._units import units_of
from headstart.data.audit import audit
from headstart.data.dataset import Dataset
from headstart.data.folds import folds as make_folds
from headstart.data.reduce import known_first, leave_out, trainable
from headstart.data.split import Split, split
from headstart.evaluation.metrics import accuracy
from headstart.features.extract import Compute
from headstart.recipes.climb import NOT_REACHED, Climb
from headstart.recipes.consider import consider
from headstart.recipes.control import same_network
from headstart.recipes.judge import from_scratch, judge
from headstart.recipes.move import Fitted, Move, check_modality
from headstart.recipes.nearness import nearness_of
from headstart.recipes.options import FitOptions
from headstart.recipes.race import MOST_PASSES, race, rank_passes, shortlist
from headstart.recipes.reading import name_of, read
from headstart.recipes.record import Made, make_record
from headstart.recipes.ship import ship
from headstart.recipes.stores import open_store
from headstart.recipes.trainings import WEEK_S, sweep, training_folder
from headstart.recipes.watch import watching
from headstart.recipes.workspace import Clock, Workspace, open_workspace
from headstart.reports import Run, write_predictions, write_report, write_run
from headstart.search.candidates import joint_proposals, proposals
from headstart.search.choice import AnyCandidate, Choice, choose, names
from headstart.search.curve import draw_curve
from headstart.search.moving import Moved


def fit(data: Any, *, options: FitOptions, progress: Progress = SILENT) -> Run:
    """Choose a backbone for the data, adapt it, judge it on the sealed test, and write a run folder.

    Args:
        data: As for `read_dataset`.
        options: What the user asked for.
        progress: Where progress is shown.

    Returns:
        The record of the run, as in its `run.json`.

    Raises:
        HeadstartError: If the data, an option, a backbone or a folder cannot be used. Features that were computed
            stay in the store.
    """
    clock = Clock(options.started, options.adaptation_s)
    name = name_of(data)
    device = pick_device(options.device)
    compute = Compute(device, pick_precision(options.precision, device))
    with (
        open_workspace(options.out, name, overwrite=options.overwrite) as workspace,
        open_store(options.home or default_home(), progress) as (store, home),
        watching(workspace, options, progress) as watch,
        contextlib.ExitStack() as stack,
    ):
        with clock.step("read"):
            dataset = read(data, options, store, progress)
            considered = consider(dataset, options, home, clock, progress)
            backbones = considered.backbones
            check_modality(options.every_strategy, dataset.modality)
            workspace.log("read", n=len(dataset), classes=dataset.classes, left_out=len(dataset.left_out))
        climb = Climb(dataset.items, store, store, compute, clock, workspace, progress)
        with clock.step("extract"):
            control = [Local(PIXELS, Path(), {})] if dataset.modality == "image" else []
            lost = climb.first_pass([backbones[0], *control])
            dataset = _without(dataset, lost, climb, progress)
        with clock.step("audit"):
            sides = split(dataset, fraction=options.test_share or 0.2, seed=options.seed)
            findings = audit(dataset, sides)
            # A model must not know a class that only the sealed test has.
            sides = replace(sides, train=trainable(sides.train))
            for finding in findings:
                progress.say(finding.advice)
        train = _Train.of(dataset, sides, options.seed)
        climb.divide(train.rows, train.test_rows)
        with clock.step("rank"):
            raced = None
            if len(backbones) > MOST_PASSES:
                raced = race(climb, backbones, sides.train, train.rows, priors=considered.priors)
                backbones = shortlist(raced, backbones, first=backbones[0])
        _climb(climb, backbones, train, options)
        with clock.step("search"):
            kept = stack.enter_context(_scratch(dataset, options, compute, home)) if options.moves else Path()
            move = Move(climb, sides.train, train.folds, sides.test.items, options.seed, kept, watch)
            move.try_all(options.moves, backbones, needed=_only_moving(options))
            choice = choose(_considered(climb.candidates, options, progress), groups=sides.train.groups)
            progress.say(f"Chosen: {names([choice.winner], climb.candidates)[0]}. {choice.why}")
        with clock.step("rank"):
            ranking = rank_passes(climb, sides.train, priors=considered.priors, raced=raced)
            nearest = choice.winner.proposal.backbones[0].name
            local = next(each for each in backbones if each.spec.name == nearest)
            nearness = nearness_of(local, climb.seen[nearest])
        with clock.step("fit"):
            fitted = _fit_winner(choice, move, local, sides)
            notes = [fitted.note, _not_tried(climb.candidates, options)]
            choice = replace(choice, why=" ".join([choice.why, *filter(None, notes)]))
            curve = draw_curve(
                choice.on_features,
                climb.seen,
                sides.train.targets,
                train.folds,
                n_classes=len(sides.train.classes),
                seed=options.seed,
                units=units_of(sides.train, seed=options.seed, purpose="learning curve").of_items,
            )
            if fitted.local is not None:
                curve = replace(curve, sentence=f"For the linear head that the training started from: {curve.sentence}")
        with clock.step("evaluate"):
            pixels = (climb.seen[PIXELS.name], climb.unseen[PIXELS.name]) if control else None
            scratch = from_scratch(sides.train, train.folds, sides.test.items, pixels)
            network = same_network(local, sides, climb, options=options, folder=workspace.folder)
            # Of our own hold-outs all data counts: another seed would otherwise begin a new count.
            opened = dataset.fingerprint if dataset.sides is None else sides.test.fingerprint
            openings = store.count_opening(opened, workspace.target.name)
            judgement = judge(
                *(sides.test, fitted.predictor, climb.unseen),
                train=sides.train,
                scratch=scratch,
                network=network,
                seed=options.seed,
            )
        made = Made(
            name=workspace.target.name,
            out=str(workspace.target),
            options=options,
            command=options.command or f"headstart fit {shlex.quote(str(dataset.source))} --seed {options.seed}",
            dataset=dataset,
            split=sides,
            findings=findings,
            ranking=ranking,
            nearness=nearness,
            climb=climb,
            choice=choice,
            training=fitted.training,
            curve=curve,
            judgement=judgement,
            openings=openings,
            trainings=watch.trainings,
        )
        usable = [*backbones, *([fitted.local] if fitted.local else [])]
        run = _write(made, fitted.predictor, {local.spec.name: local for local in usable}, workspace)
        workspace.finish()
        sweep(home, idle_s=WEEK_S)
    return run


def _without(dataset: Dataset, lost: dict[int, str], climb: Climb, progress: Progress) -> Dataset:
    """Go on with the items that could be computed, and say what that costs."""
    climb.keep(np.array([row for row in range(len(dataset)) if row not in lost], dtype=np.int64))
    late = [row for row, reason in lost.items() if reason == NOT_REACHED]
    notes = []
    if late:
        notes.append(
            f"the budget allowed {len(dataset) - len(late):,} of {len(dataset):,} items, a stratified sample; "
            "a larger --budget goes on from there"
        )
    if len(lost) > len(late):
        progress.say(f"{len(lost) - len(late):,} items cannot be decoded and are left out; the report lists them.")
    fewer = known_first(leave_out(dataset, lost))
    gone = [name for name in dataset.classes if name not in fewer.classes]
    if gone:
        which = " or ".join(map(repr, gone))
        notes.append(f"no item of the class {which} could be used, so the model does not know it")
    for note in notes:
        progress.say(note)
    # Items that were not reached are no fault of the data: they are counted in a note, and not listed.
    faulty = tuple(each for each in fewer.left_out if each.reason != NOT_REACHED)
    return replace(fewer, notes=(*fewer.notes, *notes), left_out=faulty)


@dataclass(frozen=True, eq=False)
class _Train:
    """Where the training and the test items are among all items, and the folds of the training items."""

    rows: Int[np.ndarray, " train"]
    test_rows: Int[np.ndarray, " test"]
    dataset: Dataset
    folds: Int[np.ndarray, " train"]

    @staticmethod
    def of(dataset: Dataset, sides: Split, seed: int) -> _Train:
        rows, test_rows = (dataset.items.rows_of(side.items) for side in (sides.train, sides.test))
        return _Train(rows, test_rows, sides.train, make_folds(sides.train, n_folds=5, seed=seed))


def _climb(climb: Climb, backbones: list[Local], train: _Train, options: FitOptions) -> None:
    """Backbone by backbone, then all of them together."""
    clock, makes, n_classes = climb.clock, options.makes, len(train.dataset.classes)
    reached = []
    for number, backbone in enumerate(backbones):
        with clock.step("extract"):
            if number and not climb.next_pass(backbone):
                continue
        reached.append(backbone.spec)
        with clock.step("search"):
            climb.try_all(
                proposals(backbone.spec),
                makes,
                train.dataset.targets,
                train.folds,
                n_classes=n_classes,
                seed=options.seed,
                groups=train.dataset.groups,
            )
    with clock.step("search"):
        climb.try_all(
            joint_proposals(reached),
            makes,
            train.dataset.targets,
            train.folds,
            n_classes=n_classes,
            seed=options.seed,
            groups=train.dataset.groups,
        )


def _scratch(
    dataset: Dataset, options: FitOptions, compute: Compute, home: Path
) -> contextlib.AbstractContextManager[Path]:
    """Where this run's trainings are kept; the same run finds them again."""
    asked = options.strategies, sorted(options.settings), options.seed, options.backbones, options.test_share
    return training_folder(home, [dataset.fingerprint, asked, compute.device, compute.precision])


def _only_moving(options: FitOptions) -> bool:
    return len(options.moves) == len(options.strategies)


def _considered(candidates: list[AnyCandidate], options: FitOptions, progress: Progress) -> list[AnyCandidate]:
    """Those that the user named: a linear head may only be there because a training starts from it.

    Where moving weights has clearly done harm to all of them, that head is considered too.
    """
    named = [each for each in candidates if each.strategy.name in options.strategies]
    if named and all(isinstance(each, Moved) and each.difference.high < 0 for each in named):
        progress.say("Moving the weights did harm, so the heads on features are considered as well.")
        return candidates
    return named or candidates


def _not_tried(candidates: list[AnyCandidate], options: FitOptions) -> str:
    """What became of strategies that were named and are not among the candidates, or nothing."""
    tried = {each.strategy.name for each in candidates}
    missing = [name for name in options.strategies if name not in tried]
    return f"Named, but left out for want of time or because of an error: {', '.join(missing)}." if missing else ""


def _fit_winner(choice: Choice, move: Move, local: Local, sides: Split) -> Fitted:
    winner, train, seen = choice.winner, sides.train, move.climb.seen
    if isinstance(winner, Moved):
        return move.finish(winner, local)
    predictor = winner.strategy.fit(
        seen, train.targets, classes=train.classes, chosen=winner.out_of_fold, seed=move.seed
    )
    return Fitted(predictor, accuracy(train.targets, predictor.probabilities(seen), groups=train.groups))


def _write(made: Made, predictor: Predictor, backbones: dict[str, Local], workspace: Workspace) -> Run:
    """Bundle, predictions, record and page; the record is written last, with the time that all this took."""
    sealed, judgement, clock = made.split.test, made.judgement, made.climb.clock
    with clock.step("report"):
        write_predictions(
            workspace.folder / "predictions_test.csv",
            sealed.items.names,
            classes=predictor.classes,
            probabilities=predictor.probabilities(made.climb.unseen),
            targets=[sealed.classes[target] for target in judgement.targets],
        )
        draft = make_record(made)
        ship(
            workspace.folder / "bundle",
            draft,
            predictor,
            backbones=backbones,
            compute=made.climb.compute,
            training_keys=made.split.train.items.keys,
        )
        write_report(draft, workspace.folder)
    workspace.log("done", accuracy=judgement.evaluation.accuracy.value)
    run = replace(draft, timings=clock.timings())  # now with the time that the page took
    write_report(run, workspace.folder)
    write_run(run, workspace.folder)
    return run
