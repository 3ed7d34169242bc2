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

from end_to_end.conftest import COLOURS, Cli, Network, photos, record
from headstart.auditing import Finding
from headstart.data.dataset import Dataset
from headstart.data.split import Split
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


def _scans(table: Path, *, exchanged: bool) -> None:
    """Twelve patients of three colours with five scans each, one of them on both sides; test labels may be wrong."""
    names = list(COLOURS)
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "split"))
        for patient in range(12):
            noise = np.random.default_rng(patient).normal(0, 60, (9, 12, 3))
            for scan in range(5):
                path = Path("scans") / f"p{patient:02}_{scan}.png"
                path.parent.mkdir(exist_ok=True)
                own = np.random.default_rng([patient, scan]).normal(0, 25, (9, 12, 3))
                pixels = np.clip(np.array(COLOURS[names[patient % 3]]) + noise + own, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).resize((48, 36)).save(path)
                side = "test" if patient >= 9 or (patient == 0 and scan == 0) else "train"
                turned = side == "test" and exchanged
                rows.writerow((path, names[(patient + scan + turned if turned else patient) % 3], side))


def test_labels_of_the_test_decide_nothing_in_the_audit(
    cli: Cli, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, openings, findings = module.findings_of_fit, [], []

    def watched(dataset: Dataset, sides: Split, *rest: Any, **options: Any) -> tuple[Finding, ...]:
        found = whole(dataset, sides, *rest, **options)
        openings.append(sides.test.openings)
        findings.append(found)
        return found

    monkeypatch.setattr(module, "findings_of_fit", watched)
    for out, exchanged in (("a", False), ("b", True)):
        _scans(Path("scans.csv"), exchanged=exchanged)
        result = cli("fit", "scans.csv", *FIT, "--groups", "auto", "--out", out)
        assert result.code == 0, result.err
    assert openings == [0, 0]
    left_out = [sorted(each["name"] for each in record(out)["data"]["left_out"]) for out in "ab"]
    assert left_out[0] == left_out[1] == [f"scans/p00_{scan}.png" for scan in range(1, 5)]
    # The order of the items, and so which examples are shown, follows the strata.
    kinds = [sorted((each.kind, each.severity, each.count) for each in found) for found in findings]
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
def test_a_table_of_many_texts_goes_through_whatever_the_budget(cli: Cli, network: Network) -> None:
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
