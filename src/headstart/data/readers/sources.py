"""Which reader reads a path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.data.columns import find_columns
from headstart.data.manifest import is_manifest, kept
from headstart.data.readers.arrow import is_saved, read_parquet, read_saved
from headstart.data.readers.class_folders import read_class_folders
from headstart.data.readers.delimited import read_delimited
from headstart.data.readers.files import TABLE_SUFFIXES, is_hidden, side_of
from headstart.data.readers.json_lines import read_json
from headstart.data.readers.memory import read_frame
from headstart.data.readers.reading import Reading, SideName, Table, Wanted, joined
from headstart.data.readers.rows import read_rows
from headstart.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_SHARD = re.compile(r"-\d+-of-\d+$")


def read_path(path: Path, wanted: Wanted) -> Reading:
    """The items of a table, of a saved dataset, of a folder with a table for each side, or of class folders.

    Raises:
        DataError: If nothing there can be read, or the columns are unclear.
    """
    if path.is_file():
        return _read_rows(read_table(path), wanted)
    if is_saved(path):
        return _read_sides(read_saved(path), wanted)
    for folder in (path, path / "data"):
        tables = _tables(folder)
        sided = [(side, table) for table in tables if (side := _file_side(table)) is not None]
        if any(side == "train" for side, _ in sided):
            return _read_sides([(side, table.name, read_table(table)) for side, table in sided], wanted)
    tables = _tables(path)
    if len(tables) == 1 and _count_folders(path) < 2:
        return _read_rows(read_table(tables[0]), wanted)
    return read_class_folders(path, wanted.modality)


def read_frame_rows(frame: pd.DataFrame, wanted: Wanted) -> Reading:
    """The items of a DataFrame.

    Raises:
        DataError: If the columns are unclear.
    """
    return _read_rows(read_frame(frame), wanted)


def read_table(path: Path) -> Table:
    """The cells of a table, whichever format it has.

    Raises:
        DataError: If the suffix is not one of a table, or the file cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return read_parquet(path)
        if suffix in (".json", ".jsonl", ".ndjson"):
            return read_json(path)
        if suffix in TABLE_SUFFIXES:
            return read_delimited(path)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}", hint="Check who may read it.") from error
    raise DataError(
        f"a table must end in {', '.join(sorted(TABLE_SUFFIXES))}, but got {path.name!r}",
        hint="Give a folder or a table; unpack archives first.",
    )


def _read_rows(table: Table, wanted: Wanted) -> Reading:
    if wanted.labelled and is_manifest(table):
        table, wanted = kept(table, wanted)
    columns, notes = find_columns(table, wanted)
    reading = read_rows(table, columns)
    return replace(reading, notes=reading.notes + notes)


def _read_sides(parts: Sequence[tuple[SideName | None, str, Table]], wanted: Wanted) -> Reading:
    """Tables that share their columns; the first of training decides which they are."""
    ordered = sorted(parts, key=lambda part: part[0] != "train")
    readings: list[Reading] = []
    notes: list[str] = []
    for side, name, table in ordered:
        if readings and (target := wanted.target) is not None and target not in table.columns:
            notes.append(f"{name} has no column {target!r} and was not used")
            continue
        if len(parts) > 1:
            table = replace(
                table,
                rows=tuple(f"{name} {row}" for row in table.rows),
                left_out=tuple(replace(item, name=f"{name} {item.name}") for item in table.left_out),
            )
        reading = _read_rows(table, wanted)
        readings.append(replace(reading, sides=(side,) * len(reading.values)) if side is not None else reading)
        if reading.columns is not None:
            wanted = replace(
                wanted, target=reading.columns.target, column=reading.columns.value, modality=reading.modality
            )
    whole = readings[0]
    for reading in readings[1:]:
        whole = joined(whole, reading)
    return replace(whole, notes=(*whole.notes, *notes))


def _tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in TABLE_SUFFIXES and not is_hidden(path.name) and path.is_file()
    )


def _file_side(path: Path) -> SideName | None:
    """The side that a file names: `train.csv`, or the `train-00000-of-00003.parquet` of a Hugging Face repository."""
    return side_of(_SHARD.sub("", path.stem))


def _count_folders(folder: Path) -> int:
    return sum(path.is_dir() and not is_hidden(path.name) for path in folder.iterdir())
