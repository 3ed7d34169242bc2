"""Datasets with fewer items: in which order they are worth computing, and what is left when some cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from headstart._randomness import generator
from headstart.data.dataset import Dataset, LeftOut
from headstart.errors import DataError


def spread_out(dataset: Dataset, *, seed: int) -> Dataset:
    """The same items in an order of which every beginning is a stratified sample of the whole.

    Args:
        dataset: Identified items.
        seed: 0 or greater.
    """
    by_key = sorted(range(len(dataset)), key=lambda row: (dataset.items.keys[row], dataset.items.names[row]))
    draws = np.empty(len(dataset))
    draws[by_key] = generator(seed, "order").random(len(dataset))
    sides = np.array([side == "test" for side in dataset.sides]) if dataset.sides else np.zeros(len(dataset), dtype=bool)
    place = np.empty(len(dataset))
    for stratum in np.unique(2 * dataset.targets + sides):
        rows = np.flatnonzero(2 * dataset.targets + sides == stratum)
        ranks = np.argsort(np.argsort(draws[rows]))
        place[rows] = (ranks + draws[rows]) / len(rows)
    return dataset.take(np.argsort(place, kind="stable"))


def leave_out(dataset: Dataset, reasons: Mapping[int, str]) -> Dataset:
    """The dataset without some items, which are listed in `left_out`; classes that lose all their items go too.

    Args:
        dataset: Items with targets.
        reasons: Why, by the position of the item.

    Raises:
        DataError: If fewer than two classes are left.
    """
    if not reasons:
        return dataset
    rows = np.array([row for row in range(len(dataset)) if row not in reasons], dtype=np.int64)
    lost = tuple(LeftOut(dataset.items.names[row], reasons[row]) for row in sorted(reasons))
    present = np.unique(dataset.targets[rows])
    if len(present) < 2:
        first = "; ".join(f"{each.name}: {each.reason}" for each in lost[:3])
        raise DataError(
            f"items of at least two classes are needed, but {len(rows)} of {len(dataset)} items can be used ({first})",
            hint="Replace the items that cannot be used.",
        )
    fewer = replace(dataset.take(rows), left_out=(*dataset.left_out, *lost))
    return replace(
        fewer,
        targets=_renumbered(fewer.targets, present),
        classes=tuple(dataset.classes[target] for target in present),
    )


def _renumbered(targets: Int[np.ndarray, " items"], present: Int[np.ndarray, " classes"]) -> Int[np.ndarray, " items"]:
    return np.searchsorted(present, targets)
