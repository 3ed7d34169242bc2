"""The reference pages are what the docstrings say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "n_records"), [("run.md", 17), ("ranking.md", 5), ("audit.md", 10), ("comparison.md", 6)]
)
def test_the_reference_is_up_to_date(name: str, n_records: int) -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.pages()[name]
    assert page.count("\n## ") >= n_records  # a record that is not reached would shorten the page silently
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == page, "run: python scripts/reference.py"
