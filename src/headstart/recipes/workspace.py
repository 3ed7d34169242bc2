"""Where a run is written: a folder that appears when the run is complete."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from headstart.errors import OutputError

_RUN = frozenset({"run.json", "report.html", "predictions_test.csv", "bundle", "log.jsonl", "tensorboard", ".DS_Store"})
CONTENTS = "contents"
"""The name, among what was asked for, of the items and their labels."""

_REPLACED, _COPY = ".replaced", ".copy"


@dataclass
class Clock:
    """The time of one command: what is left of the budget, and where it went.

    Attributes:
        started: When the command began, on the clock of `time.monotonic`.
        budget_s: What it may take, in seconds.
        spent: Seconds by step.
    """

    started: float
    budget_s: float
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        """Seconds until the budget is used up; may be negative."""
        return self.started + self.budget_s - time.monotonic()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the time of what is inside to a step."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + time.monotonic() - begin

    def timings(self) -> dict[str, float]:
        """Seconds by step and in total, to the millisecond."""
        total = time.monotonic() - self.started
        return {name: round(seconds, 3) for name, seconds in {**self.spent, "total": total}.items()}


class Log(Protocol):
    """Where it is written down what was done."""

    def log(self, event: str, **facts: Any) -> None:
        """Add one event."""


class NoLog:
    """For what leaves no run behind."""

    def log(self, event: str, **facts: Any) -> None:
        """Do nothing."""


class Workspace:
    """A run folder in the making; what is in it becomes visible under its own name at the end.

    Attributes:
        target: Where the run will be, as the user wrote it.
        folder: Where it is written until then.
    """

    def __init__(self, target: Path, folder: Path, *, overwrite: bool) -> None:
        self.target = target
        self.folder = folder
        self._overwrite = overwrite
        self._is_published = False
        self._log = folder / "log.jsonl"

    def log(self, event: str, **facts: Any) -> None:
        """Add one line to `log.jsonl`.

        Raises:
            OutputError: If it cannot be written.
        """
        line = {"time": datetime.now().astimezone().isoformat(timespec="milliseconds"), "event": event, **facts}
        with _told(self.target), self._log.open("a", encoding="utf-8") as file:
            # Escapes, because a class may be named by a folder whose name is not Unicode.
            file.write(json.dumps(line) + "\n")

    def check_goes_on(self, asked: Mapping[str, str]) -> None:
        """Refuse to take an unfinished run of something else for one that this run goes on with.

        Args:
            asked: What decides what is found, by name.

        Raises:
            OutputError: If the unfinished run that is there was asked for something else, and must not be replaced.
        """
        if self._overwrite or not _is_unfinished(self.target):
            return
        record = _record(self.target)
        before = record.get("asked") or {}  # older versions wrote none
        differing = [
            f"the data (it was {record['data']['source']})"
            if each == CONTENTS
            else f"--{each} (it was {before[each] or 'left out'})"
            for each in asked
            if before.get(each, asked[each]) != asked[each]
        ]
        if differing:
            raise OutputError(
                f"{str(self.target)!r} is an unfinished run, and goes on with the same data and options only, "
                f"but now {' and '.join(differing)} {'differ' if len(differing) > 1 else 'differs'}",
                hint="Repeat its command to go on, add --overwrite to replace it, or choose another --out.",
            )

    def publish(self) -> None:
        """Put a copy of what is there into its place, and go on; whatever happens next, that much is kept.

        Where a run of before is in that place, it stays there until the end: it may be the better one.

        Raises:
            OutputError: As for `finish`.
        """
        if _is_run(self.target) and not self._is_published:
            return
        copy = self.folder.with_name(f"{self.folder.name}{_COPY}")
        try:
            with _told(self.target):
                shutil.copytree(self.folder, copy)
            self._put(copy)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        self._is_published = True

    def finish(self) -> None:
        """Put the run in its place, and away the one that was there; in between neither is lost.

        Raises:
            OutputError: If it cannot be put there, or something has appeared there that must not be replaced.
        """
        self._put(self.folder)

    def _put(self, folder: Path) -> None:
        _check_target(self.target, overwrite=self._overwrite or self._is_published)
        place = self.target.resolve()
        away = self.folder.with_name(f"{self.folder.name}{_REPLACED}")
        with _told(self.target):
            try:
                if place.exists():
                    place.replace(away)
                folder.replace(place)
            except BaseException:
                if away.exists() and not place.exists():
                    away.replace(place)
                raise
        shutil.rmtree(away, ignore_errors=True)


@contextlib.contextmanager
def open_workspace(out: str | None, name: str, *, overwrite: bool) -> Iterator[Workspace]:
    """A folder to write a run to; unless the run is finished, nothing is left of it.

    Args:
        out: What the user asked for; None takes the first free name below `runs/`.
        name: What the data is called.
        overwrite: Whether a run that is there may be replaced.

    Raises:
        OutputError: If something is there that must not be replaced, or the folder cannot be made.
    """
    target = Path(out).expanduser() if out else _free_name(name)
    place = target.resolve()
    with _told(target):
        _sweep(place)
    _check_target(target, overwrite=overwrite)
    # The time, so that of two runs on one target it is plain which came first.
    folder = place.parent / f".{place.name}.partial-{os.getpid()}-{time.time_ns():016x}{secrets.token_hex(2)}"
    made = [parent for parent in (place.parent, *place.parent.parents) if not parent.exists()]
    try:
        with _told(target):
            folder.mkdir(parents=True)
        _check_alone(target, folder)
        yield Workspace(target, folder, overwrite=overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):  # it is not empty: the run is there
                parent.rmdir()


def page_to_write(out: str | None, name: str, *, overwrite: bool) -> Path:
    """The file that a page goes to.

    Args:
        out: What the user asked for; None takes the first free name below `runs/`.
        name: The name there, with its ending.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        OutputError: If something is there that must not be replaced.
    """
    if out is None:
        stem, ending = Path(name).stem, Path(name).suffix
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        return next(path for path in (Path("runs", f"{each}{ending}") for each in names) if not path.exists())
    target = Path(out).expanduser()
    if target.is_dir():
        raise OutputError(
            f"--out must be a file for the page, but {out!r} is a folder", hint=f"Write {str(target / name)!r}."
        )
    if target.exists() and not overwrite:
        raise OutputError(
            f"{out!r} exists, and a page must not replace it unasked", hint="Add --overwrite, or choose another --out."
        )
    return target


@contextlib.contextmanager
def _told(target: Path) -> Iterator[None]:
    """An error of the disk as one about the run folder."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the run cannot be written to {str(target)!r}: {error.strerror or error}",
            hint="Make room or choose another --out, where you may write; the features that were computed are kept.",
        ) from error


