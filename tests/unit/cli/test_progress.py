"""Progress: bars only where a line can be redrawn, few lines elsewhere, and never an exception."""

from __future__ import annotations

import io

from rich.console import Console as RichConsole

from headstart.cli.console import Console
from headstart.cli.progress import BarProgress, LineProgress


class Clock:
    """A clock that the test winds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def lines_to(stream: io.StringIO, clock: Clock) -> LineProgress:
    return LineProgress(Console(RichConsole(file=stream, width=200, markup=False)), clock)


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with lines_to(stream, clock).task("Computing resnet18", 100) as task:
        for _ in range(50):
            clock.now += 0.5
            task.advance(2)
    assert stream.getvalue().splitlines() == [
        "Computing resnet18: 40 of 100, about 15 s left",
        "Computing resnet18: 80 of 100, about 5 s left",
        "Computing resnet18: 100 in 25 s",
    ]


def test_quick_work_is_not_worth_a_line() -> None:
    stream, clock = io.StringIO(), Clock()
    with lines_to(stream, clock).task("Reading files", 3) as task:
        clock.now += 0.4
        task.advance(3)
    assert stream.getvalue() == ""


def test_minutes_are_said_as_minutes() -> None:
    stream, clock = io.StringIO(), Clock()
    with lines_to(stream, clock).task("Computing", 10) as task:
        clock.now += 60
        task.advance()
    assert stream.getvalue().splitlines() == ["Computing: 1 of 10, about 9 min left", "Computing: 1 in 60 s"]


def test_what_the_steps_found_is_told_and_the_wait_before_the_first_one_is_not_counted_again() -> None:
    stream, clock = io.StringIO(), Clock()
    with lines_to(stream, clock).task("Training", 12) as task:
        clock.now += 60
        task.advance(2, note="loss 0.91")
        clock.now += 10
        task.advance(note="loss 0.42")
        clock.now += 10
        task.advance()
    assert stream.getvalue().splitlines() == [
        "Training: 2 of 12, loss 0.91, about 5 min left",
        "Training: 3 of 12, loss 0.42, about 90 s left",
        "Training: 4 of 12, about 80 s left",
        "Training: 4 in 80 s",
    ]


def test_a_bar_shows_what_the_steps_found() -> None:
    stream, clock = io.StringIO(), Clock()
    terminal = RichConsole(file=stream, width=100, force_terminal=True, color_system=None, markup=False)
    with BarProgress(Console(terminal), clock).task("Training", 2) as task:
        task.advance(note="loss [b]0.42")
        task.advance()
    assert "Training: loss [b]0.42 " in stream.getvalue()


def test_a_message_stays_on_one_line() -> None:
    stream = io.StringIO()
    LineProgress(Console(RichConsole(file=stream, width=20, markup=False))).say("a path/" + "x" * 60)
    assert stream.getvalue() == "a path/" + "x" * 60 + "\n"


def test_a_closed_stream_does_not_stop_the_work() -> None:
    stream, clock = io.StringIO(), Clock()
    stream.close()
    progress = lines_to(stream, clock)
    progress.say("nobody hears this")
    with progress.task("Computing", 2) as task:
        clock.now += 20
        task.advance()


def test_a_terminal_gets_a_bar_that_vanishes_and_a_line_that_stays() -> None:
    stream, clock = io.StringIO(), Clock()
    terminal = RichConsole(file=stream, width=100, force_terminal=True, color_system=None, markup=False)
    progress = BarProgress(Console(terminal), clock)
    with progress.task("Computing [red]resnet18", 4) as task:
        clock.now += 2
        task.advance(4)
        progress.say("found something")
        with progress.task("inside", 2) as inner:
            inner.advance()
    written = stream.getvalue()
    assert "found something\n" in written
    assert "4/4" in written
    assert written.endswith("Computing [red]resnet18: 4 in 2 s\n")
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # the cursor comes back
    assert "\x1b[2K" in written
