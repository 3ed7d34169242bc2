"""The cleaned list of a dataset: a CSV file that says of every item what becomes of it and why, and that `fit` reads.

The items themselves stay where and as they are. The file holds the SHA-256 of each, so that whoever reads it later
notices when it no longer fits them.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TextIO

from headstart._checks import did_you_mean
from headstart._fingerprint import sha256_bytes, sha256_file
from headstart.data.dataset import Dataset
from headstart.data.readers.reading import Table, Wanted
from headstart.errors import DataError, OptionError

PATH, TEXT = "path", "text"
_REMOVED = "remove"
_ACTIONS = ("keep", "regroup", _REMOVED)
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One line.

    Attributes:
        item: Its name.
        value: The path of an image relative to the file, or the text.
        label: Its class.
        split: `train`, `test`, or empty where the user made no sides.
        group: What it belongs with; empty for nothing.
        action: `keep`, `regroup` or `remove`.
        why: The reason.
        suggestion: The class that its label should perhaps be.
        sha256: Of its content; empty for items that could not be read.
    """

    item: str
    value: str
    label: str = ""
    split: str = ""
    group: str = ""
    action: str = "keep"
    why: str = ""
    suggestion: str = ""
    sha256: str = ""


_COLUMNS = tuple(field.name for field in fields(ManifestRow))


def check_can_be_listed(dataset: Dataset) -> None:
    """Images that lie in no file of their own, or in one whose name is not text, cannot be named in a list.

    Raises:
        OptionError: If there are any.
    """
    inside = sum(not isinstance(value, Path | str) for value in dataset.items.values)
    if inside:
        raise OptionError(
            f"a cleaned list names files, but {inside:,} of the images lie inside {dataset.source!r}",
            hint="Leave --fix out, or save the images as files first.",
        )
    nameless = [value for value in dataset.items.values if isinstance(value, Path) and not _is_unicode(str(value))]
    if nameless:
        raise OptionError(
            "a cleaned list names files, and their names must be valid UTF-8, but got "
            f"{os.fsencode(nameless[0].name)!r}{f' and {len(nameless) - 1:,} more' if len(nameless) > 1 else ''}",
            hint="Rename the file, or leave --fix out.",
        )


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def value_in(value: Path | str, folder: Path) -> str:
    """What stands in the list for an item: its text, or its path from the folder of the list.

    Args:
        value: The item.
        folder: Where the list lies.
    """
    return value if isinstance(value, str) else Path(os.path.relpath(value.absolute(), folder.absolute())).as_posix()


def write_manifest(rows: Iterable[ManifestRow], stream: TextIO, modality: str) -> None:
    """Write the list.

    Args:
        rows: Its lines.
        stream: An open text file that leaves ends of lines as they are.
        modality: What the items are; it names the column that they are in.
    """
    # With both characters at the end of a line, either of them within a cell is quoted.
    table = csv.writer(stream, lineterminator="\r\n")
    table.writerow(_header(TEXT if modality == "text" else PATH))
    table.writerows([getattr(row, name) for name in _COLUMNS] for row in rows)


def is_manifest(table: Table) -> bool:
    """Whether a table is such a list.

    Args:
        table: What was read.
    """
    return tuple(table.columns) in (_header(PATH), _header(TEXT))


def is_manifest_file(path: Path) -> bool:
    """Whether a file begins as such a list does.

    Args:
        path: A file.
    """
    with path.open(encoding="utf-8", errors="replace") as stream:
        return tuple(stream.readline().strip().split(",")) in (_header(PATH), _header(TEXT))


def _header(value: str) -> tuple[str, ...]:
    return tuple(value if name == "value" else name for name in _COLUMNS)


def kept(table: Table, wanted: Wanted) -> tuple[Table, Wanted]:
    """The rows that the list keeps, and where to look for what in them.

    Args:
        table: A list.
        wanted: What the user asked for; what they left out is filled in.

    Raises:
        DataError: If a file is gone or has another content than when the list was made, or an action is unknown.
    """
    value = TEXT if TEXT in table.columns else PATH
    actions = [str(action).strip().casefold() for action in table.columns["action"]]
    for row, action in enumerate(actions):
        if action not in _ACTIONS:
            raise DataError(
                f"the action of a cleaned list must be {', '.join(_ACTIONS[:-1])} or {_ACTIONS[-1]}, but "
                f"{table.rows[row]} has {action!r}",
                hint=did_you_mean(action, _ACTIONS),
            )
    rows = [row for row, action in enumerate(actions) if action != _REMOVED]
    _check_unchanged(table, value, rows)
    columns = {name: [cells[row] for row in rows] for name, cells in table.columns.items()}
    note = f"a cleaned list of headstart audit: {len(rows):,} of its {len(table.rows):,} items are kept"
    fewer = replace(table, columns=columns, rows=tuple(table.rows[row] for row in rows), notes=(*table.notes, note))
    return fewer, replace(
        wanted,
        column=wanted.column or value,
        target=wanted.target or "label",
        groups=wanted.groups or ("group" if any(columns["group"]) else None),
        modality="text" if value == TEXT else "image",
    )


def _check_unchanged(table: Table, value: str, rows: list[int]) -> None:
    problems = []
    for row in rows:
        cell, digest = str(table.columns[value][row]), table.columns["sha256"][row]
        name = str(table.columns["item"][row])
        if value == TEXT:
            if sha256_bytes(cell.encode("utf-8", "surrogatepass")) != digest:
                problems.append(f"{name} was changed")
            continue
        path = Path(cell) if table.folder is None else table.folder / cell
        try:
            if sha256_file(path) != digest:
                problems.append(f"{name} was changed")
        except (OSError, ValueError):  # what no file can be called is a ValueError
            problems.append(f"{name} is gone")
    if problems:
        shown = ", ".join(problems[:_SHOWN]) + (
            f" and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        )
        raise DataError(
            f"a cleaned list must fit the items that it was made of, but {len(problems):,} of {len(rows):,} no longer "
            f"do: {shown}",
            hint="Make a new one: headstart audit DATA --fix NEW.csv",
        )
