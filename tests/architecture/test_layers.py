"""Imports go down only: the contract in pyproject.toml holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_import_contract_is_kept() -> None:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    verdict = re.search(r"Contracts: (\d+) kept, (\d+) broken", done.stdout)
    assert verdict is not None, done.stdout + done.stderr
    assert int(verdict[1]) >= 1
    assert int(verdict[2]) == 0, done.stdout
    assert done.returncode == 0
