"""The audit within `fit`, and what `--groups auto` repairs: from files to the run folder."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from end_to_end.conftest import Cli, Network, photos, record
from headstart.data.dataset import Dataset
from headstart.data.split import SealedTest, Split
from headstart.recipes import fit as module

FIT = ("--backbone", "efficientnet_lite0", "--budget", "60s", "--seed", "0")


def _predicted(folder: str) -> list[str]:
    with (Path(folder) / "predictions_test.csv").open(newline="", encoding="utf-8") as file:
        return [row["item"] for row in csv.DictReader(file)]


def _kinds(found: dict[str, Any]) -> dict[str, Any]:
    return {each["kind"]: each for each in (found["audit"] if "audit" in found else found["findings"])}


def _sides(n_shared: int) -> Path:
    """Forty-five training and fifteen test pictures, and copies of training pictures in the test under their labels."""
    folder = Path("photos")
    train, _ = photos(folder / "train", 15), photos(folder / "test", 5, start=500)
    for number, path in enumerate(sorted(train.glob("*/*.jpg"))[::7][:n_shared]):
        target = folder / "test" / path.parent.name / f"again{number}.jpg"
        if number % 2:
            shutil.copy(path, target)
        else:
            Image.open(path).resize((44, 33)).save(target, quality=60)
    return folder


def test_without_it_copies_across_the_sides_are_told_with_the_accuracy_on_clean_items(
    cli: Cli, network: Network
) -> None:
    _sides(5)
    result = cli("fit", "photos", *FIT, "--out", "run")
    assert result.code == 0, result.err
    found = _kinds(record("run"))
    assert (found["exact_duplicates_across_sides"]["count"], found["near_duplicates_across_sides"]["count"]) == (2, 3)
    for kind in ("exact_duplicates_across_sides", "near_duplicates_across_sides"):
        assert found[kind]["severity"] == "serious"
        assert "On the test items without a copy in training the model is right on" in found[kind]["effect"]
        assert "--groups auto" in found[kind]["advice"]
    assert record("run")["data"]["n_train"] == 45


def test_groups_auto_leaves_out_training_items_that_the_test_has(cli: Cli, network: Network) -> None:
    _sides(5)
    result = cli("fit", "photos", *FIT, "--groups", "auto", "--out", "run")
    assert result.code == 0, result.err
    run = record("run")
    assert not [kind for kind in _kinds(run) if kind.endswith("across_sides")]
    assert (run["data"]["n_train"], run["data"]["n_test"]) == (40, 20)
    copied = [each for each in run["data"]["left_out"] if "of a test item" in each["reason"]]
    assert len(copied) == 5
    assert all(each["name"].startswith("train/") for each in copied)
    assert any("5 training items that belong with test items are left out" in note for note in run["data"]["notes"])
    assert len(run["data"]["test_groups"]) == 20
    assert "5 training items that belong with test items are left out" in result.err


def test_groups_auto_keeps_copies_on_one_side_of_a_hold_out(cli: Cli, network: Network) -> None:
    folder = photos(Path("photos"), 15)
    # Each picture is there twice, once smaller.
    for path in sorted(folder.glob("*/*.jpg")):
        Image.open(path).resize((44, 33)).save(path.with_name(f"x{path.name}"), quality=60)
    assert cli("fit", "photos", *FIT, "--groups", "auto", "--out", "run").code == 0
    test = set(_predicted("run"))
    assert test
    for name in test:
        label, _, file = name.rpartition("/")
        assert f"{label}/{file.removeprefix('x') if file.startswith('x') else 'x' + file}" in test
    assert not [kind for kind in _kinds(record("run")) if kind.endswith("across_sides")]


def test_sides_that_share_too_much_are_made_anew(cli: Cli, network: Network) -> None:
    folder = Path("photos")
    photos(folder / "train", 12)
    for path in sorted((folder / "train").glob("*/*.jpg"))[::3]:
        target = folder / "test" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert cli("fit", "photos", *FIT, "--groups", "auto", "--out", "run").code == 0
    run = record("run")
    assert any("made anew" in note for note in run["data"]["notes"])
    assert not [kind for kind in _kinds(run) if kind.endswith("across_sides")]


def test_labels_of_the_test_are_not_looked_at_by_the_audit(
    cli: Cli, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _sides(5)
    whole, openings, findings = module.findings_of_fit, [], []

    def watched(dataset: Dataset, sides: Split, *rest: Any, **options: Any) -> Any:
        found = whole(dataset, sides, *rest, **options)
        assert isinstance(sides.test, SealedTest)
        openings.append(sides.test.openings)
        findings.append(found)
        return found

    monkeypatch.setattr(module, "findings_of_fit", watched)
    assert cli("fit", "photos", *FIT, "--groups", "auto", "--out", "a").code == 0
    left_out = record("a")["data"]["left_out"]
    # The same pictures, but the labels of the test are exchanged in turns.
    (folder / "test").rename("test")
    for number, path in enumerate(sorted(Path("test").glob("*/*.jpg"))):
        names = ("blue", "green", "red")
        target = folder / "test" / names[(names.index(path.parent.name) + 1 + number % 2) % 3] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(f"{path.parent.name}{path.name}").write_bytes(path.read_bytes())
    assert cli("fit", "photos", *FIT, "--groups", "auto", "--out", "b").code == 0
    assert openings == [0, 0]
    assert [each["name"] for each in record("b")["data"]["left_out"]] == [each["name"] for each in left_out]
    kinds = [[(each.kind, each.severity, each.count) for each in found] for found in findings]
    assert kinds[0] == kinds[1]


def test_fit_takes_the_cleaned_list(cli: Cli, network: Network) -> None:
    folder = _sides(5)
    Image.new("RGB", (48, 36), (255, 255, 255)).save(folder / "train" / "red" / "blank.jpg")
    (folder / "train" / "blue" / "broken.jpg").write_bytes(b"no picture")
    asked = ("--backbone", "efficientnet_lite0", "--budget", "60s")
    first = cli("audit", "photos", *asked, "--fix", "lists/cleaned.csv", "--strict", "--json")
    assert first.code == 1, first.err
    told = json.loads(first.out)
    assert told["actions"]["remove"] == 7
    assert Path(told["out"]).read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert cli("fit", "lists/cleaned.csv", *FIT, "--out", "run").code == 0
    run = record("run")
    assert (run["data"]["n_train"], run["data"]["n_test"], run["data"]["left_out"]) == (40, 20, [])
    assert not [kind for kind in _kinds(run) if kind.endswith("across_sides")]
    (folder / "train" / "red" / "0.jpg").write_bytes(b"changed")
    refused = cli("fit", "lists/cleaned.csv", *FIT, "--out", "again")
    assert refused.code == 2
    assert "must fit the items that it was made of" in refused.err
    assert not Path("again").exists()


def _forget_new_fields(run: Path) -> None:
    path = run / "run.json"
    text = json.loads(path.read_text(encoding="utf-8"))
    fields = ("kind", "severity", "count", "items", "advice")
    text["audit"] = [{name: each[name] for name in fields} for each in text["audit"]]
    path.write_text(json.dumps(text), encoding="utf-8")


def test_runs_of_older_versions_are_still_read(cli: Cli, network: Network) -> None:
    _sides(3)
    for seed in ("0", "1"):
        assert cli("fit", "photos", *FIT[:-1], seed, "--out", f"run{seed}").code == 0
        _forget_new_fields(Path(f"run{seed}"))
    assert cli("report", "run0").code == 0
    assert cli("compare", "run0", "run1").code == 0
    evaluated = cli("evaluate", "run0", "photos/test", "--json")
    assert evaluated.code == 0, evaluated.err


@pytest.mark.slow
def test_a_table_of_many_texts_goes_through_in_memory_that_grows_with_it(cli: Cli, network: Network) -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(5_000)])
    n_rows = 200_000
    with Path("big.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("text", "label"))
        drawn = rng.integers(0, len(words), (n_rows, 8))
        table.writerows((" ".join(words[row]), "ab"[number % 2]) for number, row in enumerate(drawn))
        table.writerow((" ".join(words[drawn[7]]), "a"))
    result = cli("audit", "big.csv", "--budget", "5s", "--fix", "cleaned.csv", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["n_items"] == n_rows + 1
    assert _kinds(found)["exact_duplicates"]["count"] == 1
    assert any("of 200,001 items, a stratified sample" in note for note in found["notes"])
    assert sum(found["actions"].values()) == n_rows + 1
