"""JSON: one object a line, or an array of objects."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.data.dataset import LeftOut
from headstart.data.readers.encoding import decode
from headstart.data.readers.reading import Table
from headstart.errors import DataError


def read_json(path: Path) -> Table:
    """The fields of a JSON or JSONL file as columns; a field that an object lacks is a missing cell.

    Raises:
        DataError: If there is no object in it.
    """
    text, _ = decode(path.read_bytes())
    records, left_out = _array(text) if text.lstrip().startswith("[") else _lines(text)
    if not records:
        why = f": {left_out[0].name} is {left_out[0].reason}" if left_out else ""
        raise DataError(
            f"{path.name!r} must hold JSON objects, one a line or in one array, but has none{why}",
            hint='Write for example {"text": "…", "label": "…"} on each line.',
        )
    names = dict.fromkeys(str(name) for _, record in records for name in record)
    return Table(
        columns={name: [cell_text(record.get(name)) for _, record in records] for name in names},
        rows=tuple(f"row {number}" for number, _ in records),
        folder=path.parent,
        left_out=left_out,
    )


def cell_text(value: Any) -> str:
    """A JSON value as the text of a cell: missing ones are empty, nested ones stay JSON."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _array(text: str) -> tuple[list[tuple[int, Mapping[str, Any]]], tuple[LeftOut, ...]]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        return [], (LeftOut(f"line {error.lineno}", "not valid JSON"),)
    return _objects(list(enumerate(values, start=1)), ())


def _lines(text: str) -> tuple[list[tuple[int, Mapping[str, Any]]], tuple[LeftOut, ...]]:
    values: list[tuple[int, Any]] = []
    broken = []
    # Only line feeds end a line of JSONL: texts may hold other separators that str.splitlines would cut at.
    for number, line in enumerate((line for line in text.split("\n") if line.strip()), start=1):
        try:
            values.append((number, json.loads(line)))
        except json.JSONDecodeError:
            broken.append(LeftOut(f"row {number}", "not valid JSON"))
    return _objects(values, tuple(broken))


def _objects(
    values: Sequence[tuple[int, Any]], left_out: tuple[LeftOut, ...]
) -> tuple[list[tuple[int, Mapping[str, Any]]], tuple[LeftOut, ...]]:
    objects: list[tuple[int, Mapping[str, Any]]] = [
        (number, value) for number, value in values if isinstance(value, dict)
    ]
    others = tuple(
        LeftOut(f"row {number}", "not a JSON object") for number, value in values if not isinstance(value, dict)
    )
    return objects, left_out + others
