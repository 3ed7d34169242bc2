"""A search for settings from the command line: its trials are kept, and files that cannot keep them are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.unit.backbones.tiny import save_timm

from end_to_end.conftest import Cli, photos, record
from end_to_end.test_moving import stripes

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


def test_settings_of_a_strategy_that_moves_weights_are_searched_and_the_same_command_goes_on(
    cli: Cli, tmp_path: Path
) -> None:
    data, backbone = stripes(Path("photos")), save_timm(tmp_path / "saved", "test_efficientnet")
    asked = ("--strategy", "finetune", "--set", "n_stages=1", "--set", "epochs=2", "--set", "batch_size=8")
    where = ("--backbone", backbone, "--budget", "20m", "--trials", "3", "--storage", "trials.db")
    found: list[dict[str, Any]] = []
    for name in ("first", "second"):
        result = cli("fit", data, *asked, *where, "--out", name, "--json")
        assert result.code == 0, result.err
        run = json.loads(result.out)
        (search,) = run["searches"]
        assert (search["strategy"], search["layers"], search["storage"]) == ("finetune", "last", "trials.db")
        assert set(search["searched"]) == {
            *("learning_rate", "stage_decay", "weight_decay", "label_smoothing", "dropout"),
        }
        assert search["trials"] + search["pruned"] == 3
        assert search["left_out"] == 0
        assert search["sentence"] in " ".join(result.err.split())
        assert search["sentence"] in Path(name, "report.html").read_text(encoding="utf-8")
        tuned = [each for each in run["candidates"] if each["strategy"] == "finetune"]
        assert len(tuned) == (1 if search["candidate"] is None else 2)
        if search["candidate"] is not None:
            assert math.isfinite(run["candidates"][search["candidate"]]["settings"]["learning_rate"])
        lines = [json.loads(line) for line in Path(name, "log.jsonl").read_text().splitlines()]
        found.append({**search, "n_logged": sum(line["event"] == "trial" for line in lines)})
        left = [path for path in Path.home().rglob("*") if path.suffix in {".training", ".tuned", ".bf16"}]
        assert left == []
        assert cli("predict", name, data).code == 0
    assert [each["found"] for each in found] == [0, 3]
    assert [each["n_logged"] for each in found] == [3, 0]
    assert found[0]["candidate"] == found[1]["candidate"]
    assert found[0]["gain"] == found[1]["gain"]