def _free_name(name: str) -> Path:
    clean = re.sub(r"[^\w.\-]+", "-", name).strip("-.") or "run"
    names = itertools.chain([clean], (f"{clean}-{number}" for number in itertools.count(2)))
    return next(path for path in map(Path("runs").joinpath, names) if not path.exists() and not _is_in_the_making(path))


def _check_alone(target: Path, own: Path) -> None:
    """Of two runs on one target the one that came first goes on."""
    for path, process in _partials(target.resolve()):
        began, ours = (each.name.rsplit("-", 1)[1] for each in (path, own))
        if began < ours and _is_running(process):
            raise OutputError(
                f"process {process} is writing a run to {str(target)!r}, and two cannot share a folder",
                hint="Wait for it, or choose another --out.",
            )


def _is_in_the_making(target: Path) -> bool:
    """Whether a process writes a run of this name; a partial folder may also be what a killed one left behind."""
    return any(_is_running(process) for _, process in _partials(target))


def _partials(target: Path) -> list[tuple[Path, int]]:
    """What lies beside a target on its way there or away, and the process that put it there."""
    endings = "|".join(map(re.escape, (_REPLACED, _COPY)))
    pattern = re.compile(re.escape(f".{target.name}.partial-") + rf"(\d+)-\w+({endings})?")
    found = [(path, pattern.fullmatch(path.name)) for path in sorted(target.parent.glob(".*.partial-*"))]
    return [(path, int(match[1])) for path, match in found if match]


def _sweep(place: Path) -> None:
    """Remove what killed processes left behind; a run that one of them had put away for a moment comes back."""
    left = [path for path, process in _partials(place) if not _is_running(process)]
    for path in left:
        if path.name.endswith(_REPLACED) and not place.exists():
            path.replace(place)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # signal 0 would end a process elsewhere
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _check_target(target: Path, *, overwrite: bool) -> None:
    with _told(target):
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return
        foreign = sorted(path.name for path in target.iterdir() if path.name not in _RUN) if target.is_dir() else []
    if not overwrite and not _is_unfinished(target):
        raise OutputError(
            f"{str(target)!r} exists, and a run must not replace it unasked",
            hint="Add --overwrite, or choose another --out. Features that were computed before are used again anyway.",
        )
    if not _is_run(target) or foreign:
        what = f"holds {foreign[0]!r}, which is not part of a run" if foreign else "is not a run of headstart"
        raise OutputError(
            f"{str(target)!r} {what}, and only runs are overwritten",
            hint="Choose another --out, or move it away yourself.",
        )


def _is_run(target: Path) -> bool:
    return str(_record(target).get("schema")).startswith("headstart.run/")


def _is_unfinished(target: Path) -> bool:
    """Whether it is a run that was killed or interrupted: the same command goes on in its place."""
    return _is_run(target) and bool(_record(target).get("unfinished"))


def _record(target: Path) -> dict[str, Any]:
    try:
        record = json.loads((target / "run.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
