"""Progress on stderr: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from headstart._progress import Progress, Task
from headstart.cli.console import Console, errors, harmless

_EVERY_S = 10.0
_WORTH_TELLING_S = 1.0


def progress_on_stderr() -> Progress:
    """Bars where stderr is a terminal that can redraw a line, else lines."""
    console = errors()
    # FORCE_COLOR makes rich call a pipe a terminal; colours are then wanted, redrawing is not.
    redraws = console.rich.is_terminal and not console.rich.is_dumb_terminal and sys.stderr.isatty()
    return BarProgress(console) if redraws else LineProgress(console)


class LineProgress:
    """Progress for logs: a line when a piece of work has gone on for ten seconds more, and one when it ends."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock

    def say(self, message: str) -> None:
        """Write the message on a line."""
        with suppress(OSError, ValueError):  # nobody reads any more, and the work goes on
            self._console.say(message)

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """A piece of work of `total` steps."""
        count = _Count(title, total, self.say, self._clock)
        yield count
        count.end()


class BarProgress:
    """Progress for people: a bar for each piece of work with an estimate of what is left; it vanishes at the end."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._bars: Bars | None = None

    def say(self, message: str) -> None:
        """Write the message above the bars."""
        with suppress(OSError, ValueError):
            self._console.say(message)

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """A piece of work of `total` steps; one inside another shares the display."""
        count = _Count(title, total, self.say, self._clock, every_s=math.inf)
        with self._display() as bars:
            bar = bars.add_task(harmless(title), total=total)
            yield _Bar(bars, bar, count, title)
            bars.remove_task(bar)
        count.end()

    @contextmanager
    def _display(self) -> Iterator[Bars]:
        if self._bars is not None:
            yield self._bars
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        with Bars(*columns, console=self._console.rich, transient=True) as bars:
            self._bars = bars
            try:
                yield bars
            finally:
                self._bars = None


class _Count:
    """How far a piece of work is, and when that is worth a line."""

    def __init__(
        self,
        title: str,
        total: int,
        say: Callable[[str], None],
        clock: Callable[[], float],
        *,
        every_s: float = _EVERY_S,
    ) -> None:
        self._title = title
        self._total = total
        self._say = say
        self._clock = clock
        self._every_s = every_s
        self._done = 0
        self._began = self._told = clock()
        self._first = (0, self._began)  # what the first steps waited for comes only once

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count, and tell when it is time."""
        now = self._clock()
        if self._done:
            since, began = self._first
        else:
            since, began = 0, self._began
            self._first = (steps, now)
        self._done += steps
        if now - self._told >= self._every_s and since < self._done < self._total:
            left_s = (now - began) / (self._done - since) * (self._total - self._done)
            so_far = ", ".join([f"{self._done} of {self._total}", *([note] if note else [])])
            self._say(f"{self._title}: {so_far}, about {_duration(left_s)} left")
            self._told = now

    def end(self) -> None:
        """Tell what it took, when that is worth a line."""
        took_s = self._clock() - self._began
        if took_s >= _WORTH_TELLING_S:
            self._say(f"{self._title}: {self._done} in {_duration(took_s)}")


class _Bar:
    """A bar and the count behind it."""

    def __init__(self, bars: Bars, bar: TaskID, count: _Count, title: str) -> None:
        self._bars = bars
        self._bar = bar
        self._count = count
        self._title = title

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move the bar, and show the note behind the title."""
        self._count.advance(steps)
        with suppress(OSError, ValueError):
            self._bars.advance(self._bar, steps)
            if note:
                self._bars.update(self._bar, description=harmless(f"{self._title}: {note}"), refresh=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 99.5 else f"{seconds / 60:.0f} min"
