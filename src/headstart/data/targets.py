"""Labels as words to classes with an order."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from headstart.errors import DataError

_FEW_VALUES = 20
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(labels: Sequence[str]) -> tuple[Int[np.ndarray, " items"], tuple[str, ...]]:
    """The class of each label, and the classes in natural order.

    Labels are compared without the white space around them and in Unicode's composed form; where all are numbers, `1.0`
    is the class `1`. Bytes that were not Unicode (lone surrogates) become U+FFFD.
    In natural order numbers inside names count as numbers (`c2` before `c10`), and case matters last.

    Raises:
        DataError: If there are not two different labels.
    """
    names = _names(labels)
    classes = tuple(sorted(set(names), key=natural_key))
    if len(classes) < 2:
        raise DataError(
            f"a classifier needs at least two classes, but every item has the label {classes[0]!r}"
            if classes
            else "a classifier needs at least two classes, but there is no item",
            hint="Check which column or which folders the labels come from.",
        )
    index = {name: place for place, name in enumerate(classes)}
    return np.array([index[name] for name in names], dtype=np.int64), classes


def _names(labels: Sequence[str]) -> list[str]:
    """The class that each label means: trimmed and composed; a column of numbers loses the `.0` of whole ones."""
    meant = {label: unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", label.strip())) for label in set(labels)}
    if all(_number(name) is not None for name in meant.values()):
        meant = {label: re.sub(r"^([+-]?\d+)\.0*$", r"\1", name) for label, name in meant.items()}
    return [meant[label] for label in labels]


def natural_key(name: str) -> tuple[object, ...]:
    """What to sort names by: whole numbers by value and before all else, then text with its digits as numbers."""
    number = _number(name)
    if number is not None:
        return (0, number, name)
    # re.split with a group alternates text and digits, so equal places always hold comparable parts.
    parts = tuple(int(part) if place % 2 else part.casefold() for place, part in enumerate(re.split(r"([0-9]+)", name)))
    return (1, parts, name)


def check_classes(labels: Sequence[str], column: str) -> None:
    """Refuse labels of a table that are not classes: numbers to predict, or a different one for every row.

    Whole numbers are classes when there are at most max(20, √items) of them, or when they count 0, 1, 2, … or
    1, 2, 3, … without a gap and each is there twice on average.

    Args:
        labels: What the column holds, without missing ones.
        column: How to call it in the message.

    Raises:
        DataError: If the labels are not classes.
    """
    names = _names(labels)
    distinct = set(names)
    numbers = [_number(name) for name in distinct]
    finite = [number for number in numbers if number is not None]
    if len(finite) == len(distinct) and not _are_class_numbers(finite, len(names)):
        shown = ", ".join(f"{number:g}" for number in sorted(finite)[:3])
        raise DataError(
            f"{column!r} looks like a number to predict ({len(distinct)} different values: {shown}, …), "
            "and only classes are supported for now",
            hint="Name another target, or cut the numbers into a few ranges and use the names of the ranges.",
        )
    if len(distinct) == len(names) and len(names) > 2:
        raise DataError(
            f"{column!r} has a different label for each of the {len(names)} items, so no class can be learned",
            hint="Name another target: this column looks like a name or an identifier.",
        )


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _are_class_numbers(distinct: Sequence[float], n_items: int) -> bool:
    if not all(number.is_integer() for number in distinct):
        return False
    if len(distinct) <= max(_FEW_VALUES, math.isqrt(n_items)):
        return True
    low, high = min(distinct), max(distinct)
    return low in (0, 1) and high - low + 1 == len(distinct) and n_items >= 2 * len(distinct)
