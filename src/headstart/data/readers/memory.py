"""What Python already holds: DataFrames, sequences of texts or paths, and arrays of images."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from headstart.data.columns import looks_like_image
from headstart.data.dataset import LeftOut, Value
from headstart.data.readers.files import NOT_FOUND
from headstart.data.readers.json_lines import cell_text
from headstart.data.readers.reading import Cell, Reading, Table, Wanted
from headstart.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def is_frame(data: object) -> TypeGuard[pd.DataFrame]:
    """Whether the data is a pandas DataFrame; pandas is not imported to find out."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def read_frame(frame: pd.DataFrame) -> Table:
    """The cells of a DataFrame; rows are called `row 1` and so on, in their order.

    Raises:
        DataError: If two columns have one name.
    """
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"column names must differ, but the DataFrame has more than one {', '.join(map(repr, twice))}",
            hint="Rename or remove the repeated columns.",
        )
    columns = {name: [_cell(value) for value in frame.iloc[:, place]] for place, name in enumerate(names)}
    return Table(columns=columns, rows=tuple(f"row {row}" for row in range(1, len(frame) + 1)))


def read_sequence(
    values: Sequence[Any] | np.ndarray, targets: Sequence[Any] | np.ndarray | None, wanted: Wanted
) -> Reading:
    """Texts, paths or images with their labels beside them; items are called `item 1` and so on, or by their path.

    Raises:
        DataError: If there are no labels or not one for each item, or an item is not a text, a path or an image.
    """
    if targets is None:
        raise DataError(
            "a sequence or an array of items needs its labels, but `targets` was not given",
            hint="Pass targets=[…] with one label for each item.",
        )
    if len(targets) != len(values):
        raise DataError(
            f"there must be one label for each item, but there are {len(values)} items and {len(targets)} targets",
            hint="Pass items and targets of the same length.",
        )
    images = wanted.modality == "image" or (wanted.modality == "auto" and _are_images(values))
    items = list(_images(values) if images else _texts(values))
    names = tuple(str(item) if isinstance(item, Path) else f"item {place}" for place, item in enumerate(items, start=1))
    kept = [place for place, item in enumerate(items) if not _problem(item)]
    return Reading(
        modality="image" if images else "text",
        values=tuple(items),
        names=names,
        labels=tuple(label if isinstance(label, str) else _label(label) for label in targets),
        left_out=tuple(LeftOut(names[place], _problem(item)) for place, item in enumerate(items) if _problem(item)),
        label_name="targets",
    ).take(kept)


def _problem(item: Value) -> str:
    if isinstance(item, Path):
        return "" if item.is_file() else NOT_FOUND
    return "empty text" if isinstance(item, str) and not item.strip() else ""


def _label(value: Any) -> str:
    cell = _cell(value)
    return cell if isinstance(cell, str) else ""


def _cell(value: Any) -> Cell:
    if isinstance(value, (str, bytes)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, np.ndarray):
        return _pixels(value) if value.ndim > 1 else cell_text(value.tolist())
    if isinstance(value, Mapping) and set(value) == {"bytes", "path"}:
        return value["bytes"] if value["bytes"] is not None else str(value["path"] or "")
    if isinstance(value, np.generic):
        value = value.item()
    # Only missing values differ from themselves; pandas' NA refuses to say.
    if type(value).__name__ in ("NAType", "NaTType"):
        return ""
    return cell_text(value)


def _are_images(values: Sequence[Any] | np.ndarray) -> bool:
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OUST":
        return True
    sample = list(values[:200])
    return bool(sample) and all(isinstance(value, (Path, np.ndarray)) or _is_image_file(value) for value in sample)


def _is_image_file(value: object) -> bool:
    return isinstance(value, str) and looks_like_image(value) and Path(value).is_file()


def _images(values: Sequence[Any] | np.ndarray) -> list[Value]:
    return [_pixels(value) if isinstance(value, np.ndarray) else Path(value) for value in values]


def _texts(values: Sequence[Any] | np.ndarray) -> list[Value]:
    wrong = next((value for value in values if not isinstance(value, str)), None)
    if wrong is not None:
        raise DataError(
            f"items must be texts, paths or images, but one is of type {type(wrong).__name__}",
            hint="Pass a list of str, a list of paths, or a uint8 array (items, height, width, 3).",
        )
    return [str(value) for value in values]


def _pixels(image: np.ndarray) -> np.ndarray:
    """An image with three channels."""
    if image.dtype != np.uint8:
        raise DataError(
            f"images in memory must be uint8 arrays with values from 0 to 255, but got {image.dtype}",
            hint="Convert them, for example (255 * images).astype('uint8') when they are between 0 and 1.",
        )
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    raise DataError(
        f"an image must have the shape (height, width, 3) or (height, width), but got {image.shape}",
        hint="Put the channels last: numpy.moveaxis(images, 1, -1).",
    )
