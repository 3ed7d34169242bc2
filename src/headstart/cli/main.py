"""The entry of the command line: nothing that goes wrong below it ends in a traceback."""

from __future__ import annotations

import gc
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from headstart.cli.signals import Interrupts

_OLDEST_S = 10.0  # a process that is older did something else before, and became this command


def main() -> int:
    """Run the command line of this process.

    Returns:
        The exit code: 0, 1 for a bug, 2 for what the user can put right, 130 or 143 when interrupted.
    """
    started = _began()
    interrupts = Interrupts()
    # What libraries warn their programmers of is not the user's concern.
    if not sys.warnoptions and os.environ.get("HEADSTART_DEBUG") != "1":
        warnings.simplefilter("ignore")
    try:
        interrupts.catch()
        code = run(sys.argv[1:], started=started)
    except KeyboardInterrupt:  # it came while another failure was told
        code = 130
    finally:
        interrupts.release()
        # What there is goes with the process; to look through a million objects of PyTorch once more takes a second.
        # triton, which comes with what trains, lists on the terminal what of its own was not collected.
        if "triton" not in sys.modules:
            gc.freeze()
    # Whoever unwinds may turn an interruption into another error, or finish what is worth finishing.
    return code if interrupts.received is None else 128 + interrupts.received


def _began() -> float:
    """When this process was made, on the clock of `time.monotonic`; on systems that do not say it, now."""
    now = time.monotonic()
    try:
        # Field 22 of proc(5): ticks since the machine was started. What stands before it may hold spaces in brackets.
        ticks = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return now
    return now - age if 0 <= age < _OLDEST_S else now


def run(arguments: Sequence[str], *, started: float) -> int:
    """Run one command, and tell on stderr what went wrong.

    Args:
        arguments: As typed, without the name of the program.
        started: When the process began, on the clock of `time.monotonic`.

    Returns:
        The exit code, as of `main`.
    """
    try:
        code = _run(arguments, started)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort: a bug becomes one sentence
        from headstart.cli.failures import describe, show

        failure = describe(error)
        show(failure)
        _forget_unwritten_output()
        return failure.code
    return code


def _run(arguments: Sequence[str], started: float) -> int:
    import typer

    from headstart.cli.app import app
    from headstart.cli.invocation import Invocation

    command = typer.main.get_command(app)
    invocation = Invocation(tuple(arguments), started)
    # Not command.main(), which has its own words and exit codes for interruptions.
    try:
        with command.make_context("headstart", list(arguments), obj=invocation) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _forget_unwritten_output() -> None:
    """Let what cannot be written to a closed pipe or a full disk not fail again when the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
