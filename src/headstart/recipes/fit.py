"""The story of `fit`: from data to a model that can be trusted."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from headstart._home import default_home
from headstart._progress import SILENT, Progress
from headstart.adaptation.strategies.linear import Linear
from headstart.backbones.loaders.pixels import THUMBNAIL
from headstart.backbones.precision import pick_device, pick_precision
from headstart.data.dataset import Dataset
from headstart.data.folds import folds as make_folds
from headstart.data.reduce import known_first, leave_out, trainable
from headstart.data.split import split
from headstart.errors import OptionError
from headstart.features.extract import Compute
from headstart.recipes.auditing import (
    UNHURRIED_S,
    checks,
    findings_of_fit,
    kept_together,
    look,
    pictures_of,
    regrouped,
    shared_with_training,
)
from headstart.recipes.climb import NOT_REACHED, Climb
from headstart.recipes.consider import consider
from headstart.recipes.ending import Ending
from headstart.recipes.ladder import Ladder
from headstart.recipes.limits import not_too_costly
from headstart.recipes.move import Move, check_backbones, check_modality
from headstart.recipes.options import FitOptions
from headstart.recipes.race import MOST_PASSES, race, shortlist
from headstart.recipes.reading import name_of, read
from headstart.recipes.stores import open_store
from headstart.recipes.trainings import WEEK_S, Trainings, sweep, training_folder
from headstart.recipes.watch import watching
from headstart.recipes.workspace import CONTENTS, Clock, open_workspace
from headstart.reports import Run

_HEAD, _HEAD_A_CLASS = 0.26, 0.074  # of what a linear head in ten classes takes, as measured in 2 to 77
_MOST_BEFORE_OTHERS = 0.7
_SLOWER = 1.5
"""The end of a run has more candidates to choose from and to show than the first model had: as many times as long."""
_FIRST = "This is the first model of a run that went on to look for a better one and did not come to its end."
_INTERRUPTED = (
    "The run was interrupted: this is the best that was found until then. The same command goes on from there."
)


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
    if options.storage is not None:
        from headstart.search.study import check_storage  # with optuna, which other runs do without

        check_storage(Path(options.storage))
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
            asked = {**options.asked, CONTENTS: dataset.fingerprint}
            workspace.check_goes_on(asked)
            considered = consider(dataset.items, options, home, clock, progress)
            backbones = considered.backbones
            check_modality(options.every_strategy, dataset.modality)
            check_backbones([make() for make in options.moves], backbones)
            workspace.log("read", n=len(dataset), classes=dataset.classes, left_out=len(dataset.left_out))
        climb = Climb(dataset.items, store, store, compute, clock, workspace, progress)
        backbones = not_too_costly(
            backbones, climb, max_latency_ms=options.max_latency_ms, max_size_mb=options.max_size_mb
        )
        with clock.step("extract"):
            lost = climb.first_pass(
                [backbones[0], *pictures_of(dataset.modality)],
                **_heads(dataset, options),
                **checks(dataset, options.budget_s),
            )
            dataset = _without(dataset, lost, climb, progress)
        with clock.step("audit"):
            looked = look(dataset, climb.features, backbones[0], seed=options.seed, progress=progress)
            climb.forget(THUMBNAIL.name)
            if options.finds_groups:
                dataset, looked = regrouped(dataset, looked, climb, seed=options.seed, progress=progress)
            else:
                dataset = kept_together(dataset, looked.copies, progress)
            sides = split(dataset, fraction=options.test_share or 0.2, seed=options.seed)
            findings = findings_of_fit(
                dataset, sides, looked, backbones[0], seed=options.seed, hurried=options.budget_s < UNHURRIED_S
            )
            # A model must not know a class that only the sealed test has.
            sides = replace(sides, train=trainable(sides.train))
            for finding in findings:
                if finding.severity != "info":
                    progress.say(finding.sentences)
        rows, test_rows = (dataset.items.rows_of(side.items) for side in (sides.train, sides.test))
        folds = make_folds(sides.train, n_folds=options.cv[1], seed=options.seed)
        climb.divide(rows, test_rows)
        with clock.step("rank"):
            raced = None
            if len(backbones) > MOST_PASSES:
                raced = race(climb, backbones, sides.train, rows, priors=considered.priors)
                backbones = shortlist(raced, backbones, first=backbones[0])
        trainings = stack.enter_context(_trainings(sides.train, folds, options, compute, home))
        move = Move(climb, sides.train, folds, sides.test.items, options.seed, trainings.folder, watch)
        ladder = Ladder(climb, move, sides.train, folds, backbones, options, home=home)
        ladder.begin()
        ending = Ending(
            dataset=dataset,
            sides=sides,
            findings=findings,
            shared=shared_with_training(dataset, sides, looked),
            priors=considered.priors,
            raced=raced,
            ladder=ladder,
            store=store,
            workspace=workspace,
            asked=asked,
        )
        try:
            if ladder.takes_long:
                # Where the first backbone is above a limit, a later one may be within it.
                with contextlib.suppress(OptionError):
                    begin = time.monotonic()
                    ending.write(unfinished=_FIRST, aloud=False)
                    workspace.publish()
                    climb.ending_s = max(climb.ending_s, _SLOWER * (time.monotonic() - begin))
            ladder.ascend()
            run = ending.write()
        except KeyboardInterrupt:
            trainings.keep = True
            progress.say(_INTERRUPTED)
            run = ending.write(unfinished=_INTERRUPTED)
        workspace.finish()
        sweep(home, idle_s=WEEK_S)
    return run


def _heads(dataset: Dataset, options: FitOptions) -> dict[str, float]:
    """What the heads on the first pass cost, as `first_pass` is told: with the classes and the folds it grows.

    Of strategies other than `linear` it is not known before one was tried.
    """
    head_cost = max(1.0, (_HEAD + _HEAD_A_CLASS * len(dataset.classes)) * options.cv[1] / 5)
    is_linear = all(strategy.name == Linear.name for strategy in (make(()) for make in options.makes))
    return {"head_cost": head_cost, "most": 1.0 if is_linear else _MOST_BEFORE_OTHERS}


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


def _trainings(
    train: Dataset, folds: Int[np.ndarray, " train"], options: FitOptions, compute: Compute, home: Path
) -> contextlib.AbstractContextManager[Trainings]:
    """Where this run's trainings are kept; a run that holds out the same items in the same order finds them again."""
    asked = options.strategies, sorted(options.settings), options.seed, options.backbones, options.test_share
    items = train.items.keys, train.targets.tolist(), folds.tolist()
    return training_folder(home, [items, asked, compute.device, compute.precision])
