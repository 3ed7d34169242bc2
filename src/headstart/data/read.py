"""From what the user has, files, tables or arrays, to items and datasets."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headstart.data.assemble import assemble, nothing_left, only_labelled
from headstart.data.columns import find_columns
from headstart.data.dataset import Dataset, Items, LeftOut, Modality, Value
from headstart.data.readers.class_folders import list_files, value_of
from headstart.data.readers.files import NOT_FOUND, TABLE_SUFFIXES, TEXT_SUFFIXES, existing, readable, unreadable
from headstart.data.readers.memory import is_frame, read_sequence
from headstart.data.readers.reading import Reading, SideName, Wanted, joined
from headstart.data.readers.rows import read_rows
from headstart.data.readers.sources import read_frame_rows, read_path, read_table
from headstart.errors import DataError, OptionError

if TYPE_CHECKING:
    import pandas as pd

    Source = str | Path | pd.DataFrame | Sequence[Any] | np.ndarray

_Found = tuple[str, Value | LeftOut]


def read_dataset(
    data: Source,
    *,
    target: str | None = None,
    column: str | None = None,
    groups: str | None = None,
    test: str | Path | pd.DataFrame | None = None,
    modality: Modality | Literal["auto"] = "auto",
    targets: Sequence[Any] | np.ndarray | None = None,
) -> Dataset:
    """Read items with their labels.

    What cannot be used (no label, no text, no file, a row of the wrong length) is listed in `left_out`; what was found
    out without being told is said in `notes`. No file is decoded or hashed yet, except images inside a table.

    Args:
        data: A folder with one sub-folder a class, or with `train`, `val` and `test` above them; a table (CSV, TSV,
            JSON, JSONL, Parquet) or a folder with `train.csv` and `test.csv`; a folder that Hugging Face `datasets`
            saved; a DataFrame; a sequence of texts, paths or images; or a uint8 array (items, height, width, 3).
        target: The column with the labels; None finds it.
        column: The column with the texts or with the paths of the images; None finds it.
        groups: The column that says which items belong together and must never be on both sides of a split.
        test: The user's own test items. All of `data` is training then.
        modality: What the items are; `auto` finds out.
        targets: The labels, when `data` is a sequence or an array.

    Raises:
        DataError: If the data is missing or empty, has no usable item or not two classes, or its columns are unclear.
        OptionError: If `modality` is not one of its words.
    """
    if modality not in ("auto", "image", "text"):
        raise OptionError(
            f"modality must be 'auto', 'image' or 'text', but got {modality!r}", hint="Leave it out to find out."
        )
    wanted = Wanted(target=target, column=column, groups=groups, modality=modality)
    reading = _read(data, targets, wanted)
    if test is not None:
        if reading.columns is not None:
            wanted = replace(wanted, target=reading.columns.target, column=reading.columns.value)
        second = _read(test, None, replace(wanted, modality=reading.modality))
        reading = joined(_on_side(reading, "train"), _on_side(second, "test"))
    return assemble(reading, _source(data))


def read_items(
    inputs: str | Path | Iterable[str | Path], *, modality: Modality, column: str | None = None
) -> tuple[Items, tuple[LeftOut, ...]]:
    """Read items without labels, for prediction.

    Args:
        inputs: Files, folders (read to the bottom), patterns such as `photos/*.jpg`, and tables. A text file that is
            not a table is one text.
        modality: What the items are.
        column: The column of tables with the texts or with the paths of the images; None finds it.

    Returns:
        The items in the order of the inputs, and what could not be used.

    Raises:
        DataError: If an input does not exist, a column is unclear, or no item can be used.
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    found = [one for path in given for one in _found(path, modality, column)]
    return _gather(found, modality, ", ".join(map(str, given[:3])))


