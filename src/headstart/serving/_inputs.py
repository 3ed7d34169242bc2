"""From what a program has at hand, paths, texts, arrays or a table, to items without labels."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.columns import find_columns
from headstart.data.dataset import Items, LeftOut, Modality
from headstart.data.read import modality_of, read_items
from headstart.data.readers.memory import is_frame, read_frame, read_sequence
from headstart.data.readers.reading import Reading, Wanted
from headstart.data.readers.rows import read_rows
from headstart.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    Given = str | Path | pd.DataFrame | np.ndarray | Iterable[str | Path | np.ndarray]


def as_items(given: Given, modality: Modality, *, column: str | None = None) -> tuple[Items, tuple[LeftOut, ...]]:
    """The items that are meant, and what cannot be used.

    Args:
        given: For images: files, folders, patterns, tables, uint8 arrays, or one array. For texts: the texts
            themselves, or `Path` objects of tables and text files. For both a DataFrame.
        modality: What the items are.
        column: The column of a table or DataFrame with the items; None finds it.

    Raises:
        DataError: If something does not exist, or is not a text, a path or an image.
    """
    if is_frame(given):
        table = read_frame(given)
        columns, _ = find_columns(table, Wanted(column=column, modality=modality, labelled=False))
        return _unlabelled(read_rows(table, columns))
    if isinstance(given, str | Path) or _is_one_image(given, modality):
        given = [given]  # type: ignore[list-item]
    each: list[Any] = list(given)
    known = str | Path if modality == "text" else str | Path | np.ndarray
    wrong = [value for value in each if not isinstance(value, known)]
    if wrong:
        raise DataError(
            f"items must be texts, paths or images, but one is of type {type(wrong[0]).__name__}",
            hint="Pass a list of str, a list of paths, or uint8 arrays: numpy.asarray(image.convert('RGB')).",
        )
    are_texts = modality == "text" and not any(isinstance(value, Path) for value in each)
    if are_texts or any(isinstance(value, np.ndarray) for value in each):
        return _unlabelled(read_sequence(each, [""] * len(each), Wanted(modality=modality)))
    return read_items(each, modality=modality, column=column)


def modality_of_given(given: Given, *, column: str | None = None) -> Modality:
    """What is meant, where no model says it: arrays are images; words are paths where such files exist, else texts.

    Args:
        given: As for `as_items`; an iterable that can be gone through twice.
        column: The column of a table or DataFrame with the items; None finds it.

    Raises:
        DataError: If the columns of a table are unclear.
    """
    if is_frame(given):
        return find_columns(read_frame(given), Wanted(column=column, labelled=False))[0].modality
    each: list[Any] = [given] if isinstance(given, str | Path | np.ndarray) else list(given)
    if any(isinstance(value, np.ndarray) for value in each):
        return "image"
    if all(isinstance(value, Path) or _is_place(value) for value in each):
        return modality_of(each, column=column)
    return "text"


def _is_place(word: object) -> bool:
    try:
        return isinstance(word, str) and (Path(word).exists() or (glob.has_magic(word) and bool(glob.glob(word))))  # noqa: PTH207 - may begin with a folder
    except (OSError, ValueError):  # too long, or with a zero byte: a text
        return False


def _is_one_image(given: object, modality: Modality) -> bool:
    """Whether an array is a picture rather than several of them: grey, or with three channels last."""
    if modality == "text" or not isinstance(given, np.ndarray):
        return False
    return given.ndim == 2 or (given.ndim == 3 and given.shape[2] == 3)


def _unlabelled(reading: Reading) -> tuple[Items, tuple[LeftOut, ...]]:
    return Items(reading.modality, reading.values, reading.names), reading.left_out
