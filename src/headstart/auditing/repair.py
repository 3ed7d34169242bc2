"""What to do about the findings, item by item: groups that keep together what belongs together, and a cleaned list.

Nothing here changes a file of the user's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart.auditing.copies import Copies
from headstart.data.dataset import Dataset

Action = Literal["keep", "regroup", "remove"]

_MANY_PIECES = 10
_MOST_LOST = 0.2
"""A larger share of the training items is not given up for the test: the sides are made anew instead."""


@dataclass(frozen=True)
class SplitRepair:
    """How the sides can be made to share nothing.

    Attributes:
        groups: For each item the name of what it belongs with; empty for an item that belongs with none.
        leave_out: Training items that must go because they belong with test items: the reason, by position.
        remade: Whether the user's sides must be given up, since too much of the training side would go.
        given_up: What is not kept together, since nothing could be held out then: `series`, or `series and
            near-copies`; empty where all is.
    """

    groups: tuple[str, ...]
    leave_out: Mapping[int, str]
    remade: bool
    given_up: str = ""

    @property
    def complete_groups(self) -> tuple[str, ...]:
        """For each item the name of its group, where an item that belongs with none is a group of its own."""
        return tuple(name or f"\0{row}" for row, name in enumerate(self.groups))


@dataclass(frozen=True, slots=True)
class Repair:
    """What to do with one item.

    Attributes:
        action: `keep`, `regroup` (keep it together with others) or `remove`.
        why: The reason; empty where there is nothing to say.
        group: The name of its group; empty for none.
        suggestion: The class that its label should perhaps be; empty for none.
    """

    action: Action = "keep"
    why: str = ""
    group: str = ""
    suggestion: str = ""


def repair_split(dataset: Dataset, copies: Copies, series: Int[np.ndarray, " items"] | None = None) -> SplitRepair:
    """Put what belongs together into groups, and say what must go so that no group is on both sides.

    Together belong copies, exact and near, items of one series, items of one of the user's groups, and whatever these
    connect. Where that would leave a class of ten contents or more in one piece, series are given up, and then
    near-copies. Of the user's own sides the test stays whole, and the training items that belong with test items go;
    where that would cost more than a fifth of the training items, the sides have to be made anew. Labels of the test
    side are not looked at.

    Args:
        dataset: All items, with the user's sides where there are any.
        copies: As from `find_copies` on these.
        series: For each item the number of its series, or -1.
    """
    series = np.full(len(dataset), -1, dtype=np.int64) if series is None else series
    none, is_test = np.full(len(dataset), -1, dtype=np.int64), dataset.on_test
    given_up, kept = "", series
    apart, component = pieces(dataset), pieces(dataset, copies.clusters, kept)

    def is_stuck() -> bool:
        return bool(stuck_classes(apart[~is_test], component[~is_test], dataset.targets[~is_test]))

    if is_stuck():
        given_up, kept = "series", none
        component = pieces(dataset, copies.clusters, kept)
    if is_stuck():
        given_up, component = "series and near-copies", apart
    groups = _named(component, dataset, copies, kept)
    if not is_test.any():
        return SplitRepair(groups, {}, remade=False, given_up=given_up)
    shown: dict[int, int] = {}
    for row in np.flatnonzero(is_test).tolist():
        shown.setdefault(int(component[row]), row)
    leave_out = {}
    for row in np.flatnonzero(~is_test).tolist():
        other = shown.get(int(component[row]))
        if other is not None:
            leave_out[row] = f"{_bond(row, other, dataset, copies)} a test item: {dataset.items.names[other]}"
    if len(leave_out) > _MOST_LOST * int((~is_test).sum()):
        return SplitRepair(groups, {}, remade=True, given_up=given_up)
    return SplitRepair(groups, leave_out, remade=False, given_up=given_up)


def plan(
    dataset: Dataset,
    copies: Copies,
    split: SplitRepair,
    *,
    useless: Mapping[int, str],
    suspects: Mapping[int, tuple[str, str]],
) -> tuple[Repair, ...]:
    """What to do with each item: nothing is removed for a label that only looks wrong.

    Args:
        dataset: All items.
        copies: As from `find_copies` on these.
        split: As from `repair_split`.
        useless: Items that show nothing, such as blank pictures: the reason, by position.
        suspects: Labels that look wrong: the class that they look like, and the reason, by position.
    """
    surplus = _surplus(dataset, copies, split)
    found = []
    for row, group in enumerate(split.groups):
        suggestion, doubt = suspects.get(row, ("", ""))
        gone = split.leave_out.get(row) or surplus.get(row) or useless.get(row)
        if gone:
            found.append(Repair("remove", gone, group, suggestion))
        else:
            why = "; ".join(filter(None, ["kept together with the rest of its group" if group else "", doubt]))
            found.append(Repair("regroup" if group else "keep", why, group, suggestion))
    return tuple(found)


def stuck_classes(
    apart: Int[np.ndarray, " items"], joined: Int[np.ndarray, " items"], targets: Int[np.ndarray, " items"]
) -> list[int]:
    """Classes of ten pieces or more of which nothing can be held out once more is joined: they are in one piece then.

    Args:
        apart: For each item the number of its piece.
        joined: The same with more joined.
        targets: The class of each item.
    """
    before: dict[int, set[int]] = {}
    after: dict[int, set[int]] = {}
    for target, one, other in zip(targets.tolist(), apart.tolist(), joined.tolist(), strict=True):
        before.setdefault(target, set()).add(one)
        after.setdefault(target, set()).add(other)
    return [target for target in sorted(before) if len(before[target]) >= _MANY_PIECES and len(after[target]) < 2]


def pieces(dataset: Dataset, *joined: Int[np.ndarray, " items"]) -> Int[np.ndarray, " items"]:
    """For each item the number of its piece: items of equal content, of one of the user's groups, or joined otherwise.

    Args:
        dataset: Identified items.
        joined: Numbers that items which belong together share, -1 for none; such as sets of near-copies, or series.
    """
    links = []
    columns: list[Sequence[object]] = [dataset.items.keys, *map(_without_singles, joined)]
    if dataset.groups is not None:
        columns.append(dataset.groups)
    for column in columns:
        first: dict[object, int] = {}
        links += [(first.setdefault(value, row), row) for row, value in enumerate(column) if value is not None]
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(len(dataset),) * 2)
    component: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return component


def _without_singles(numbers: np.ndarray) -> list[int | None]:
    return [number if number >= 0 else None for number in numbers.tolist()]


def _named(component: np.ndarray, dataset: Dataset, copies: Copies, series: np.ndarray) -> tuple[str, ...]:
    """Names of the components of two items or more: by the user's group, else the series, else the copies."""
    sizes = np.bincount(component)
    names: dict[int, str] = {}
    for row, number in enumerate(component.tolist()):
        if sizes[number] < 2 or number in names:
            continue
        own = dataset.groups[row] if dataset.groups is not None else ""
        if own and not own.startswith("\0"):
            names[number] = own
    taken = set(names.values())
    for row, number in enumerate(component.tolist()):
        if sizes[number] > 1 and number not in names:
            what = f"series {series[row] + 1}" if series[row] >= 0 else f"copies {copies.clusters[row] + 1}"
            # The user's groups may be those of an earlier list, and be called so too.
            others = (f"{what} ({again})" for again in itertools.count(2))
            names[number] = next(name for name in itertools.chain([what], others) if name not in taken)
            taken.add(names[number])
    return tuple(names.get(number, "") for number in component.tolist())


def _bond(row: int, other: int, dataset: Dataset, copies: Copies) -> str:
    if dataset.items.keys[row] == dataset.items.keys[other]:
        return "an exact copy of"
    if copies.clusters[row] >= 0 and copies.clusters[row] == copies.clusters[other]:
        return "a near-copy of"
    return "belongs with"


def _surplus(dataset: Dataset, copies: Copies, split: SplitRepair) -> dict[int, str]:
    """Exact copies beyond the first of a side, and all that contradict each other in training, with the reason."""
    keys, names = dataset.items.keys, dataset.items.names
    sides = dataset.sides if dataset.sides is not None and not split.remade else ("train",) * len(dataset)
    members: dict[tuple[str, str], list[int]] = {}
    for row in np.flatnonzero(copies.exact).tolist():
        if row not in split.leave_out:
            members.setdefault((keys[row], sides[row]), []).append(row)
    found: dict[int, str] = {}
    for (_, side), rows in members.items():
        if len({int(dataset.targets[row]) for row in rows}) > 1 and side == "train":
            found |= dict.fromkeys(rows, "copies of it have other labels, and nothing says which is right")
        else:
            found |= dict.fromkeys(rows[1:], f"an exact copy of {names[rows[0]]}")
    return found
