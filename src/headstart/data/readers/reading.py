"""The nouns between a source and a dataset: tables, columns, and readings whose labels are still words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from headstart.data.dataset import LeftOut, Modality, Value

SideName = Literal["train", "val", "test"]
Cell = str | bytes | np.ndarray
"""One cell of a table: its text (empty when missing), or an image as encoded bytes or as an array."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller asked for, before anything was looked at.

    Attributes:
        target: Name of the column with the labels, or None to find it.
        column: Name of the column with the texts or images, or None to find it.
        groups: Name of the column that says what belongs together, or None.
        modality: What the items are, or `auto` to find out.
        labelled: False when the items are for prediction and have no labels.
    """

    target: str | None = None
    column: str | None = None
    groups: str | None = None
    modality: Modality | Literal["auto"] = "auto"
    labelled: bool = True


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table is what.

    Attributes:
        value: The texts or the images.
        modality: What they are.
        target: The labels, or None when there are none.
        groups: What belongs together, or None.
        side: The user's own split, or None.
    """

    value: str
    modality: Modality
    target: str | None = None
    groups: str | None = None
    side: str | None = None


@dataclass(frozen=True)
class Table:
    """Columns of cells, as they were found.

    Attributes:
        columns: The cells of each column, all of the same number.
        rows: How the user knows each row.
        folder: What relative paths in it are relative to; None when paths stand as they are.
        left_out: Rows that could not be read.
        notes: What was found out without being told.
    """

    columns: Mapping[str, Sequence[Cell]]
    rows: tuple[str, ...]
    folder: Path | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """Items with their labels as words: what every reader gives.

    Attributes:
        modality: What all of the items are.
        values: The items.
        names: How the user knows each.
        labels: The label of each, as written; empty when it is missing.
        sides: The user's own split, or None.
        groups: What each item belongs with, or None.
        left_out: What could not be used.
        notes: What was found out without being told.
        columns: The columns that were used, when the source was a table.
        label_name: What to call the labels in messages; empty when folders are the labels.
    """

    modality: Modality
    values: tuple[Value, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    sides: tuple[SideName, ...] | None = None
    groups: tuple[str, ...] | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    columns: Columns | None = None
    label_name: str = ""

    def take(self, rows: Sequence[int]) -> Reading:
        """The reading of the items at these positions."""
        return replace(
            self,
            values=tuple(self.values[row] for row in rows),
            names=tuple(self.names[row] for row in rows),
            labels=tuple(self.labels[row] for row in rows),
            sides=tuple(self.sides[row] for row in rows) if self.sides is not None else None,
            groups=tuple(self.groups[row] for row in rows) if self.groups is not None else None,
        )


def joined(first: Reading, second: Reading) -> Reading:
    """Two readings of the same modality, one after the other; groups are kept when both have them."""
    both_sides = first.sides is not None and second.sides is not None
    both_groups = first.groups is not None and second.groups is not None
    return replace(
        first,
        values=first.values + second.values,
        names=first.names + second.names,
        labels=first.labels + second.labels,
        sides=(first.sides or ()) + (second.sides or ()) if both_sides else None,
        groups=(first.groups or ()) + (second.groups or ()) if both_groups else None,
        left_out=first.left_out + second.left_out,
        notes=tuple(dict.fromkeys(first.notes + second.notes)),
    )
