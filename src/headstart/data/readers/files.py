"""Which files count: suffixes, hidden names, names of sides, and walking a folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart._checks import nearest
from headstart.data.dataset import LeftOut
from headstart.data.readers.reading import SideName
from headstart.errors import DataError

NOT_FOUND = "file not found"
"""Why an item is left out, whose name may follow after a colon."""

IMAGE_SUFFIXES = frozenset(
    {*(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp"), *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif")}
)
TEXT_SUFFIXES = frozenset({".txt"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"})

_SIDE_NAMES: dict[str, SideName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Listing:
    """What a walk through a folder found.

    Attributes:
        files: Every regular file, in the order of their paths.
        left_out: What could not be looked at.
    """

    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


def side_of(name: str) -> SideName | None:
    """The side that a folder, a file's stem or a cell names, in any case; None when it names none."""
    return _SIDE_NAMES.get(name.strip().lower())


def is_hidden(name: str) -> bool:
    """Whether a name is hidden, or litter that an operating system leaves behind."""
    return name.startswith(".") or name.lower() in _LITTER


def readable(name: str) -> str:
    """A name that can be shown and written: NFC, with what is not UTF-8 replaced."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))


def shown(path: Path, base: Path) -> str:
    """How the user knows a file: its path relative to `base`, with forward slashes."""
    return readable(path.relative_to(base).as_posix())


def existing(path: Path) -> Path:
    """The path itself.

    Raises:
        DataError: If nothing is there; the hint has the nearest name beside it.
    """
    if path.exists():
        return path
    if path.is_symlink():
        raise DataError(f"{str(path)!r} is a link to something that is not there", hint="Mend the link.")
    siblings = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    close = nearest(path.name, siblings)
    hint = (
        f"Did you mean {str(path.parent / close)!r}?" if close else "Check the path; nothing there has a similar name."
    )
    raise DataError(f"there is no file or folder {str(path)!r}", hint=hint)


def walk(folder: Path) -> Listing:
    """All visible files below a folder; links are followed, and a link to a folder above itself is skipped."""
    files: list[Path] = []
    left_out: list[LeftOut] = []

    def note(error: OSError) -> None:
        left_out.append(LeftOut(shown(Path(error.filename), folder), "folder cannot be opened"))

    for current, subfolders, names in os.walk(folder, followlinks=True, onerror=note):
        here = Path(current)
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name) and not _is_loop(here / name, folder))
        for name in sorted(names):
            path = here / name
            if is_hidden(name):
                continue
            if path.is_file():
                files.append(path)
            else:
                left_out.append(LeftOut(shown(path, folder), NOT_FOUND))
    return Listing(tuple(sorted(files)), tuple(left_out))


def _is_loop(path: Path, top: Path) -> bool:
    if not path.is_symlink():
        return False
    above = {top.resolve()}
    above.update(parent.resolve() for parent in path.parents if parent.is_relative_to(top))
    return path.resolve() in above


def skipped_note(names: Sequence[str], kind: str) -> str:
    """One sentence on files that were passed over.

    Args:
        names: What they are called, at least one.
        kind: What they are not, for example `images`.
    """
    what = (
        f"1 file that is not one of the {kind} was"
        if len(names) == 1
        else f"{len(names)} files that are not {kind} were"
    )
    more = ", …" if len(names) > 3 else ""
    return f"{what} skipped: {', '.join(names[:3])}{more}"


def unreadable(error: OSError) -> str:
    """Why a file could not be read, in a few words."""
    if isinstance(error, FileNotFoundError):
        return NOT_FOUND
    return f"cannot be read: {(error.strerror or 'input/output error').lower()}"
