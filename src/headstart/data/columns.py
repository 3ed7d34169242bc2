"""Which column of a table holds the items, the labels and the user's own split, when nobody said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from headstart._checks import did_you_mean
from headstart.data.dataset import Modality
from headstart.data.readers.files import IMAGE_SUFFIXES, side_of
from headstart.data.readers.reading import Cell, Columns, Table, Wanted
from headstart.errors import DataError

_TARGET_NAMES = (
    *("label", "target", "class", "category", "y", "sentiment", "topic", "intent", "emotion", "species"),
    *("labels", "targets", "classes", "class_name", "label_name", "label_text", "gold", "stars", "rating"),
)
_SIDE_COLUMNS = frozenset({"split", "set", "subset", "partition", "fold"})
_SAMPLE_ROWS = 200
_MOSTLY = 0.8


def find_columns(table: Table, wanted: Wanted) -> tuple[Columns, tuple[str, ...]]:
    """The columns to use, and one sentence on each that was found without being told.

    The labels are in the column that has a usual name for them, or else in the only column of few values. The items
    are in a column of images or image paths, or else in the column of the longest texts.

    Raises:
        DataError: If a wanted column does not exist, or no column or more than one could be meant.
    """
    for name in (wanted.target, wanted.column, wanted.groups):
        if name is not None:
            _check_exists(name, table)
    notes = []
    target = wanted.target or (_named_target(table, wanted) if wanted.labelled else None)
    taken = {name for name in (target, wanted.groups) if name is not None}
    side = _side_column(table, taken | ({wanted.column} if wanted.column else set())) if wanted.labelled else None
    if side is not None:
        taken.add(side)
        notes.append(f"split: column {side!r}")
    value, modality, why = _value_column(table, wanted, taken)
    if wanted.labelled and target is None:
        target = _only_category(table, taken | {value})
    if target is not None and target == value:
        raise DataError(
            f"the items and the labels must be in different columns, but both are {value!r}",
            hint=f"Columns: {', '.join(table.columns)}.",
        )
    if why:
        notes.append(f"{modality} column: {value!r} ({why})")
    if target is not None and wanted.target is None:
        notes.append(f"target: {target!r}")
    if target is not None and target in table.columns[target]:
        notes.append(
            f"the column {target!r} has the same name as one of its labels: if the first line of the table is an item, "
            "put a line with the names of the columns above it"
        )
    return Columns(value, modality, target=target, groups=wanted.groups, side=side), tuple(notes)


def looks_like_image(cell: Cell) -> bool:
    """Whether a cell is an image, or reads like the path of one."""
    if not isinstance(cell, str):
        return True
    return len(cell) < 1000 and "\n" not in cell and Path(cell.strip()).suffix.lower() in IMAGE_SUFFIXES


def _check_exists(name: str, table: Table) -> None:
    if name not in table.columns:
        raise DataError(f"there is no column {name!r}", hint=did_you_mean(name, table.columns))


def _named_target(table: Table, wanted: Wanted) -> str | None:
    free = [name for name in table.columns if name not in (wanted.column, wanted.groups)]
    by_lower = {name.lower(): name for name in reversed(free)}
    return next((by_lower[name] for name in _TARGET_NAMES if name in by_lower), None)


def _side_column(table: Table, taken: set[str]) -> str | None:
    """A column with a usual name for it, all of whose cells name sides, training among them."""
    for name, cells in table.columns.items():
        if name.lower() in _SIDE_COLUMNS and name not in taken:
            sides = {side_of(cell) if isinstance(cell, str) else None for cell in cells}
            if None not in sides and "train" in sides and len(sides) > 1:
                return name
    return None


def _value_column(table: Table, wanted: Wanted, taken: set[str]) -> tuple[str, Modality, str]:
    """Its name, its modality, and how it was found (empty when it was told)."""
    if wanted.column is not None:
        modality = wanted.modality
        if modality == "auto":
            modality = "image" if _share_of_images(table.columns[wanted.column]) >= _MOSTLY else "text"
        return wanted.column, modality, ""
    free = [name for name in table.columns if name not in taken]
    if not free:
        raise DataError(
            f"the table has no column with texts or images: it has only {', '.join(map(repr, table.columns))}",
            hint="Add a column with the texts or with the paths of the images.",
        )
    if wanted.modality != "text":
        images = [name for name in free if _holds_images(table, name)]
        if images:
            return images[0], "image", "image files"
        if wanted.modality == "image":
            raise DataError(
                f"no column holds paths of images; the columns are {', '.join(map(repr, table.columns))}",
                hint="Name the column of image paths; they are relative to the table's folder.",
            )
    # Asked for texts, a table of pictures has them in another column than the file names.
    free = [name for name in free if not _holds_images(table, name)] or free
    longest = max(free, key=lambda name: _mean_length(table.columns[name]))
    return longest, "text", "longest texts" if len(free) > 1 else "the only one that can be"


def _sample(cells: Sequence[Cell]) -> list[Cell]:
    filled = (cell for cell in cells if not isinstance(cell, str) or cell.strip())
    return [cell for cell, _ in zip(filled, range(_SAMPLE_ROWS), strict=False)]


def _share_of_images(cells: Sequence[Cell]) -> float:
    sample = _sample(cells)
    return sum(map(looks_like_image, sample)) / len(sample) if sample else 0.0


def _holds_images(table: Table, name: str) -> bool:
    return _share_of_images(table.columns[name]) >= _MOSTLY


def _mean_length(cells: Sequence[Cell]) -> float:
    sample = _sample(cells)
    return sum(len(cell) for cell in sample if isinstance(cell, str)) / max(len(sample), 1)


def _only_category(table: Table, taken: set[str]) -> str:
    """The only column of few values: at most max(20, √rows) of them, each twice on average."""
    n_rows = len(table.rows)
    found = []
    for name, cells in table.columns.items():
        values = {cell for cell in cells if isinstance(cell, str) and cell.strip()}
        if name not in taken and 2 <= len(values) <= min(max(20, math.isqrt(n_rows)), n_rows // 2):
            found.append(name)
    if len(found) == 1:
        return found[0]
    which = f"{' and '.join(map(repr, found))} could all be" if found else "none of them is clearly"
    raise DataError(
        f"the table has the columns {', '.join(map(repr, table.columns))}, and {which} the target",
        hint="Name the target column (--target on the command line).",
    )
