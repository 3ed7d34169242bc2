"""What each kind of exception becomes: a sentence, a hint and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from cli.conftest import Cli, Fake
from headstart.errors import BackboneError, DataError

INTERRUPTED = "interrupted: what was computed is kept; run the same command again to go on\n"


def failing(fake: Fake, error: BaseException) -> None:
    """Make `fit` raise."""

    def fit(*_: Any, **__: Any) -> None:
        raise error

    fake("headstart.recipes.fit", fit=fit)


@pytest.mark.parametrize(
    "error", [DataError("no items", hint="Add some."), BackboneError("no items", hint="Add some.")]
)
def test_what_the_user_can_put_right_has_exit_code_2(cli: Cli, fake: Fake, error: Exception) -> None:
    failing(fake, error)
    result = cli("fit", "photos")
    assert (result.code, result.out, result.err) == (2, "", "error: no items\nhint: Add some.\n")


def test_without_a_hint_there_is_no_hint_line(cli: Cli, fake: Fake) -> None:
    failing(fake, DataError("no items"))
    assert cli("fit", "photos").err == "error: no items\n"


def test_an_interruption_has_exit_code_130_and_says_how_to_go_on(cli: Cli, fake: Fake) -> None:
    failing(fake, KeyboardInterrupt())
    result = cli("fit", "photos")
    assert (result.code, result.err) == (130, INTERRUPTED)


def test_a_closed_pipe_is_silent(cli: Cli, fake: Fake) -> None:
    failing(fake, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    result = cli("fit", "photos")
    assert (result.code, result.err) == (141, "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_locked_disk_is_no_bug(cli: Cli, fake: Fake, number: int) -> None:
    failing(fake, OSError(number, os.strerror(number), "/there/it.bin"))
    result = cli("fit", "photos")
    assert result.code == 2
    assert result.err == (
        f"error: the file '/there/it.bin' cannot be read or written: {os.strerror(number)}\n"
        "hint: Free some space or change the permissions, or choose another place with --out or HEADSTART_HOME.\n"
    )


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero\nsecond line"), OSError(errno.EBADF, "x")])
def test_anything_else_is_a_bug_with_exit_code_1_and_no_traceback(cli: Cli, fake: Fake, error: Exception) -> None:
    failing(fake, error)
    result = cli("fit", "photos")
    first_line = str(error).splitlines()[0]
    assert result.code == 1
    assert result.err == (
        f"error: this is a bug in headstart, not a mistake of yours ({type(error).__name__}: {first_line})\n"
        "hint: Run it again with HEADSTART_DEBUG=1, and report what it prints to the project's issue tracker.\n"
    )


def test_a_bug_shows_its_traceback_when_asked(cli: Cli, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(fake, ZeroDivisionError("division by zero"))
    monkeypatch.setenv("HEADSTART_DEBUG", "1")
    result = cli("fit", "photos")
    assert result.code == 1
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert "hint: Report this, with the output of headstart --version, to the project's issue tracker.\n" in result.err


def test_a_message_cannot_steer_the_terminal(cli: Cli, fake: Fake) -> None:
    failing(fake, DataError("cannot read \x1b]0;owned\x07\x1b[2Jname\u202egpj.exe"))
    assert cli("fit", "photos").err == "error: cannot read \ufffd]0;owned\ufffd\ufffd[2Jname\ufffdgpj.exe\n"


def test_markup_in_a_message_is_text(cli: Cli, fake: Fake) -> None:
    failing(fake, DataError("no column '[bold]x[/bold]' :smile: [/]"))
    assert cli("fit", "photos").err == "error: no column '[bold]x[/bold]' :smile: [/]\n"
