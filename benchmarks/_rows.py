"""Measurements in a CSV: one line each, written as soon as it is there."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

_Row = TypeVar("_Row")


def read_rows(kind: type[_Row], file: Path) -> list[_Row]:
    """What was measured before; nothing where there is no file.

    Args:
        kind: A dataclass of whole numbers, numbers and texts.
        file: With the names of its fields in the first line.
    """
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        found = list(csv.DictReader(lines))
    columns: Any = fields(kind)  # type: ignore[arg-type]
    kinds = {"int": int, "float": float, "str": str}
    return [kind(**{each.name: kinds[str(each.type)](line[each.name]) for each in columns}) for line in found]


def append(row: Any, file: Path) -> None:
    """Add one line, and the names of the columns before the first.

    Args:
        row: An instance of a dataclass.
        file: Made where it is not there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    is_new = not file.exists()
    with file.open("a", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        if is_new:
            writer.writerow([field.name for field in fields(row)])
        writer.writerow([getattr(row, field.name) for field in fields(row)])
