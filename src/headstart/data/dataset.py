"""The nouns of this package: items, datasets, and what was left out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from headstart._fingerprint import fingerprint

Modality = Literal["image", "text"]
Side = Literal["train", "test"]
Value = Path | str | np.ndarray
"""One item as the user has it: the path of an image file, a text, or an image as a uint8 array (height × width × 3)."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An item that cannot be used.

    Attributes:
        name: The item as the user knows it: a path relative to the data, or a row.
        reason: Why, in a few words.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Items:
    """Examples without targets: what a backbone sees.

    Attributes:
        modality: What all of them are.
        values: The examples.
        names: How the user knows each: a path relative to the data, or a row such as `row 17`.
        keys: The SHA-256 of each one's content; empty until `identify` has read them.
    """

    modality: Modality
    values: tuple[Value, ...]
    names: tuple[str, ...]
    keys: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Sequence[int] | Int[np.ndarray, " rows"]) -> Items:
        """The items at these positions, in this order."""
        index = [int(row) for row in rows]
        return replace(
            self,
            values=tuple(self.values[row] for row in index),
            names=tuple(self.names[row] for row in index),
            keys=tuple(self.keys[row] for row in index) if self.keys else (),
        )

    def rows_of(self, some: Items) -> Int[np.ndarray, " some"]:
        """The positions of some of these items, found by their names.

        Args:
            some: Items of which each is among these.
        """
        place = {name: row for row, name in enumerate(self.names)}
        return np.array([place[name] for name in some.names], dtype=np.int64)


@dataclass(frozen=True)
class Dataset:
    """Items with their targets.

    Attributes:
        items: The examples.
        targets: For each item the index of its class in `classes`.
        classes: The class names, in natural order.
        sides: For each item the side that the user put it on, or None when the user made no split.
        groups: For each item the name of what it belongs with (a patient, a video), or None.
        copies: For each item the number of the set of near-copies that it belongs to, or None where nobody looked.
        left_out: What could not be used.
        notes: What was found out without being told, one sentence each, said aloud to the user.
        source: Where the data came from, as the user wrote it.
    """

    items: Items
    targets: Int[np.ndarray, " items"]
    classes: tuple[str, ...]
    sides: tuple[Side, ...] | None = None
    groups: tuple[str, ...] | None = None
    copies: tuple[int, ...] | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def modality(self) -> Modality:
        """What the items are."""
        return self.items.modality

    @property
    def on_test(self) -> Bool[np.ndarray, " items"]:
        """For each item whether the user put it on the test side; none is where there are no sides."""
        return np.array([side == "test" for side in self.sides or ("train",) * len(self)], dtype=bool)

    @property
    def fingerprint(self) -> str:
        """The identity of contents, class names and sides; names of files and their order do not matter."""
        sides = self.sides or ("",) * len(self)
        rows = zip(self.items.keys, (self.classes[target] for target in self.targets), sides, strict=True)
        return fingerprint([self.modality, sorted(rows)])

    def take(self, rows: Sequence[int] | Int[np.ndarray, " rows"]) -> Dataset:
        """The dataset of the items at these positions, in this order; the class names stay."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            items=self.items.take(index),
            targets=self.targets[index],
            sides=tuple(self.sides[row] for row in index) if self.sides is not None else None,
            groups=tuple(self.groups[row] for row in index) if self.groups is not None else None,
            copies=tuple(self.copies[row] for row in index) if self.copies is not None else None,
        )
