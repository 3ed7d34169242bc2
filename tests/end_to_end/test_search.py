"""A search for settings from the command line: its trials are kept, and files that cannot keep them are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from end_to_end.conftest import Cli, photos, record

FIT = ("--backbone", "efficientnet_lite0", "--offline", "--budget", "20m", "--strategy", "linear", "--trials", "5")


@pytest.mark.usefixtures("network")
def test_the_best_trial_is_a_candidate_and_the_same_command_goes_on(cli: Cli) -> None:
    photos(Path("photos"))
    for name, n_found in (("first", 0), ("second", 1)):
        result = cli("fit", "photos", *FIT, "--storage", "trials.db", "--out", name)
        assert result.code == 0, result.err
        run = record(name)
        (search,) = run["searches"]
        # Cross-validation chooses l2, and balance is a wish: one other scaling is all there is.
        assert search["searched"] == {"scaling": "soften or standardise"}
        assert (search["trials"], search["pruned"], search["left_out"], search["found"]) == (1, 0, 0, n_found)
        assert search["storage"] == "trials.db"
        assert run["candidates"][search["candidate"]]["settings"]["scaling"] == "standardise"
        assert search["sentence"] in " ".join(result.err.split())
        assert run["selection"]["n_candidates"] == len(run["candidates"])
        assert search["sentence"] in Path(name, "report.html").read_text(encoding="utf-8")
    assert record("first")["candidates"][-1]["oof"] == record("second")["candidates"][-1]["oof"]


def test_a_storage_that_is_something_else_is_refused_before_anything_is_computed(cli: Cli) -> None:
    photos(Path("photos"))
    Path("notes.txt").write_text("my notes\n" * 100)
    result = cli("fit", "photos", *FIT, "--storage", "notes.txt", "--out", "run")
    assert result.code == 2
    assert "the storage must be a database of optuna, but 'notes.txt' is no SQLite file" in " ".join(result.err.split())
    assert Path("notes.txt").read_text() == "my notes\n" * 100
    assert not Path("run").exists()
