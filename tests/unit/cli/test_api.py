"""The library's verbs: keywords become options, and the call that repeats a run can be written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart
from cli.conftest import Fake
from headstart._progress import SILENT
from headstart.errors import OptionError
from headstart.recipes.options import FitOptions


@pytest.fixture
def asked(fake: Fake) -> dict[str, Any]:
    """What the recipe was asked last."""
    asked: dict[str, Any] = {}

    def fit(data: Any, *, options: FitOptions, progress: Any) -> str:
        asked.update(data=data, options=options, progress=progress)
        return "a run"

    fake("headstart.recipes.fit", fit=fit)
    return asked


def test_keywords_become_options(asked: dict[str, Any]) -> None:
    answer = headstart.fit(
        "x.csv", target="kind", column="words", groups="who", test=0.3, budget="1m", seed=4, out=Path("runs/x"),
        backbones="all_minilm_l6_v2", overwrite=True, device="cpu", precision="float32",
    )  # fmt: skip
    options = asked["options"]
    assert answer == "a run"
    assert (options.target, options.column, options.groups, options.test) == ("kind", "words", "who", 0.3)
    assert (options.budget_s, options.seed, options.out, options.overwrite) == (60.0, 4, "runs/x", True)
    assert (options.backbones, options.device, options.precision) == (("all_minilm_l6_v2",), "cpu", "float32")
    assert asked["progress"] is SILENT


def test_the_defaults_are_those_of_the_command_line(asked: dict[str, Any]) -> None:
    headstart.fit("photos")
    defaults = FitOptions(started=asked["options"].started, command="headstart.fit('photos')")
    assert asked["options"] == defaults


def test_the_call_that_repeats_the_run_is_written_down(asked: dict[str, Any]) -> None:
    headstart.fit(Path("photos"), budget=20, seed=1, strategies=["linear"])
    assert asked["options"].command == "headstart.fit('photos', strategies=('linear',), budget=20.0, seed=1)"


def test_where_trainings_are_watched_is_passed_on_and_written_down(asked: dict[str, Any]) -> None:
    headstart.fit("photos", tensorboard=Path("logs"))
    assert asked["options"].tensorboard == "logs"
    assert asked["options"].command == "headstart.fit('photos', tensorboard='logs')"
    headstart.fit("photos", tensorboard=True)
    assert asked["options"].command == "headstart.fit('photos', tensorboard=True)"


def test_settings_are_written_down_as_they_are_given(asked: dict[str, Any]) -> None:
    headstart.fit("photos", strategies="knn", settings={"k": 5})
    assert asked["options"].command == "headstart.fit('photos', strategies=('knn',), settings={'k': 5})"
    assert asked["options"].settings == (("k", 5),)


def test_a_preference_is_written_down_beside_a_limit(asked: dict[str, Any]) -> None:
    headstart.fit("photos", prefer="small", max_size_mb=20)
    assert asked["options"].command == "headstart.fit('photos', max_size_mb=20, prefer='small')"


def test_what_lives_in_memory_is_named(asked: dict[str, Any]) -> None:
    headstart.fit(["a", "b"], targets=np.array([0, 1]), test=Path("t.csv"))
    assert asked["options"].command == "headstart.fit(data, test='t.csv', targets=targets)"
    assert asked["options"].test == "t.csv"


@pytest.mark.parametrize("given", [3, "3", (1, 3), "1x3", " 1 X 3 "])
def test_folds_are_a_number_or_repeats_of_it(asked: dict[str, Any], given: Any) -> None:
    headstart.fit("photos", cv=given)
    assert asked["options"].cv == (1, 3)
    assert asked["options"].command == "headstart.fit('photos', cv=(1, 3))"


@pytest.mark.parametrize("given", [1, "0x5", "5x1", "many", "10x", (2, 3, 4), -5, "2.5"])
def test_folds_that_are_no_cross_validation_are_a_mistake(asked: dict[str, Any], given: Any) -> None:
    with pytest.raises(headstart.OptionError, match="cross-validation is a number of folds, 2 or more"):
        headstart.fit("photos", cv=given)


def test_a_budget_that_is_no_time_is_a_mistake(asked: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="a duration must be a positive number with a unit s, m or h, but got 'soon'"):
        headstart.fit("photos", budget="soon")


def test_evaluate_passes_everything_on(fake: Fake) -> None:
    seen: list[Any] = []
    fake("headstart.recipes.evaluate", evaluate=lambda *args, **options: seen.append((args, options)))
    headstart.evaluate("run", "new.csv", target="kind", column="words", device="cpu", precision="float32")
    options = {"target": "kind", "column": "words", "device": "cpu", "precision": "float32", "progress": SILENT}
    assert seen == [(("run", "new.csv"), options)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"strategies": 5}, "strategies must be a name or a list of names, but got 5"),
        ({"backbones": ["a", 3]}, "backbones must be a name or a list of names, but got ['a', 3]"),
        ({"settings": ["k=1"]}, "settings must be a dictionary of names and values, but got ['k=1']"),
    ],
)
def test_what_has_another_type_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        headstart.fit("x.csv", **asked)
    assert str(caught.value) == message
