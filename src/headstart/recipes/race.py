"""Many backbones on few items, then fewer of them on more: which ones deserve a pass over everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset
from headstart.errors import DataError
from headstart.features.extract import Features
from headstart.recipes.climb import FEWEST_ITEMS, Climb
from headstart.selection.prior import Prior
from headstart.selection.ranking import Ranked, Ranking, rank

MOST_PASSES = 3
"""Backbones that get a pass over all items; where there are more, a race decides which."""
MOST_ITEMS = 1000
_FIRST_ROUND = 250


@dataclass(frozen=True, eq=False)
class Raced(Ranking):
    """What a race has found.

    Attributes:
        n_looked: How many items were looked at to judge each backbone, by name; damaged ones count.
    """

    n_looked: Mapping[str, int]


def race(
    climb: Climb,
    backbones: Sequence[Local],
    train: Dataset,
    rows: Int[np.ndarray, " train"],
    *,
    priors: Mapping[str, Prior],
    most_items: int = MOST_ITEMS,
) -> Raced:
    """Rank backbones on a sample of the training items that doubles as the field halves.

    After each round those go on that tie with the most accurate one, but at least the better half, and the favourite
    of the prior whatever it did: of the two ways to be wrong this guards against the one that few items cause.

    When the budget ends in a later round, backbones that are not decisive keep what the round before has found; when
    one is lost that is, the round before counts. Where nothing at all fits, the first backbone is computed for a few
    items, whatever the budget.

    Args:
        climb: Computes features, keeps them, and says what does not fit into the budget.
        backbones: At least one, in the order in which they are computed: the cheapest first.
        train: The training items, in an order of which every beginning is a stratified sample.
        rows: Their positions among the items of the climb.
        priors: What is known before, by the name of the backbone.
        most_items: The size of the last round.

    Raises:
        DataError: If the items that can be used are of fewer than two classes.
    """
    most = min(most_items, len(rows))
    n_items = most if len(backbones) <= MOST_PASSES else min(_FIRST_ROUND, most)
    seen = _look(climb, backbones, rows[:n_items])
    if not seen:
        n_items = most = min(FEWEST_ITEMS, n_items)
        name = backbones[0].spec.name
        climb.progress.say(f"The budget is too short: {name} is computed for {n_items:,} items alone.")
        seen = _look(climb, backbones, rows[:n_items], in_any_case=backbones[0])
    ranking, behind, late = _rank(climb, seen, train, priors), dict[str, Ranked](), dict[str, Ranked]()
    n_looked = dict.fromkeys(seen, n_items)
    while n_items < most:
        ahead = _ahead(ranking)
        n_next = min(2 * n_items, most) if len(ahead) > MOST_PASSES else most
        found = _look(climb, [local for local in backbones if local.spec.name in ahead], rows[:n_next])
        if seen.keys() & climb.unfit.keys():
            # Those that are left have this round again without it: what was computed is in the store.
            seen = {name: features for name, features in seen.items() if name not in climb.unfit}
            ranking = _rank(climb, seen, train, priors)
            continue
        lost = ahead - found.keys()
        if decisive := sorted(lost & _decisive(ranking)):
            without = f"The budget left no time for more items for {' and '.join(decisive)}"
            ranking = replace(ranking, why=f"{without}, so this is what a first sample says. {ranking.why}")
            break
        late |= {each.backbone.name: each for each in ranking.rows if each.backbone.name in lost}
        behind |= {each.backbone.name: each for each in ranking.rows if each.backbone.name not in ahead}
        seen, n_items = found, n_next
        n_looked |= dict.fromkeys(seen, n_items)
        ranking = _rank(climb, seen, train, priors)
    for those, because in (
        (late, "went no further than a first sample, because the budget left no time"),
        (behind, "promised less on a first sample and went no further"),
    ):
        order = sorted(those.values(), key=lambda each: (-each.n_items, -each.accuracy.value))
        ranking = ranking.followed_by(order, because=because)
    return Raced(ranking.rows, ranking.chosen, ranking.why, n_looked)


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


def _look(
    climb: Climb, field: Sequence[Local], rows: Int[np.ndarray, " rows"], *, in_any_case: Local | None = None
) -> dict[str, Features]:
    """The features of those that are in time and give features for all items that any of them can do."""
    seen: dict[str, Features] = {}
    for local in field:
        features = climb.look(local, rows) if local is in_any_case else climb.look_in_time(local, rows)
        if features is not None:
            seen[local.spec.name] = features
    # A file that is damaged is so for all. A network that overflows must not cost the others their items.
    usable = max((features.there for features in seen.values()), key=np.count_nonzero, default=np.empty(0, dtype=bool))
    for name, features in seen.items():
        if n_lacking := int(np.count_nonzero(usable & ~features.there)):
            climb.leave_out(name, n_lacking)
    return {name: features for name, features in seen.items() if name not in climb.unfit}


def _rank(climb: Climb, seen: Mapping[str, Features], train: Dataset, priors: Mapping[str, Prior]) -> Ranking:
    """On the items at the beginning that all of them can do, so that comparisons are paired."""
    can = np.logical_and.reduce([features.there for features in seen.values()])
    there = np.flatnonzero(can)
    targets = train.targets[there]
    if len(np.unique(targets)) < 2:
        raise DataError(
            f"backbones are ranked on items of two classes or more, but of the first {len(can):,} training items "
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


def _decisive(ranking: Ranking) -> set[str]:
    """Without these the choice would be another one for want of time alone."""
    best = max(ranking.rows, key=lambda each: each.accuracy.value)
    return {best.backbone.name, ranking.chosen.name, ranking.favourite.backbone.name}
