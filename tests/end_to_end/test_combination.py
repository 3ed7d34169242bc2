"""A fit whose model is an average of several heads, from the command line to a bundle that others can use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from end_to_end.conftest import Cli, Network, photos, picture, record
from end_to_end.test_main_job import FIT, check_run
from headstart.search.combine import Combination

STRATEGIES = ("--strategy", "linear", "--strategy", "knn", "--strategy", "prototype")


def _doubtful(folder: Path) -> Path:
    """Photos of which some do not show what they are filed under, so that no head is always right."""
    photos(folder, 14)
    for item in range(4):
        picture(folder / "blue" / f"{item}.jpg", (90, 150, 90), seed=item)
        picture(folder / "green" / f"{item}.jpg", (120, 90, 150), seed=50 + item)
    return folder


def test_a_combination_is_offered_and_said_to_be_no_better(cli: Cli, network: Network) -> None:
    _doubtful(Path("photos"))
    result = cli("fit", "photos", "--out", "out", *FIT, *STRATEGIES)
    assert result.code == 0, result.err
    found = check_run(Path("out"))
    assert found["chosen"]["members"] == []
    assert not any(each["members"] for each in found["candidates"])


def test_an_average_becomes_the_model(cli: Cli, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Combination, "is_better", property(lambda self: True))
    monkeypatch.setattr("headstart.search.combine.LEAST_WEIGHT", 1e-9)
    monkeypatch.setattr("headstart.search.combine.LEAST_ITEMS", 1)
    _doubtful(Path("photos"))
    result = cli("fit", "photos", "--out", "out", *FIT, *STRATEGIES)
    assert result.code == 0, result.err
    found = check_run(Path("out"))
    (*singles, combined) = found["candidates"]
    members = found["chosen"]["members"]
    assert found["chosen"]["strategy"] == combined["strategy"] == "combination"
    assert members == combined["members"]
    assert len(members) > 1
    assert sum(each["weight"] for each in members) == pytest.approx(1)
    for each in members:
        of_it = singles[each["candidate"]]
        assert (each["strategy"], each["layers"]) == (of_it["strategy"], of_it["settings"]["layers"])
    assert found["fit_check"]["out_of_fold"] == combined["oof"]["accuracy"]
    assert f"combination of {len(members)}" in result.out
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "What the model averages" in page
    card = Path("out/bundle/README.md").read_text(encoding="utf-8")
    assert f"The weighted average of the probabilities of {len(members)} heads:" in card
    assert json.loads(Path("out/bundle/manifest.json").read_text())["schema"] == "headstart.bundle/3"

    model = hs.load("out")
    assert len(model.bundle.predictor.members) == len(members)
    assert len(model.bundle.backbones) == 1
    again = cli("predict", "out", "photos", "--out", "predictions.csv")
    assert again.code == 0, again.err
    fresh = photos(Path("fresh"), 4, start=100)
    evaluated = cli("evaluate", "out", fresh, "--json")
    assert evaluated.code == 0, evaluated.err
    assert np.isfinite(json.loads(evaluated.out)["log_loss"]["value"])


def test_a_model_that_must_be_smaller_than_its_network(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    result = cli("fit", "photos", "--out", "out", *FIT, "--max-size", "1")
    assert result.code == 2
    assert "no backbone is within what the model may cost: efficientnet_lite0: its network has" in result.err
    assert "--max-size" in result.err
    assert not Path("out").exists()


def test_limits_that_leave_room_change_nothing(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    for name, more in (("free", ()), ("limited", ("--max-size", "500", "--max-latency", "60000"))):
        result = cli("fit", "photos", "--out", name, *FIT, *more)
        assert result.code == 0, result.err
    assert record("free")["chosen"] == record("limited")["chosen"]


@pytest.mark.parametrize(
    ("option", "value"), [("--max-latency", "0"), ("--max-latency", "nan"), ("--max-size", "-3"), ("--max-size", "inf")]
)
def test_limits_that_are_none(cli: Cli, option: str, value: str) -> None:
    result = cli("fit", "photos", option, value)
    assert result.code == 2
    assert f"the most that is allowed of {option.removeprefix('--max-')} must be a positive number of" in result.err
