"""Frozen dataclasses to JSON and back: the one way in which headstart writes a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

Record = TypeVar("Record")


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"cannot write a {type(value).__name__} as JSON")


def to_json(record: Any, *, indent: int = 2) -> str:
    """A record as JSON text; NaN and infinities become null.

    Args:
        record: A dataclass, or lists, dicts and scalars of them.
        indent: Spaces per level; 0 writes it on one line.
    """
    compact = msgspec.json.encode(record, enc_hook=_encode)
    return msgspec.json.format(compact, indent=indent if indent else -1).decode()


def to_builtins(record: Any) -> Any:
    """A record as lists, dicts and scalars."""
    return msgspec.json.decode(msgspec.json.encode(record, enc_hook=_encode))


def from_json(text: str | bytes, kind: type[Record]) -> Record:
    """A record from JSON text.

    Args:
        text: What `to_json` wrote.
        kind: The dataclass to build; its annotations are checked.

    Raises:
        ValueError: If the text is not JSON, or does not fit the dataclass; the message has the path of the field.
    """
    return msgspec.json.decode(text, type=kind, strict=False)
