"""The package costs little to import: pictures and tables are paid for when they are read."""

from __future__ import annotations

import subprocess
import sys

import headstart.data


def test_importing_the_package_loads_no_heavy_library() -> None:
    heavy = ("PIL", "pandas", "pyarrow", "scipy", "sklearn", "torch", "charset_normalizer")
    code = f"import sys, headstart.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_sorted_and_exist() -> None:
    assert list(headstart.data.__all__) == sorted(headstart.data.__all__)
    assert all(hasattr(headstart.data, name) for name in headstart.data.__all__)
