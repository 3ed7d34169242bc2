"""From an exception to an exit code and one sentence on stderr."""

from __future__ import annotations

import errno
import os
import re
import traceback
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import typer

from headstart._checks import did_you_mean
from headstart.cli.console import errors
from headstart.cli.signals import INTERRUPTED
from headstart.errors import HeadstartError

_MISTAKE, _BUG, _INTERRUPTED, _CLOSED_PIPE = 2, 1, 130, 141
_ENVIRONMENT = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """How a command that failed ends.

    Attributes:
        code: 2 for what the user can put right, 1 for a bug, 130 when interrupted, 141 when nobody reads the output.
        message: What is wrong, one sentence; empty to say nothing.
        hint: What to do about it, or empty.
        details: A traceback, or empty.
        label: What kind of message it is; empty for none.
    """

    code: int
    message: str = ""
    hint: str = ""
    details: str = ""
    label: str = "error"


def describe(error: BaseException) -> Failure:
    """What to tell about an exception that nobody else dealt with.

    Args:
        error: What was raised.
    """
    if isinstance(error, KeyboardInterrupt):
        return Failure(_INTERRUPTED, INTERRUPTED, label="")
    if isinstance(error, BrokenPipeError):
        return Failure(_CLOSED_PIPE)
    if isinstance(error, HeadstartError):
        return Failure(_MISTAKE, str(error), error.hint)
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
        return _environment(error)
    return _bug(error)


def show(failure: Failure) -> None:
    """Write a failure to stderr: `error: …`, and `hint: …` where there is one.

    Args:
        failure: What `describe` returned.
    """
    console = errors()
    if failure.details:
        console.say(failure.details)
    if failure.message:
        console.say(failure.message, label=failure.label, style="bold red")
    if failure.hint:
        console.say(failure.hint, label="hint", style="bold")


def _usage(error: typer.TyperException) -> Failure:
    """A mistyped command line, in our words; the parser's own sentence where we have none."""
    context = getattr(error, "ctx", None)
    program = context.command_path if context is not None else "headstart"
    see = f"See {program} --help"
    text = error.format_message()
    if match := re.match(r"No such option: (\S+)", text):
        near = getattr(error, "possibilities", None) or ()
        return Failure(_MISTAKE, f"{program} has no option {match[1]!r}", did_you_mean(match[1], near) or see)
    if (match := re.match(r"No such command '(.*?)'", text)) and context is not None:
        return Failure(
            _MISTAKE,
            f"{program} has no command {match[1]!r}",
            did_you_mean(match[1], context.command.list_commands(context)),
        )
    if match := re.match(r"Missing (argument|option) '(.*?)'", text):
        return Failure(_MISTAKE, f"{program} needs the {match[1]} {match[2]}", see)
    if match := re.match(r"Invalid value for '(--[\w-]+)'.*: Input should be a valid (integer|number)", text):
        kind = "a whole number" if match[2] == "integer" else "a number"
        return Failure(_MISTAKE, f"{match[1]} must be {kind}{_but_got(match[1], context)}", see)
    return Failure(_MISTAKE, text[:1].lower() + text[1:].rstrip("."), see)


def _but_got(option: str, context: Any) -> str:
    """What was typed for an option, which the parser does not say."""
    typed = context.find_root().obj.arguments if context is not None else ()
    joined = [word.partition("=")[2] for word in typed if word.startswith(f"{option}=")]
    after = [value for word, value in pairwise(typed) if word == option]
    return "".join(f", but got {value!r}" for value in [*joined, *after][:1])


def _environment(error: OSError) -> Failure:
    what = f"the file {error.filename!r}" if error.filename is not None else "the output"
    return Failure(
        _MISTAKE,
        f"{what} cannot be read or written: {error.strerror}",
        "Free some space or change the permissions, or choose another place with --out or HEADSTART_HOME.",
    )


def _bug(error: BaseException) -> Failure:
    first_line = (str(error).splitlines() or [""])[0][:_LONGEST]
    what = ": ".join(part for part in (type(error).__name__, first_line) if part)
    details, hint = "", "Run it again with HEADSTART_DEBUG=1, and report what it prints to the project's issue tracker."
    if os.environ.get("HEADSTART_DEBUG") == "1":
        details = "".join(traceback.format_exception(error)).rstrip()
        hint = "Report this, with the output of headstart --version, to the project's issue tracker."
    return Failure(_BUG, f"this is a bug in headstart, not a mistake of yours ({what})", hint, details)
