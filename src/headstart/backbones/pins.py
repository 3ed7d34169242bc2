"""What a name of the hub stood for when it was first used here, so that later it stands for the same."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from headstart._records import from_json, to_json
from headstart.errors import BackboneError


@dataclass(frozen=True, slots=True)
class Pin:
    """The record of one name.

    Attributes:
        name: As the user wrote it.
        repository: On the hub.
        revision: The commit.
        sha256: Of each file that was taken from it.
    """

    name: str
    repository: str
    revision: str
    sha256: dict[str, str]


def file_name(name: str) -> str:
    """A backbone's name as a file may be called.

    Args:
        name: As the user wrote it.
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "--", name)


def read_pin(name: str, home: Path) -> Pin | None:
    """The record of a name, or None when it was never used with this home.

    Raises:
        BackboneError: If the record is damaged, or is that of another name.
    """
    path = _path(name, home)
    try:
        pin = from_json(path.read_bytes(), Pin)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"the record of what {name!r} stood for, {str(path)!r}, cannot be read", hint="Remove it and try again."
        ) from error
    if pin.name != name:  # two names may make the same file name
        raise BackboneError(
            f"the record {str(path)!r} says what {pin.name!r} stood for, and not {name!r}",
            hint="Remove it and try again.",
        )
    return pin


def write_pin(pin: Pin, home: Path) -> None:
    """Keep a record in one step; an older one of the name is replaced."""
    path = _path(pin.name, home)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".new-{os.getpid()}-{path.name}")
    new.write_text(to_json(pin), encoding="utf-8")
    new.replace(path)


def check_pin(pin: Pin, sha256: dict[str, str]) -> None:
    """Compare files with the record.

    Args:
        pin: What was recorded.
        sha256: Of each file that is there now.

    Raises:
        BackboneError: If a recorded file is missing or is another one, or a file has been added: one with a prompt, the
            pooling or the preprocessing makes other features of the same weights.
    """
    hint = f"If you trust the change: headstart backbones pull {pin.name} --accept"
    for file, expected in pin.sha256.items():
        found = sha256.get(file, "")
        if found != expected:
            now = f"it is {found[:16]}…" if found else "it is missing"
            raise BackboneError(
                f"the file {file!r} of {pin.name!r} has changed since it was recorded: its sha256 was "
                f"{expected[:16]}…, and now {now}",
                hint=hint,
            )
    if added := sorted(sha256.keys() - pin.sha256.keys()):
        raise BackboneError(
            f"{pin.name!r} has {' and '.join(map(repr, added))} now, which was not there when it was recorded",
            hint=hint,
        )


def _path(name: str, home: Path) -> Path:
    return home / "pins" / f"{file_name(name)}.json"
