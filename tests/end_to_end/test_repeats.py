"""Repeated cross-validation from the command line, and two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from end_to_end.conftest import Cli, Network, photos, record

FIT = ("--backbone", "efficientnet_lite0", "--offline", "--json", "--budget", "20m")


@pytest.mark.usefixtures("network")
def test_repeats_are_in_the_record_and_runs_with_one_seed_are_compared_item_by_item(cli: Cli, tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    assert cli("fit", data, *FIT, "--out", "new", "--cv", "3x4").code == 0
    assert cli("fit", data, *FIT, "--out", "old", "--strategy", "knn").code == 0
    new, old = record("new"), record("old")
    assert new["validation"] == {"n_folds": 4, "n_repeats": 3, "n_wanted": 3, "notes": []}
    assert (old["validation"]["n_folds"], old["validation"]["n_repeats"]) == (5, 1)
    for run in (new, old):
        selection = run["selection"]
        assert selection["n_candidates"] == len(run["candidates"])
        assert selection["apparent"] == run["fit_check"]["out_of_fold"]
        assert selection["corrected"]["value"] == pytest.approx(selection["apparent"]["value"] - selection["optimism"])
    compared = json.loads(cli("compare", "new", "old", "--json").out)
    assert compared["paired"]
    difference = new["evaluation"]["accuracy"]["value"] - old["evaluation"]["accuracy"]["value"]
    assert compared["difference"]["value"] == pytest.approx(difference)
    assert {"strategy", "folds", "repeats"} <= {each["name"] for each in compared["settings"]}


def test_a_rare_class_and_many_folds_are_no_mistake(cli: Cli, network: Network, tmp_path: Path) -> None:
    data = photos(photos(tmp_path / "photos", 12), 3, classes=("rare",))
    result = cli("fit", data, *FIT, "--strategy", "linear", "--out", "run", "--cv", "2x8")
    assert result.code == 0
    assert "Some folds hold out no item of 'rare'" in result.err
    assert network.n_items > 0
