"""The command line as a process: signals, pipes, full disks, terminals without colour, odd encodings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

INTERRUPTED = b"interrupted: what was computed is kept; run the same command again to go on\n"

posix = pytest.mark.skipif(os.name != "posix", reason="signals and /dev/full are POSIX")


def begin(body: str, *, preamble: str = "") -> subprocess.Popen[bytes]:
    """Start `headstart fit x` with `body` as the recipe, and wait until it says that it is there."""
    script = textwrap.dedent(preamble) + textwrap.dedent(
        """
        import os, signal, sys, time, types

        def ready():
            os.write(2, b"ready\\n")

        def fit(*_, **__):
        {body}

        sys.modules["headstart.recipes.fit"] = module = types.ModuleType("fit")
        module.fit = fit
        sys.argv = ["headstart", "fit", "x"]
        from headstart.cli.main import main
        sys.exit(main())
        """
    ).format(body=textwrap.indent(textwrap.dedent(body), "    "))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"
    return process


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_work_with_one_sentence(number: int, code: int) -> None:
    process = begin("ready(); time.sleep(30)")
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (code, b"", INTERRUPTED)


@posix
def test_a_signal_during_imports_ends_them_with_one_sentence() -> None:
    slow_import = """
        import os, sys, time

        class Slow:
            def find_spec(self, name, path=None, target=None):
                if name == "headstart.cli.app":
                    os.write(2, b"ready\\n")
                    time.sleep(30)

        sys.meta_path.insert(0, Slow())
    """
    process = begin("ready()", preamble=slow_import)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", INTERRUPTED)


@posix
def test_an_interruption_that_becomes_another_error_is_still_an_interruption() -> None:
    process = begin(
        """
        try:
            ready(); time.sleep(30)
        except KeyboardInterrupt:
            from headstart.errors import DataError
            raise DataError("half of it")
        """
    )
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143


@posix
def test_a_second_signal_ends_what_does_not_unwind() -> None:
    process = begin(
        """
        for _ in range(2):
            try:
                ready(); time.sleep(30)
            except KeyboardInterrupt:
                pass
        """
    )
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"
    time.sleep(1.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err == b"\n" + INTERRUPTED


@posix
def test_a_signal_that_a_launcher_passes_on_again_counts_once() -> None:
    process = begin(
        """
        try:
            ready(); time.sleep(30)
        except KeyboardInterrupt:
            ready(); time.sleep(0.3); os.write(2, b"unwound\\n")
            raise
        """
    )
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, b"unwound\n" + INTERRUPTED)


@posix
def test_what_the_parent_ignores_stays_ignored() -> None:
    process = begin(
        "ready(); time.sleep(0.5); sys.exit(7)",
        preamble="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n",
    )
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (7, b"")


@posix
def test_a_forked_child_ends_without_unwinding_its_parents_work() -> None:
    process = begin(
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, b"x")
            time.sleep(30)
            os._exit(3)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        ready()
        sys.exit(os.waitstatus_to_exitcode(status))
        """
    )
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (143, b"")


def headstart(
    *arguments: str, stdout: int = subprocess.PIPE, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line as `python -m headstart`."""
    command = [sys.executable, "-m", "headstart", *arguments]
    # An empty PYTHONUNBUFFERED is none: what is in buffers when a stream fails is what is tested.
    merged = {**os.environ, "PYTHONUNBUFFERED": "", **(environment or {})}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=merged, check=False)


@pytest.mark.parametrize("arguments", [["backbones", "list", "--json"], ["backbones", "list"], ["--version"]])
def test_a_reader_that_has_enough_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = headstart(*arguments, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton, which comes with torch on Linux")
def test_a_process_with_triton_ends_without_a_list_of_what_was_not_collected() -> None:
    process = begin("ready(); raise KeyboardInterrupt", preamble="import triton.runtime.jit")
    _, errors = process.communicate(timeout=60)
    assert errors == INTERRUPTED


@posix
def test_a_full_disk_behind_stdout_is_one_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        done = headstart("backbones", "list", stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the output cannot be read or written: No space left on device\n")
    assert b"Exception ignored" not in done.stderr


@posix
def test_messages_that_nobody_reads_do_not_stop_the_work() -> None:
    process = begin(
        """
        ready(); time.sleep(0.3)
        from headstart.cli.progress import progress_on_stderr
        progress_on_stderr().say("hello")
        os.write(1, b"went on")
        sys.exit(7)
        """
    )
    assert process.stderr is not None
    assert process.stdout is not None
    process.stderr.close()
    assert process.stdout.read() == b"went on"
    assert process.wait(timeout=10) == 7
    process.stdout.close()


@pytest.mark.parametrize("arguments", [["--help"], ["backbones", "list"], ["backbones", "show", "nope"]])
def test_nothing_is_coloured_when_nobody_looks(arguments: list[str]) -> None:
    done = headstart(*arguments, environment={"TERM": "xterm-256color", "COLORTERM": "truecolor"})
    assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_respected_on_a_terminal(no_color: str, coloured: bool) -> None:
    import pty

    parent, child = pty.openpty()
    environment = {"NO_COLOR": no_color, "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "headstart", "backbones", "show", "nope"]
    merged = {**os.environ, **environment}
    subprocess.run(command, stdout=child, stderr=child, env=merged, check=False)
    os.close(child)
    shown = os.read(parent, 10_000)
    os.close(parent)
    assert b"error: " in shown
    assert (b"\x1b[1;31m" in shown) is coloured
    assert b"31m" not in shown or coloured


def test_data_is_utf_8_whatever_the_locale() -> None:
    done = headstart("backbones", "show", "efficientnet_lite0", "--json", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "Tan & Le 2019" in done.stdout.decode("utf-8")


def test_a_stream_that_cannot_hold_a_character_gets_a_mark() -> None:
    done = headstart("backbones", "show", "efficientnet_lite0", environment={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert b"224 ? 224 pixels" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says when a process was made")
def test_the_time_of_a_command_counts_from_the_start_of_its_process() -> None:
    process = begin(
        """
        ready()
        print(time.monotonic() - __["options"].started)
        """,
        preamble="import time; time.sleep(0.7)",
    )
    out, _ = process.communicate(timeout=60)
    assert float(out.split()[0]) >= 0.7
