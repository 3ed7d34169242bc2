"""Parquet files, and folders that Hugging Face `datasets` wrote with `save_to_disk`; pyarrow reads both.

Both keep the features of Hugging Face (class names, images) as JSON beside the columns: see
https://huggingface.co/docs/datasets/about_dataset_features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.data.readers.files import side_of
from headstart.data.readers.json_lines import cell_text
from headstart.data.readers.reading import Cell, SideName, Table
from headstart.errors import DataError


def read_parquet(path: Path) -> Table:
    """The cells of a Parquet file.

    Raises:
        DataError: If it is not one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name!r} cannot be read as Parquet", hint=str(error).splitlines()[0]) from error
    metadata = (table.schema.metadata or {}).get(b"huggingface", b"{}")
    return _to_table(table, json.loads(metadata).get("info", {}).get("features", {}), path.parent)


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def read_saved(folder: Path) -> list[tuple[SideName | None, str, Table]]:
    """The sides, names and tables of a saved `Dataset` (one, without a side) or `DatasetDict` (one for each split).

    Raises:
        DataError: If a file of it is missing or is not what `save_to_disk` writes.
    """
    splits = folder / "dataset_dict.json"
    if not splits.is_file():
        return [(None, "", _read_saved(folder))]
    names = _read_json(splits).get("splits", [])
    sides = [(side_of(name), name) for name in names if side_of(name) is not None]
    if not sides:
        sides = [(None, name) for name in names]
    return [(side, name, _read_saved(folder / name)) for side, name in sides]


def _read_saved(folder: Path) -> Table:
    import pyarrow as pa

    state = _read_json(folder / "state.json")
    features = _read_json(folder / "dataset_info.json").get("features") or {}
    parts = []
    for entry in state.get("_data_files", []):
        path = folder / entry["filename"]
        try:
            with pa.memory_map(str(path)) as source:
                parts.append(pa.ipc.open_stream(source).read_all())
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{str(path)!r} cannot be read as Arrow", hint="Save the dataset again.") from error
    if not parts:
        raise DataError(f"the saved dataset {str(folder)!r} has no data files", hint="Save the dataset again.")
    table = pa.concat_tables(parts)
    indices = [entry["filename"] for entry in state.get("_indices_data_files") or []]
    if indices:
        raise DataError(
            f"the saved dataset {str(folder)!r} keeps its rows in another order",
            hint="Call flatten_indices() before save_to_disk().",
        )
    return _to_table(table, features, folder)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} is missing or is not JSON", hint="Save the dataset again.") from error
    return value if isinstance(value, dict) else {}


def _to_table(table: Any, features: Mapping[str, Any], folder: Path) -> Table:
    """A pyarrow table as cells; it is Any because pyarrow has no types."""
    columns = {
        str(name): [_cell(value, features.get(name)) for value in table.column(name).to_pylist()]
        for name in table.column_names
    }
    return Table(columns=columns, rows=tuple(f"row {row}" for row in range(1, table.num_rows + 1)), folder=folder)


def _cell(value: Any, feature: Any) -> Cell:
    kind = feature.get("_type") if isinstance(feature, Mapping) else None
    if kind == "ClassLabel" and isinstance(value, int):
        names = feature.get("names") or ()
        # -1 is how datasets writes that a label is not known.
        return "" if value < 0 else names[value] if value < len(names) else str(value)
    if isinstance(value, Mapping) and set(value) == {"bytes", "path"}:
        return value["bytes"] if value["bytes"] is not None else value["path"] or ""
    return value if isinstance(value, bytes) else cell_text(value)
