"""The main job, from what people have to a report, numbers that agree with each other, and a model that predicts."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import headstart as hs
from end_to_end.conftest import Cli, Network, events, n_computed, photos, record, reviews
from headstart.cli.main import run
from headstart.evaluation.metrics import evaluate_predictions

FIT = ("--backbone", "efficientnet_lite0")

FIELDS = {
    "data": {"modality", "task", "n_train", "n_test", "classes", "fingerprint", "left_out"},
    "audit": {"kind", "severity", "count", "items", "summary", "effect", "advice", "examples"},
    "ranking": {"backbone", "scores", "tie_set", "seconds", "n_params"},
    "candidates": {"backbone", "strategy", "settings", "oof", "seconds"},
    "chosen": {"backbone", "strategy", "settings", "why"},
    "control": {"majority", "from_scratch", "difference", "verdict"},
    "evaluation": {
        *("n", "accuracy", "precision_macro", "recall_macro", "f1_macro"),
        *("log_loss", "ece", "per_class", "confusion"),
    },
    "fit_check": {"training", "out_of_fold", "test", "sentence"},
    "timings": {"read", "audit", "extract", "rank", "search", "fit", "evaluate", "report", "total"},
    "environment": {"python", "headstart", "torch", "device", "cores", "dtype"},
}


def check_run(folder: Path) -> dict[str, Any]:
    """What holds for every run, whatever it was made on; returns its record."""
    found = record(folder)
    assert found["schema"] == "headstart.run/1"
    for name, wanted in FIELDS.items():
        value = found[name]
        for each in value if isinstance(value, list) else [value]:
            assert wanted <= set(each), name
    for estimate in (found["evaluation"]["accuracy"], found["candidates"][0]["oof"]["accuracy"]):
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert found["evaluation"]["n"] == found["data"]["n_test"] == sum(found["data"]["test_counts"])
    assert sum(found["data"]["train_counts"]) == found["data"]["n_train"]
    assert sum(found["timings"][name] for name in FIELDS["timings"] - {"total"}) <= found["timings"]["total"] + 0.01
    for control in (found["control"]["majority"], found["control"]["from_scratch"]):
        assert {"value", "low", "high", "p_value"} <= set(control["difference"])
    assert "NaN" not in (folder / "run.json").read_text(encoding="utf-8")
    check_predictions(folder, found)
    check_page(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("bundle", "log.jsonl", "predictions_test.csv", "report.html", "run.json"),
    ]
    assert (folder / "bundle" / "README.md").read_text(encoding="utf-8").startswith("# ")
    return found


def check_predictions(folder: Path, found: dict[str, Any]) -> None:
    """The table gives the numbers of the record when they are computed again."""
    classes = found["data"]["classes"]
    with (folder / "predictions_test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    probabilities = np.array([[float(row[f"p:{name}"]) for name in classes] for row in rows])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    targets = np.array([classes.index(row["target"]) for row in rows])
    again = evaluate_predictions(targets, probabilities, tuple(classes), seed=found["seed"])
    assert again.accuracy.value == found["evaluation"]["accuracy"]["value"]
    assert [list(row) for row in again.confusion] == found["evaluation"]["confusion"]
    assert abs(again.log_loss.value - found["evaluation"]["log_loss"]["value"]) < 1e-4
    assert [classes[best] for best in probabilities.argmax(axis=1)] == [row["prediction"] for row in rows]
    assert len({row["item"] for row in rows}) == len(rows)


def check_page(folder: Path) -> None:
    """The page fetches nothing."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", page)
    assert "<script src" not in page


def settled(found: dict[str, Any]) -> dict[str, Any]:
    """A record without what is allowed to differ between two runs."""
    differing = ("created", "timings", "command", "out", "name", "alternatives")
    kept = {name: value for name, value in found.items() if name not in differing}
    for row in (*kept["ranking"], *kept["candidates"]):
        row.pop("seconds")
        for measured in ("ms_per_item", "costs", "fronts"):
            row.pop(measured, None)
    kept["data"].pop("test_openings")
    return kept


