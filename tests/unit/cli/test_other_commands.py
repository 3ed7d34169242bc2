"""`evaluate`, `report`, `cache` and `demo`: what is asked below and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports import sample

from cli.conftest import Cli, Fake
from headstart._records import to_json
from headstart.evaluation.records import Difference
from headstart.features.namespace import Namespace
from headstart.features.store import Store
from headstart.reports import write_run
from headstart.reports.compared import ClassDifference, ComparisonRecord, Setting, Side


def test_evaluate_prints_numbers_with_their_intervals(cli: Cli, fake: Fake) -> None:
    asked: dict[str, Any] = {}
    evaluation = sample.photos().evaluation

    def recipe(path: str, data: str, **options: Any) -> Any:
        asked.update(options, path=path, data=data)
        return evaluation

    fake("headstart.recipes.evaluate", evaluate=recipe)
    result = cli("evaluate", "run", "new.csv", "--target", "kind", "--column", "text", "--device", "cpu")
    assert (asked["path"], asked["data"], asked["target"], asked["column"]) == ("run", "new.csv", "kind", "text")
    assert (asked["device"], asked["precision"]) == ("cpu", "auto")
    assert f"{100 * evaluation.accuracy.value:.1f}\u202f% (" in result.out
    assert "of 370 items right" in result.out
    assert "log loss  0.421 (0.360–0.482) nats, lower is better" in result.out
    assert cli("evaluate", "run", "new.csv", "--json").out == to_json(evaluation) + "\n"


@pytest.mark.parametrize("place", ["run", "run/run.json"])
def test_report_writes_the_page_again_beside_the_record(cli: Cli, tmp_path: Path, place: str) -> None:
    run = sample.perfect_and_tiny()
    write_run(run, tmp_path / "run")
    result = cli("report", place)
    assert result.out == "The report is in run/report.html\n"
    assert "<html" in (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert cli("report", place, "--json").out == to_json(run) + "\n"


def test_report_of_a_folder_without_a_run_is_a_mistake(cli: Cli) -> None:
    result = cli("report", "nowhere")
    assert result.code == 2
    assert result.err.startswith("error: a run is a folder with a run.json, but 'nowhere' cannot be read")


def _comparison(*, paired: bool) -> ComparisonRecord:
    run, difference = sample.photos(), Difference(0.031, 0.011, 0.052, 0.004, 370)
    sides = [
        Side(
            name,
            f"runs/{name}",
            "net · last · linear",
            run.evaluation.accuracy,
            run.evaluation.log_loss,
            900,
            3_000_000,
            ms,
            21.0,
        )
        for name, ms in (("new", 4.2), ("old", None))
    ]
    return ComparisonRecord(
        *sides,
        paired,
        "Both were tested on the same 370 items, so they are compared item by item.",
        difference,
        "new is better than old by 3.1 points (1.1 to 5.2).",
        (ClassDifference("hat", difference, stands_out=True), ClassDifference("skirt", difference, stands_out=False)),
        (Setting("seed", 0, 7), Setting("k", None, 5)),
    )


def test_compare_says_which_is_better_and_what_differs(cli: Cli, fake: Fake) -> None:
    record = _comparison(paired=True)
    asked: list[str] = []

    def recipe(first: str, second: str) -> Any:
        asked.extend((first, second))
        return record

    fake("headstart.recipes.compare", compare=recipe)
    result = cli("compare", "runs/new", "runs/old")
    assert asked == ["runs/new", "runs/old"]
    lines = result.out.splitlines()
    assert lines[0] == "new is better than old by 3.1 points (1.1 to 5.2)."
    assert "  paired    Both were tested on the same 370 items, so they are compared item by item." in lines
    assert "  test      +3.1 points, p\u00a0=\u00a00.004" in lines
    assert "  classes   hat +3.1 points (+1.1 to +5.2, p\u00a0=\u00a00.004)" in lines
    cells = {line.split()[0]: line.split()[-2:] for line in lines if line}
    assert cells["seed"] == ["0", "7"]
    assert cells["k"] == ["–", "5"]
    assert cells["per"][-1] == "–"
    assert cli("compare", "runs/new", "runs/old", "--json").out == to_json(record) + "\n"


def test_compare_of_what_is_no_run_is_a_mistake(cli: Cli) -> None:
    result = cli("compare", "nowhere", "elsewhere")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: a run is a folder with a run.json, but 'nowhere' cannot be read")


def fill_store(home: Path) -> None:
    space = Namespace("0" * 64, {}, (("last/1", 250),), "float32", backbone="tiny")
    with Store.open(home) as store, store.writer(space) as writer:
        writer.append([f"{row:064x}" for row in range(40)], np.ones((40, 250), np.float32))


@pytest.mark.parametrize("arguments", [["cache"], ["cache", "info"]])
def test_the_store_says_what_it_holds(cli: Cli, tmp_path: Path, arguments: list[str]) -> None:
    fill_store(tmp_path / "home")
    result = cli(*arguments)
    assert str(tmp_path / "home/features") in result.out
    assert "of at most 20 GB" in result.out
    assert result.out.splitlines()[-1].split()[:4] == ["tiny", "plain", "float32", "40"]
    assert json.loads(cli("cache", "info", "--json").out)["namespaces"][0]["n_rows"] == 40


def test_pruning_says_what_it_removed(cli: Cli, tmp_path: Path) -> None:
    fill_store(tmp_path / "home")
    assert cli("cache", "prune").out.startswith("0 rows were removed and 0 B freed; 40")
    assert cli("cache", "prune", "--max-size", "2GB", "--backbone", "tiny").out.startswith("0 rows were removed")
    assert json.loads(cli("cache", "prune", "--backbone", "tiny", "--json").out)["n_rows"] == 40


def test_demo_closes_with_its_words_or_its_records(cli: Cli, fake: Fake, tmp_path: Path) -> None:
    runs = (sample.photos(), sample.texts())
    asked: dict[str, Any] = {}

    def recipe(folder: Path, **options: Any) -> Any:
        asked.update(options, folder=folder)
        return runs

    fake("headstart.recipes.demo", demo=recipe, closing_words=lambda done: f"{len(done)} acts [of] two")
    assert cli("demo", "--out", "there", "--budget", "30s").out == "2 acts [of] two\n"
    assert (asked["folder"], asked["budget_s"]) == (Path("there"), 30.0)
    assert json.loads(cli("demo", "--json").out) == json.loads(to_json(runs))
