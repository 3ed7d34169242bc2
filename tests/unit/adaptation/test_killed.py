"""Processes that train and are killed by SIGKILL: started again, they end with the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.adaptation.problem import STEPS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is killed like that on Windows")


def check(points: Sequence[int], folder: Path) -> None:
    """Kill at these points; see `killed.WAYS`."""
    command = [sys.executable, "-m", "tests.unit.adaptation.killed", str(folder), *map(str, points)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (_, _, n_steps, expected), *rest = (line.split() for line in done.stdout.splitlines())
    assert int(n_steps) == 4 * STEPS
    assert len(rest) == len(points)
    for (way, ended, n_left, bits), point in zip(rest, points, strict=True):
        assert int(ended) == -signal.SIGKILL, f"{way} at point {point} was not killed"
        assert int(n_left) <= 4 * STEPS
        assert bits == expected, f"{way} at point {point}"


def test_killed_in_a_step_in_a_write_and_at_any_moment_it_ends_the_same(tmp_path: Path) -> None:
    check([2, 4, 7], tmp_path)


@pytest.mark.slow
def test_killed_at_thirty_points_it_ends_the_same(tmp_path: Path) -> None:
    check(range(30), tmp_path)
