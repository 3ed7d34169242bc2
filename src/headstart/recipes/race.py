"""Many backbones on few items, then fewer of them on more: which ones deserve a pass over everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset
from headstart.errors import DataError
from headstart.features.extract import Features
from headstart.recipes.climb import Climb
from headstart.selection.prior import Prior
from headstart.selection.ranking import Ranked, Ranking, rank

MOST_PASSES = 3
"""Backbones that get a pass over all items; where there are more, a race decides which."""
MOST_ITEMS = 1000
_FIRST_ROUND = 250


def race(
    climb: Climb,
    backbones: Sequence[Local],
    train: Dataset,
    rows: Int[np.ndarray, " train"],
    *,
    priors: Mapping[str, Prior],
    most_items: int = MOST_ITEMS,
) -> Ranking:
    """Rank backbones on a sample of the training items that doubles as the field halves.

    After each round those go on that tie with the most accurate one, but at least the better half, and the favourite
    of the prior whatever it did: of the two ways to be wrong this guards against the one that few items cause.

    Args:
        climb: Computes features, keeps them, and says what does not fit into the budget.
        backbones: At least one, in the order in which they are computed.
        train: The training items, in an order of which every beginning is a stratified sample.
        rows: Their positions among the items of the climb.
        priors: What is known before, by the name of the backbone.
        most_items: The size of the last round.

    Raises:
        DataError: If the items that can be used are of fewer than two classes.
    """
    field, dropped = list(backbones), dict[str, Ranked]()
    most = min(most_items, len(rows))
    n_items = most if len(field) <= MOST_PASSES else min(_FIRST_ROUND, most)
    while True:
        ranking = _round(climb, field, train, rows[:n_items], priors)
        if n_items == most:
            break
        ahead = _ahead(ranking)
        dropped |= {each.backbone.name: each for each in ranking.rows if each.backbone.name not in ahead}
        field = [local for local in field if local.spec.name in ahead]
        n_items = min(2 * n_items, most) if len(field) > MOST_PASSES else most
    behind = sorted(dropped.values(), key=lambda each: (-each.n_items, -each.accuracy.value))
    return ranking.followed_by(behind)


def shortlist(ranking: Ranking, backbones: Sequence[Local], *, first: Local) -> list[Local]:
    """The backbones that get a pass over all items: the one that had it already, the favourite, the best of the others.

    Args:
        ranking: Of all of them.
        backbones: All of them.
        first: The one whose features are there.
    """
    favourite = ranking.favourite.backbone.name
    wanted = dict.fromkeys([first.spec.name, favourite, *(each.backbone.name for each in ranking.rows)])
    chosen = list(wanted)[:MOST_PASSES]
    return sorted((local for local in backbones if local.spec.name in chosen), key=lambda local: local is not first)


def rank_passes(climb: Climb, train: Dataset, *, priors: Mapping[str, Prior], raced: Ranking | None) -> Ranking:
    """Rank the backbones whose features are there, and put those below that a race has left behind.

    Args:
        climb: Has the features of the training items.
        train: The training items, in an order of which every beginning is a stratified sample.
        priors: What was known before, by the name of the backbone.
        raced: The race, where there was one.
    """
    some = slice(0, MOST_ITEMS)
    ranking = rank(
        {name: features.take(some) for name, features in climb.seen.items()},
        train.targets[some],
        seconds=climb.seconds,
        priors=priors,
        groups=None if train.groups is None else train.groups[some],
    )
    here = {each.backbone.name for each in ranking.rows}
    return ranking.followed_by([] if raced is None else [each for each in raced.rows if each.backbone.name not in here])


def _round(
    climb: Climb, field: Sequence[Local], train: Dataset, rows: Int[np.ndarray, " rows"], priors: Mapping[str, Prior]
) -> Ranking:
    seen: dict[str, Features] = {}
    for local in field:
        features = climb.look_in_time(local, rows) if seen else climb.look(local, rows)
        if features is not None:
            seen[local.spec.name] = features
    # Where a backbone gives nothing for an item, the item is left out for all, so that comparisons stay paired.
    there = np.flatnonzero(np.logical_and.reduce([features.there for features in seen.values()]))
    targets = train.targets[: len(rows)][there]
    if len(np.unique(targets)) < 2:
        raise DataError(
            f"backbones are ranked on items of two classes or more, but of the first {len(rows):,} training items "
            f"{len(there):,} can be used, of {len(np.unique(targets))} classes",
            hint="Replace the files that are damaged.",
        )
    return rank(
        {name: features.take(there) for name, features in seen.items()},
        targets,
        seconds=climb.seconds,
        priors=priors,
        groups=None if train.groups is None else [train.groups[row] for row in there],
    )


def _ahead(ranking: Ranking) -> set[str]:
    half = -(-len(ranking.rows) // 2)
    ahead = {each.backbone.name for place, each in enumerate(ranking.rows) if each.tie or place < half}
    return ahead | {ranking.favourite.backbone.name}
