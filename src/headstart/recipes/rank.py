"""The story of `rank`: which pretrained network suits the data, for the cost of one pass over a sample for each."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from headstart._home import default_home
from headstart._progress import SILENT, Progress
from headstart.backbones.precision import pick_device, pick_precision
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, LeftOut
from headstart.data.split import split
from headstart.errors import OptionError
from headstart.features.extract import Compute, Features
from headstart.recipes.climb import Climb
from headstart.recipes.consider import consider
from headstart.recipes.nearness import diagnostics_of, nearness_of
from headstart.recipes.options import FitOptions
from headstart.recipes.race import Raced, race
from headstart.recipes.reading import name_of, read
from headstart.recipes.record import environment, ranking_rows
from headstart.recipes.stores import open_store
from headstart.recipes.workspace import Clock, NoLog, page_to_write
from headstart.reports import RankingRecord, write_ranking
from headstart.reports.record import RankingRow
from headstart.selection.ranking import Ranking

FEWEST_ITEMS = 20
_SINGLES = (
    "Every class has a single training item: leave-one-out and nearest neighbours are wrong for each of them whatever "
    "the backbone, so nothing tells the backbones apart but what is expected and what they cost."
)


def rank(data: Any, *, options: FitOptions, sample: int, progress: Progress = SILENT) -> RankingRecord:
    """Rank backbones on the training items of the data, and write a page about it. The sealed test is not looked at.

    Args:
        data: As for `read_dataset`.
        options: What the user asked for, as for `fit`; `out` is the page.
        sample: How many training items the best ones are judged on, 20 or more.
        progress: Where progress is shown.

    Returns:
        The record of the ranking.

    Raises:
        HeadstartError: If the data, an option, a backbone or the page cannot be used. Features that were computed stay
            in the store.
    """
    if sample < FEWEST_ITEMS:
        raise OptionError(
            f"the sample must be {FEWEST_ITEMS} items or more, but got {sample}", hint="Leave it out for 1000."
        )
    clock = Clock(options.started, options.budget_s)
    name = name_of(data)
    page = page_to_write(options.out, f"{name}-ranking.html", overwrite=options.overwrite)
    device = pick_device(options.device)
    compute = Compute(device, pick_precision(options.precision, device))
    with open_store(options.home or default_home(), progress) as (store, home):
        with clock.step("read"):
            dataset = read(data, options, store, progress)
            considered = consider(dataset.items, options, home, clock, progress)
            sides = split(dataset, fraction=options.test_share or 0.2, seed=options.seed)
            rows = dataset.items.rows_of(sides.train.items)
        climb = Climb(dataset.items, store, store, compute, clock, NoLog(), progress)
        with clock.step("rank"):
            ranking = race(climb, considered.backbones, sides.train, rows, priors=considered.priors, most_items=sample)
            judged = _judged(ranking, climb, considered.backbones, sides.train, rows)
        found_out = _found_out(judged[0], ranking)
        for note in found_out:
            progress.say(note)
        record = RankingRecord(
            name=name,
            version=version("headstart"),
            created=datetime.now().astimezone().isoformat(timespec="seconds"),
            command=options.command or f"headstart rank {shlex.quote(str(dataset.source))} --seed {options.seed}",
            seed=options.seed,
            source=dataset.source,
            modality=dataset.modality,
            n_train=len(sides.train),
            n_classes=len(sides.train.classes),
            ranking=tuple(_with_diagnostics(*pair) for pair in zip(ranking_rows(ranking), judged, strict=True)),
            chosen=ranking.chosen.name,
            why=ranking.why,
            nearness=next(
                nearness_of(each.local, each.features) for each in judged if each.local.spec == ranking.chosen
            ),
            notes=(*dataset.notes, *considered.notes, *found_out),
            left_out=(*considered.left_out, *_not_judged(considered.backbones, ranking, climb)),
            timings=clock.timings(),
            environment=environment(compute),
            out=str(page),
        )
        with clock.step("report"):
            write_ranking(record, Path(page))
    return replace(record, timings=clock.timings())


def _found_out(first: _Judged, ranking: Raced) -> list[str]:
    """What to know about the items that the first of the ranking was judged on."""
    notes, n_items = [], len(first.targets)
    if np.bincount(first.targets).max() < 2:
        notes.append(_SINGLES)
    if n_items < FEWEST_ITEMS:
        notes.append(f"Only {n_items} training items were there to judge on: too few to tell backbones apart.")
    if n_damaged := ranking.n_looked[first.local.spec.name] - n_items:
        notes.append(f"{n_damaged:,} items give no features and are left out for all backbones.")
    return notes


def _not_judged(backbones: Sequence[Local], ranking: Ranking, climb: Climb) -> list[LeftOut]:
    ranked = {each.backbone.name for each in ranking.rows}
    names = [local.spec.name for local in backbones if local.spec.name not in ranked]
    return [LeftOut(name, climb.unfit.get(name, "the budget left no time for it")) for name in names]


@dataclass(frozen=True, eq=False)
class _Judged:
    """What a backbone was judged on: the store has it."""

    local: Local
    features: Features
    targets: Int[np.ndarray, " items"]


def _with_diagnostics(row: RankingRow, judged: _Judged) -> RankingRow:
    scored = diagnostics_of(judged.local, judged.features, judged.targets)
    return replace(
        row,
        diagnostics={name: each.value for name, each in scored.items()},
        undefined={name: each.reason for name, each in scored.items() if each.value is None},
    )


def _judged(
    ranking: Raced, climb: Climb, backbones: Sequence[Local], train: Dataset, rows: Int[np.ndarray, " train"]
) -> list[_Judged]:
    """In the order of the ranking."""
    by_name = {local.spec.name: local for local in backbones}
    found = []
    for each in ranking.rows:
        name = each.backbone.name
        features = climb.look(by_name[name], rows[: ranking.n_looked[name]])
        there = np.flatnonzero(features.there)
        found.append(_Judged(by_name[name], features.take(there), train.targets[there]))
    return found
