"""Where a run is written: a folder that appears when the run is complete."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from headstart.errors import OutputError

_RUN_FILES = ("run.json", "bundle", "log.jsonl")


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


class Workspace:
    """A run folder in the making; what is in it becomes visible under its own name at the end.

    Attributes:
        target: Where the run will be.
        folder: Where it is written.
    """

    def __init__(self, target: Path, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self._log = folder / "log.jsonl"

    def log(self, event: str, **facts: Any) -> None:
        """Add one line to `log.jsonl`."""
        line = {"time": datetime.now().astimezone().isoformat(timespec="milliseconds"), "event": event, **facts}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def finish(self) -> Path:
        """Put the run in its place, and the one that was there away."""
        if self.target.exists():
            shutil.rmtree(self.target)
        os.replace(self.folder, self.target)
        return self.target


@contextlib.contextmanager
def open_workspace(out: str | None, name: str, *, overwrite: bool) -> Iterator[Workspace]:
    """A folder to write a run to.

    Args:
        out: What the user asked for; None takes the first free name below `runs/`.
        name: What the data is called.
        overwrite: Whether a run that is there may be replaced.

    Raises:
        OutputError: If something is there that must not be replaced, or the folder cannot be made.
    """
    target = Path(out) if out else _free_name(name)
    _check_target(target, overwrite=overwrite)
    folder = target.parent / f".{target.name}.partial-{os.getpid()}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(
            f"the run folder {str(target)!r} cannot be made: {error.strerror}",
            hint="Choose another folder with --out.",
        ) from error
    try:
        yield Workspace(target, folder)
    except OSError as error:
        raise OutputError(
            f"the run cannot be written to {str(target)!r}: {error.strerror or error}",
            hint="Free some space or choose another --out; the features that were computed are kept.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_name(name: str) -> Path:
    clean = re.sub(r"[^\w.\-]+", "-", name).strip("-.") or "run"
    candidates = [Path("runs") / clean, *(Path("runs") / f"{clean}-{number}" for number in range(2, 10_000))]
    return next(path for path in candidates if not path.exists())


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise OutputError(
            f"{str(target)!r} exists, and a run must not replace it unasked",
            hint="Add --overwrite, or choose another --out. Features that were computed before are used again anyway.",
        )
    if not target.is_dir() or not any((target / file).exists() for file in _RUN_FILES):
        raise OutputError(
            f"{str(target)!r} is not a run of headstart, and only runs are overwritten",
            hint="Choose another --out, or remove it yourself.",
        )
