"""The reference page is what the docstrings say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_reference_of_run_json_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page()
    assert page.count("\n## ") >= 15  # a record that is not reached would shorten the page silently
    written = (ROOT / "docs" / "reference" / "run.md").read_text(encoding="utf-8")
    assert written == page, "run: python scripts/reference.py"
