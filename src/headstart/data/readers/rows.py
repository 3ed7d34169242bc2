"""A table and its columns to items with labels."""

from __future__ import annotations

from pathlib import Path

from headstart.data.dataset import LeftOut, Modality, Value
from headstart.data.readers.files import NOT_FOUND, side_of
from headstart.data.readers.reading import Cell, Columns, Reading, Table

_EMBEDDED_PX = 512


def read_rows(table: Table, columns: Columns) -> Reading:
    """The items of a table; rows without an item are left out, and so are images whose file is missing."""
    rows: list[int] = []
    values: list[Value] = []
    left_out = list(table.left_out)
    for row, cell in enumerate(table.columns[columns.value]):
        value = _value(cell, columns.modality, table.folder)
        if isinstance(value, LeftOut):
            left_out.append(LeftOut(table.rows[row], value.reason))
        else:
            rows.append(row)
            values.append(value)

    def texts(name: str) -> list[str]:
        cells = table.columns[name]
        return [_text(cells[row]) for row in rows]

    names = tuple(_name(table, row, value) for row, value in zip(rows, values, strict=True))
    return Reading(
        modality=columns.modality,
        values=tuple(values),
        names=names,
        labels=tuple(texts(columns.target)) if columns.target else ("",) * len(rows),
        sides=tuple(side_of(text) or "train" for text in texts(columns.side)) if columns.side else None,
        # An item whose group is not known belongs with nobody.
        groups=tuple(text or f"\0{name}" for text, name in zip(texts(columns.groups), names, strict=True))
        if columns.groups
        else None,
        left_out=tuple(left_out),
        notes=table.notes,
        columns=columns,
        label_name=columns.target or "",
    )


def _text(cell: Cell) -> str:
    return cell.strip() if isinstance(cell, str) else ""


def _name(table: Table, row: int, value: Value) -> str:
    """The path of an image as it is written in the table, else the row."""
    if not isinstance(value, Path):
        return table.rows[row]
    if table.folder is not None and value.is_relative_to(table.folder):
        return value.relative_to(table.folder).as_posix()
    return str(value)


def _value(cell: Cell, modality: Modality, folder: Path | None) -> Value | LeftOut:
    if modality == "text":
        text = _text(cell)
        return text or LeftOut("", "empty text")
    if isinstance(cell, bytes):
        return _decoded(cell)
    if not isinstance(cell, str):
        return cell
    if not cell.strip():
        return LeftOut("", "no image path")
    # Names of files may begin or end with spaces, and so may carelessly written cells.
    written = (Path(name) if folder is None else folder / name for name in (cell, cell.strip()))
    path = next((path for path in written if path.is_file()), None)
    return path or LeftOut("", f"{NOT_FOUND}: {cell.strip()}")


def _decoded(data: bytes) -> Value | LeftOut:
    """An image that is stored in the table itself."""
    import numpy as np

    from headstart.data.images import DamagedItem, open_image

    try:
        # Whole photographs would fill the memory; no backbone looks at more than this.
        return np.asarray(open_image(data, at_least_px=_EMBEDDED_PX))
    except DamagedItem as error:
        return LeftOut("", error.reason)