def test_a_folder_of_photos(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    result = cli("fit", "photos", "--out", "out", *FIT)
    assert result.code == 0, result.err
    found = check_run(Path("out"))
    assert found["data"]["classes"] == ["blue", "green", "red"]
    assert found["data"]["n_train"] + found["data"]["n_test"] == 36
    assert found["data"]["n_test"] in range(6, 10)
    assert found["evaluation"]["accuracy"]["value"] > 0.9
    assert found["command"] == "headstart fit photos --out out --backbone efficientnet_lite0"
    assert [each["settings"]["layers"] for each in found["candidates"]] == ["last", "stages", "all"]
    assert found["prefer"] == "balanced"
    assert all(each["costs"]["n_params"] > each["n_params"] for each in found["candidates"])
    assert {"size", "parameters"} <= {name for each in found["candidates"] for name in each["fronts"]}


def test_the_bundle_says_when_not_to_trust_it_as_the_record_does(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    assert cli("fit", "photos", "--out", "out", *FIT).code == 0
    found = json.loads(Path("out", "run.json").read_text(encoding="utf-8"))["uncertainty"]
    n_train = json.loads(Path("out", "run.json").read_text(encoding="utf-8"))["data"]["n_train"]
    assert (found["n"], found["gate"]["n_references"]) == (n_train, n_train)
    with Path("out", "predictions_test.csv").open(newline="", encoding="utf-8") as file:
        tested = list(csv.DictReader(file))
    given = [str(Path("photos", row["item"])) for row in tested]
    asked = cli("predict", "out", *given, "--coverage", "0.9", "--abstain-cost", "0.1", "--gate", "--out", "new.csv")
    assert asked.code == 0, asked.err
    with Path("new.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    held = np.mean([before["target"] in row["set"].split("|") for before, row in zip(tested, rows, strict=True)])
    assert held == pytest.approx(next(each for each in found["sets"] if each["asked"] == 0.9)["covered"]["value"])
    cost = next(each for each in found["abstention"]["costs"] if each["ask"] == 0.1)
    assert np.mean([row["abstained"] == "no" for row in rows]) == pytest.approx(cost["answered"]["value"])
    assert all((row["prediction"] == "") == (row["abstained"] == "yes") for row in rows)
    assert np.mean([row["unusual"] == "no" for row in rows]) == pytest.approx(found["gate"]["passed"]["value"])
    assert "When not to trust an answer" in Path("out", "report.html").read_text(encoding="utf-8")
    refused = cli("predict", "out", given[0], "--coverage", "90")
    assert (refused.code, refused.err) == (
        2,
        "error: a coverage must lie above 0 and below 1, but got 90\nhint: Write 0.9 for 90 %.\n",
    )


@pytest.mark.parametrize("strategy", ["prototype", "knn", "mlp", "head2toe", "views"])
def test_a_strategy_that_was_named_is_what_the_bundle_predicts_with(cli: Cli, network: Network, strategy: str) -> None:
    photos(Path("photos"))
    asked = ["--strategy", strategy, *(("--set", "k=3") if strategy == "knn" else ())]
    result = cli("fit", "photos", "--out", "out", *FIT, *asked)
    assert result.code == 0, result.err
    found = check_run(Path("out"))
    assert {each["strategy"] for each in found["candidates"]} == {strategy}
    assert found["evaluation"]["accuracy"]["value"] > 0.8
    if strategy == "knn":
        assert found["chosen"]["settings"]["k"] == 3
    with Path("out", "predictions_test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    model = hs.load("out")
    expected = np.array([[float(row[f"p:{name}"]) for name in model.classes] for row in rows])
    probabilities = model.predict_proba([Path("photos", row["item"]) for row in rows])
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_views_are_computed_once_and_the_plain_one_is_what_is_predicted(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    asked = ("--strategy", "linear", "--strategy", "views", "--set", "n_views=3")
    first = cli("fit", "photos", "--out", "first", *FIT, *asked)
    assert first.code == 0, first.err
    found = check_run(Path("first"))
    # All items for the backbone, the control and the thumbnail, and two views of those for training, which all
    # proposals share.
    once = 3 * 36 + 2 * found["data"]["n_train"]
    assert network.n_items == once
    assert [each["strategy"] for each in found["candidates"]] == ["linear", "views"] * 3
    assert found["candidates"][1]["settings"]["n_views"] == 3
    assert [each["computed"] for each in events("first", "views")] == [2 * found["data"]["n_train"]]
    assert cli("fit", "photos", "--out", "second", *FIT, *asked).code == 0
    assert network.n_items == once
    assert settled(check_run(Path("second"))) == settled(found)


def test_several_strategies_are_compared_out_of_fold(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    result = cli("fit", "photos", "--out", "out", *FIT, "--strategy", "linear", "--strategy", "prototype")
    assert result.code == 0, result.err
    found = check_run(Path("out"))
    assert [each["strategy"] for each in found["candidates"]] == ["linear", "prototype"] * 3
    assert all(name.endswith(("linear", "prototype")) for name in found["chosen"]["ties"])


def test_all_starters_are_considered_alone_and_together_while_the_budget_allows(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    assert cli("fit", "photos", "--out", "out").code == 0
    found = check_run(Path("out"))
    names = [each["backbone"] for each in found["candidates"]]
    # The cheapest begins, then the most promising.
    starters = [f"efficientnet_lite{size}" for size in (0, 2, 1)]
    assert names == [*np.repeat(starters, 3).tolist(), *[" + ".join(starters)] * 2]
    assert {row["backbone"] for row in found["ranking"]} == set(starters)
    assert found["chosen"]["backbone"] == "efficientnet_lite0"  # all tie, so the cheapest


@pytest.mark.parametrize(
    ("sides", "test"),
    [(("train", "val", "test"), "test"), (("train", "valid"), "valid"), (("training", "testing"), "testing")],
)
def test_the_users_own_sides(cli: Cli, network: Network, sides: tuple[str, ...], test: str) -> None:
    for number, side in enumerate(sides):
        photos(Path("data", side), 5, start=10 * number)
    assert cli("fit", "data", "--out", "out", *FIT).code == 0
    found = check_run(Path("out"))
    assert found["data"]["split"] == "The sides are the user's own."
    assert (found["data"]["n_train"], found["data"]["n_test"]) == (15 * (len(sides) - 1), 15)
    with Path("out/predictions_test.csv").open() as file:
        assert {row["item"].split("/")[0] for row in csv.DictReader(file)} == {test}


def test_a_table_of_texts_with_json(cli: Cli, network: Network) -> None:
    reviews(Path("reviews.csv"))
    result = cli("fit", "reviews.csv", "--out", "out", "--json")
    assert result.code == 0, result.err
    found = check_run(Path("out"))
    assert json.loads(result.out) == found  # json.loads refuses a second document
    assert found["data"]["modality"] == "text"
    assert found["evaluation"]["accuracy"]["value"] == 1.0
    assert found["control"]["from_scratch"]["name"] == "a linear model on word counts (TF-IDF)"


def _frame(n: int = 15) -> pd.DataFrame:
    rows = [(f"a lovely zoo visit number {row}", "praise") for row in range(n)]
    rows += [(f"dull and cold hour number {row}", "blame") for row in range(n)]
    return pd.DataFrame(rows, columns=["review", "sentiment"])


def _save_dataset(folder: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    whole = datasets.Dataset.from_pandas(_frame(), preserve_index=False)
    datasets.DatasetDict(whole.train_test_split(0.2, seed=0)).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("kind", ["frame", "lists", "parquet", "jsonl", "saved"])
def test_texts_in_whatever_they_come(network: Network, tmp_path: Path, kind: str) -> None:
    frame = _frame()
    source, asked = {
        "frame": lambda: (frame, {"target": "sentiment"}),
        "lists": lambda: (frame["review"].tolist(), {"targets": frame["sentiment"].tolist()}),
        "parquet": lambda: (frame.to_parquet(tmp_path / "a.parquet") or tmp_path / "a.parquet", {}),
        "jsonl": lambda: (
            frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True) or tmp_path / "a.jsonl",
            {},
        ),
        "saved": lambda: (_save_dataset(tmp_path / "saved"), {}),
    }[kind]()
    made = hs.fit(source, out=tmp_path / "out", **asked)
    found = check_run(tmp_path / "out")
    assert made.evaluation.accuracy.value == found["evaluation"]["accuracy"]["value"] == 1.0
    assert found["data"]["n_train"] + found["data"]["n_test"] == 30
    assert hs.load(tmp_path / "out").predict(["such a lovely zoo"]).labels == ("praise",)


def test_arrays_of_pictures(network: Network, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 8)
    files = sorted(folder.rglob("*.jpg"))
    arrays = np.stack([np.asarray(Image.open(file)) for file in files])
    made = hs.fit(arrays, targets=[file.parent.name for file in files], backbones=FIT[1], out=tmp_path / "out")
    assert check_run(tmp_path / "out")["data"]["modality"] == "image"
    assert made.chosen.backbone == FIT[1]
    predictions = hs.load(tmp_path / "out").predict(arrays)
    assert np.mean([label == file.parent.name for label, file in zip(predictions.labels, files, strict=True)]) > 0.9


def test_the_seed_decides_everything_but_times(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 10)
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli("fit", "photos", "--out", out, "--seed", seed, *FIT).code == 0
    assert settled(record("a")) == settled(record("b"))
    assert Path("a/predictions_test.csv").read_bytes() == Path("b/predictions_test.csv").read_bytes()
    assert settled(record("a"))["data"]["split"] != settled(record("c"))["data"]["split"]
    # Another seed is another hold-out of the same data: it counts as well, and computes nothing.
    assert [record(out)["data"]["test_openings"] for out in "abc"] == [1, 2, 3]
    assert [n_computed(out) for out in "abc"] == [30, 0, 0]


def test_ten_new_images_compute_ten_rows_and_a_new_name_computes_none(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 10)
    assert cli("fit", "photos", "--out", "a", *FIT).code == 0
    photos(Path("photos"), 10, classes=["red"], start=50)
    assert cli("fit", "photos", "--out", "b", *FIT).code == 0
    assert n_computed("b") == 10
    Path("photos").rename("pictures")
    Path("pictures/red").rename("pictures/crimson")
    assert cli("fit", "pictures", "--out", "c", *FIT).code == 0
    assert n_computed("c") == 0
    assert record("c")["data"]["classes"] == ["blue", "crimson", "green"]


def test_a_second_backbone_computes_only_itself_and_a_warm_store_needs_no_budget(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 10)
    assert cli("fit", "photos", "--out", "a", *FIT).code == 0
    both = (*FIT, "--backbone", "efficientnet_lite1")
    assert cli("fit", "photos", "--out", "b", *both).code == 0
    assert n_computed("b") == 30
    assert cli("fit", "photos", "--out", "c", "--budget", "9s", *both).code == 0
    assert n_computed("c") == 0
    assert {each["backbone"] for each in record("c")["candidates"]} >= {FIT[1], "efficientnet_lite1"}


def test_copies_are_on_one_side_and_in_one_fold(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 10)
    for number in range(6):
        shutil.copy(f"photos/red/{number}.jpg", f"photos/red/copy of {number}.jpg")
    assert cli("fit", "photos", "--out", "out", *FIT).code == 0
    found = check_run(Path("out"))
    with Path("out/predictions_test.csv").open() as file:
        sealed = {row["item"] for row in csv.DictReader(file)}
    assert all((f"red/{number}.jpg" in sealed) == (f"red/copy of {number}.jpg" in sealed) for number in range(6))
    assert "exact_duplicates_across_sides" not in [finding["kind"] for finding in found["audit"]]


def test_every_line_of_the_log_is_json_and_the_candidates_are_in_it(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 5)
    assert cli("fit", "photos", "--out", "out", *FIT).code == 0
    assert [line["name"] for line in events("out", "candidate")] == [
        f"efficientnet_lite0 · {layers}" for layers in ("last", "stages", "all")
    ]
    assert len(events("out", "read")) == len(events("out", "done")) == 1


def test_without_out_runs_are_named_after_the_data(cli: Cli, network: Network) -> None:
    photos(Path("my.photos"), 4)
    assert cli("fit", "my.photos", *FIT).code == cli("fit", "my.photos", *FIT).code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["my.photos", "my.photos-2"]
    assert record("runs/my.photos-2")["out"] == str(Path("runs/my.photos-2"))


def test_evaluate_gives_the_numbers_of_the_run_and_counts_as_an_opening(cli: Cli, network: Network) -> None:
    photos(Path("data/train"), 8)
    photos(Path("data/test"), 5, start=50)
    assert cli("fit", "data", "--out", "out", *FIT).code == 0
    result = cli("evaluate", "out", "data", "--json")
    assert result.code == 0, result.err
    evaluation, inside = json.loads(result.out), record("out")["evaluation"]
    assert evaluation["n"] == 15
    assert evaluation["accuracy"] == inside["accuracy"]
    assert evaluation["log_loss"]["value"] == pytest.approx(inside["log_loss"]["value"], abs=1e-6)
    assert "Evaluating on the 15 items of the data's own test side." in result.err
    assert "These test items were looked at 2 times on this machine" in result.err


def test_evaluate_leaves_training_items_out_and_counts_the_hold_out(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    assert cli("fit", "photos", "--out", "out", *FIT).code == 0
    found = record("out")
    n_train, n_test = found["data"]["n_train"], found["data"]["n_test"]
    result = cli("evaluate", "out", "photos", "--json")
    assert f"{n_train} of 36 items were in the training of this model and are left out." in result.err
    assert "These test items were looked at 2 times on this machine" in result.err
    evaluation = json.loads(result.out)
    assert (evaluation["n"], evaluation["accuracy"]) == (n_test, found["evaluation"]["accuracy"])
    keys = json.loads(Path("out/bundle/manifest.json").read_text())["training_keys"]
    assert keys == sorted(keys)
    assert (len(keys), {len(key) for key in keys}) == (n_train, {16})


def test_training_items_on_the_test_side_are_left_out(cli: Cli, network: Network) -> None:
    photos(Path("photos/train"), 8)
    photos(Path("photos/test"), 4, start=50)
    assert cli("fit", "photos", "--out", "out", *FIT).code == 0
    photos(Path("photos/test"), 2)
    result = cli("evaluate", "out", "photos", "--json")
    assert "6 of 18 items were in the training of this model and are left out." in result.err
    assert json.loads(result.out)["n"] == 12


@dataclass(frozen=True)
class Real:
    """A run of the true network, in float32, and where its features are."""

    folder: Path
    photos: Path
    home: str


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """One fit that the tests below share."""
    base = tmp_path_factory.mktemp("real")
    folder = photos(base / "photos", 10)
    arguments = ["fit", str(folder), "--out", str(base / "out"), "--precision", "float32", "--device", "cpu", *FIT]
    assert run(arguments, started=time.monotonic()) == 0
    return Real(base / "out", folder, os.environ["HEADSTART_HOME"])


def test_the_true_network_tells_colours_apart(real: Real) -> None:
    found = check_run(real.folder)
    assert found["evaluation"]["accuracy"]["value"] > 0.6
    assert found["environment"]["dtype"] == "float32"


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-3)])
@pytest.mark.parametrize("batch", [1, 100])
def test_the_bundle_predicts_what_the_run_did(real: Real, precision: str, tolerance: float, batch: int) -> None:
    with (real.folder / "predictions_test.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:2] if batch == 1 else list(csv.DictReader(file))
    model = hs.load(real.folder, device="cpu", precision=precision)
    expected = np.array([[float(row[f"p:{name}"]) for name in model.classes] for row in rows])
    files = [real.photos / row["item"] for row in rows]
    found = [model.predict_proba(files[start : start + batch]) for start in range(0, len(files), batch)]
    np.testing.assert_allclose(np.vstack(found), expected, atol=tolerance)


def _python(code: str, home: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "HEADSTART_HOME": home},
        check=False,
    )


def test_loading_and_predicting_imports_no_training_code(real: Real, tmp_path: Path) -> None:
    code = f"""
import sys
import headstart as hs
model = hs.load({str(real.folder)!r}, device="cpu")
print(len(model.predict({str(real.photos)!r})))
training = ("sklearn", "headstart.search", "headstart.recipes", "headstart.reports", "headstart.selection")
print(sorted(name for name in sys.modules if name.startswith(training)))
"""
    done = _python(code, real.home, tmp_path)
    assert done.stdout.splitlines() == ["30", "[]"], done.stderr


@pytest.mark.parametrize("change", [(), ("--seed", "5")])
def test_a_second_run_computes_nothing_and_imports_no_torch(
    real: Real, tmp_path: Path, change: tuple[str, ...]
) -> None:
    asked = ["headstart", "fit", str(real.photos), "--out", "again", "--precision", "float32", "--device", "cpu", *FIT]
    code = f"""
import sys
from headstart.cli.main import main
sys.argv = {[*asked, *change]!r}
code = main()
heavy = ("torch", "timm", "transformers", "optuna", "sqlalchemy")
print(code, sorted(name for name in sys.modules if name.startswith(heavy)), file=sys.stderr)
"""
    done = _python(code, real.home, tmp_path)
    assert done.stderr.splitlines()[-1] == "0 []", done.stderr
    assert n_computed(tmp_path / "again") == 0
    if not change:
        assert settled(record(tmp_path / "again")) == settled(record(real.folder))
