"""Folders whose names are the classes, with `train`, `val` and `test` above them or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headstart._checks import listed
from headstart.data.dataset import LeftOut, Modality, Value
from headstart.data.readers.encoding import decode
from headstart.data.readers.files import (
    IMAGE_SUFFIXES,
    TEXT_SUFFIXES,
    Listing,
    readable,
    shown,
    side_of,
    skipped_note,
    unreadable,
    walk,
)
from headstart.data.readers.reading import Reading, SideName
from headstart.errors import DataError

NO_CLASS = "not in a class folder"
"""Why an item is left out."""
_NOUNS: dict[Modality, str] = {"image": "images", "text": ".txt files"}


@dataclass(frozen=True, slots=True)
class _Example:
    value: Value
    name: str
    label: str
    side: SideName | None


def read_class_folders(folder: Path, modality: Modality | Literal["auto"] = "auto") -> Reading:
    """The images or text files below a folder; the folder that they lie in is their label.

    Folders below a class folder belong to the class. A folder `train` is a side when `test` or `val` stands beside it,
    and a class like any other when not.

    Args:
        folder: The folder to read.
        modality: `auto` takes whichever there is more of, images or `.txt` files.

    Raises:
        DataError: If there is no such file.
    """
    listing = walk(folder)
    found = _modality(listing.files) if modality == "auto" else modality
    chosen = [path for path in listing.files if _has_suffix(path, found)]
    if not chosen:
        raise DataError(
            f"there are no {'images or .txt files' if modality == 'auto' else _NOUNS[found]} in {str(folder)!r}",
            hint="Give a folder with one sub-folder a class, or a table (.csv, .tsv, .jsonl, .parquet).",
        )
    top = _top(folder, chosen)
    sided = _is_sided({path.relative_to(top).parts[0] for path in chosen if path.parent != top})
    examples: list[_Example] = []
    left_out = list(listing.left_out)
    for path in chosen:
        example = _example(path, folder, path.relative_to(top).parts[:-1], sided=sided)
        if isinstance(example, LeftOut):
            left_out.append(example)
        else:
            examples.append(example)
    others = [shown(path, folder) for path in listing.files if not _has_suffix(path, found)]
    notes = [skipped_note(others, _NOUNS[found])] if others else []
    if top != folder:
        notes.append(f"the classes are in {shown(top, folder)}")
    n_above = 3 if sided else 2  # a side, a class and a name
    if deep := {
        path.relative_to(top).parts[n_above - 2] for path in chosen if len(path.relative_to(top).parts) > n_above
    }:
        notes.append(f"what lies in folders below a class folder counts as that class: {listed(sorted(deep))}")
    return Reading(
        modality=found,
        values=tuple(example.value for example in examples),
        names=tuple(example.name for example in examples),
        labels=tuple(example.label for example in examples),
        sides=tuple(example.side or "train" for example in examples) if sided else None,
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


def list_files(folder: Path, modality: Modality) -> Listing:
    """All images, or all `.txt` files, below a folder."""
    listing = walk(folder)
    return replace(listing, files=tuple(path for path in listing.files if _has_suffix(path, modality)))


def value_of(path: Path, modality: Modality) -> Value:
    """The item in a file: the path of an image; the text itself, without the white space around it.

    Raises:
        OSError: If a text file cannot be read.
    """
    return path if modality == "image" else decode(path.read_bytes())[0].strip()


def _has_suffix(path: Path, modality: Modality) -> bool:
    return path.suffix.lower() in (IMAGE_SUFFIXES if modality == "image" else TEXT_SUFFIXES)


def _modality(files: Sequence[Path]) -> Modality:
    n_images = sum(_has_suffix(path, "image") for path in files)
    n_texts = sum(_has_suffix(path, "text") for path in files)
    return "text" if n_texts > n_images else "image"


def _top(folder: Path, files: Sequence[Path]) -> Path:
    """The folder that holds the classes or sides: archives often unpack to one folder inside another."""
    parts = [path.relative_to(folder).parts for path in files]
    depth = 0
    while all(len(part) > depth + 2 for part in parts) and len({part[depth] for part in parts}) == 1:
        depth += 1
    return folder.joinpath(*parts[0][:depth])


def _is_sided(names: set[str]) -> bool:
    sides = {side_of(name) for name in names} - {None}
    return len(sides) > 1 and ("train" in sides or all(side_of(name) for name in names))


def _example(path: Path, folder: Path, above: Sequence[str], *, sided: bool) -> _Example | LeftOut:
    name = shown(path, folder)
    side = side_of(above[0]) if sided and above else None
    if sided and side is None:
        return LeftOut(name, "not in a folder train, val or test")
    labels = above[1:] if sided else above
    if not labels:
        return LeftOut(name, NO_CLASS)
    modality: Modality = "image" if _has_suffix(path, "image") else "text"
    try:
        value = value_of(path, modality)
    except OSError as error:
        return LeftOut(name, unreadable(error))
    if isinstance(value, str) and not value:
        return LeftOut(name, "empty text")
    return _Example(value, name, readable(labels[0]), side)