def modality_of(inputs: str | Path | Iterable[str | Path], *, column: str | None = None) -> Modality:
    """What unlabelled inputs hold, by the names of files and the cells of tables.

    Args:
        inputs: As for `read_items`.
        column: The column of tables with the items; None finds it.

    Returns:
        What the first input holds that tells; images, where none does.

    Raises:
        DataError: If an input does not exist, or the columns of a table are unclear.
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    return next((told for path in given for told in _told(path, column)), "image")


def read_lines(stream: Iterable[str], *, modality: Modality) -> tuple[Items, tuple[LeftOut, ...]]:
    """Read one text or one path of an image from each line; blank lines are passed over.

    Args:
        stream: Lines, for example `sys.stdin`.
        modality: What the items are.

    Raises:
        DataError: If no item can be used.
    """
    found: list[_Found] = []
    for number, line in enumerate(stream, start=1):
        text = line.strip()
        if modality == "text" and text:
            found.append((f"line {number}", text))
        elif text:
            path = Path(text)
            found.append((text, path if path.is_file() else LeftOut(text, NOT_FOUND)))
    return _gather(found, modality, "the lines")


def _read(data: Source, targets: Sequence[Any] | np.ndarray | None, wanted: Wanted) -> Reading:
    if isinstance(data, (str, Path)):
        reading = read_path(existing(Path(data)), wanted)
    elif is_frame(data):
        reading = read_frame_rows(data, wanted)
    elif isinstance(data, (Sequence, np.ndarray)):
        reading = read_sequence(data, targets, wanted)
    else:
        raise DataError(
            f"data must be a path, a DataFrame, a sequence or an array, but got {type(data).__name__}",
            hint="Pass a folder or a table, or a list of texts or images with targets=[…].",
        )
    asked = next((name for name in (wanted.target, wanted.column, wanted.groups) if name is not None), None)
    if reading.columns is None and asked is not None:
        raise DataError(
            f"{_source(data)!r} is not a table, so there is no column {asked!r}",
            hint="Leave the column out, or give a table that has it.",
        )
    return only_labelled(reading, _source(data))


def _on_side(reading: Reading, side: SideName) -> Reading:
    return replace(reading, sides=(side,) * len(reading.values))


def _source(data: Source) -> str:
    if isinstance(data, (str, Path)):
        return str(data)
    return f"{type(data).__name__} of {len(data)} items"


def _found(given: str | Path, modality: Modality, column: str | None) -> Iterator[_Found]:
    """What one input holds, each with its name."""
    path = Path(given)
    pattern = str(given)
    is_pattern = not path.exists() and glob.has_magic(pattern)
    # Path.glob wants a folder to start from, and a pattern may begin with one.
    matches = sorted(glob.glob(pattern, recursive=True)) if is_pattern else []  # noqa: PTH207
    if matches:
        for match in matches:
            yield from _found(match, modality, column)
    elif existing(path).is_dir():
        listing = list_files(path, modality)
        if not listing.files and not listing.left_out:
            yield str(path), LeftOut(str(path), _why_none(path, modality))
        for file in listing.files:
            yield from _file(file, modality)
        yield from ((str(path / item.name), replace(item, name=str(path / item.name))) for item in listing.left_out)
    elif path.suffix.lower() in TABLE_SUFFIXES:
        yield from _rows(path, modality, column)
    else:
        yield from _file(path, modality)


def _told(given: str | Path, column: str | None) -> Iterator[Modality]:
    """The modality of one input, or of each that a pattern matches; nothing where it cannot be told."""
    path, pattern = Path(given), str(given)
    if not path.exists() and glob.has_magic(pattern):
        for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - as in `_found`
            yield from _told(match, column)
    elif existing(path).is_dir():
        n_images, n_texts = (len(list_files(path, each).files) for each in ("image", "text"))
        if n_images or n_texts:
            yield "image" if n_images >= n_texts else "text"
    elif path.suffix.lower() in TABLE_SUFFIXES:
        yield find_columns(read_table(path), Wanted(column=column, labelled=False))[0].modality
    else:
        yield "text" if path.suffix.lower() in TEXT_SUFFIXES else "image"


def _why_none(folder: Path, modality: Modality) -> str:
    other: Modality = "text" if modality == "image" else "image"
    what = {"image": "images", "text": ".txt files"}
    if list_files(folder, other).files:
        return f"the model is for {modality}s, but the folder holds {what[other]}"
    return f"there are no {what[modality]} in the folder"


def _file(path: Path, modality: Modality) -> Iterator[_Found]:
    name = readable(str(path))
    try:
        value = value_of(path, modality)
    except OSError as error:
        yield name, LeftOut(name, unreadable(error))
    else:
        yield name, value or LeftOut(name, "empty text")


def _rows(path: Path, modality: Modality, column: str | None) -> Iterator[_Found]:
    table = read_table(path)
    columns, _ = find_columns(table, Wanted(column=column, modality=modality, labelled=False))
    reading = read_rows(table, columns)
    for name, value in zip(reading.names, reading.values, strict=True):
        yield (name if isinstance(value, Path) else f"{path} {name}"), value
    for item in reading.left_out:
        yield item.name, replace(item, name=f"{path} {item.name}")


def _gather(found: Sequence[_Found], modality: Modality, source: str) -> tuple[Items, tuple[LeftOut, ...]]:
    kept = [(name, value) for name, value in found if not isinstance(value, LeftOut)]
    left_out = tuple(value for _, value in found if isinstance(value, LeftOut))
    if not kept:
        raise nothing_left(source, left_out)
    names, values = zip(*kept, strict=True)
    return Items(modality, values, names), left_out
