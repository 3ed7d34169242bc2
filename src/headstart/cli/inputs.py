"""What `predict` and `suggest` have in common: items without labels as arguments, and a table to write."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import OptionError

if TYPE_CHECKING:
    from headstart.data import Items, LeftOut, Modality

STDIN = "-"
HELP = "Files, folders, patterns and tables; - reads a text or the path of an image from each line of stdin."


def read_inputs(inputs: Sequence[str], *, modality: Modality, column: str | None) -> tuple[Items, tuple[LeftOut, ...]]:
    """The items that arguments name, and what cannot be used.

    Args:
        inputs: Files, folders, patterns and tables, or `-` alone.
        modality: What the items are.
        column: The column of tables with the items; None finds it.

    Raises:
        OptionError: If stdin is not the only input.
        DataError: If an input does not exist, a column is unclear, or no item can be used.
    """
    from headstart.data import read_items, read_lines

    if STDIN not in inputs:
        return read_items(inputs, modality=modality, column=column)
    if len(inputs) > 1:
        raise OptionError(
            f"stdin must be the only input, but got {' '.join(inputs)!r}", hint="Give the other inputs on their own."
        )
    # The bytes of a path must survive as they are; a text must be Unicode.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape" if modality == "image" else "replace")
    return read_lines(sys.stdin, modality=modality)


def check_out(out: Path, what: str, *, is_one: Callable[[Path], bool], overwrite: bool) -> None:
    """Refuse a folder, and to replace what is no such table unasked.

    Args:
        out: The file to write.
        what: What is written, for example `table of predictions`.
        is_one: Whether a file is such a table.
        overwrite: Whether the user allows to replace anything.

    Raises:
        OptionError: If it is refused.
    """
    if out.is_dir():
        raise OptionError(f"--out must be a file, but {str(out)!r} is a folder", hint=f"Write {str(out / 'p.csv')!r}.")
    if out.exists() and not overwrite and not is_one(out):
        raise OptionError(
            f"{str(out)!r} exists and is no {what}, so it is not replaced unasked",
            hint="Add --overwrite, or name another file.",
        )


def check_apart(out: Path, what: str, given: Sequence[str]) -> None:
    """Refuse to replace what was given: an input, or an item of one.

    Args:
        out: The file to write.
        what: What is written, in the plural.
        given: Inputs, and the names of items.

    Raises:
        OptionError: If it is refused.
    """
    if out.exists() and any(_is_same(out, Path(each)) for each in given):
        raise OptionError(
            f"the {what} must not replace what they are for, but {str(out)!r} is among that",
            hint="Name another file.",
        )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # a text that was typed is no path
        return False
