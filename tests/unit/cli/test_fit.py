"""`headstart fit`: what the recipe is asked, and what is printed of what it returns."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from typing import Any

import pytest
from reports import sample

from cli.conftest import Cli, Fake
from headstart._records import from_json, to_json
from headstart.adaptation.strategies import MOVING, STRATEGIES
from headstart.auditing import Finding
from headstart.reports.record import Run


class Recipe:
    """Stands in for `recipes.fit.fit` and remembers what it was asked."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.data: Any = None
        self.options: Any = None

    def __call__(self, data: Any, *, options: Any, progress: Any) -> Run:
        """Answer."""
        self.data, self.options = data, options
        progress.say("Chosen: something")
        return self.run


@pytest.fixture
def recipe(fake: Fake) -> Recipe:
    """A fit that takes no time."""
    recipe = Recipe(replace(sample.photos(), out="runs/my clothes"))
    fake("headstart.recipes.fit", fit=recipe)
    return recipe


def unwrapped(text: str) -> str:
    """The text on one line; the narrow spaces before percent signs stay."""
    return re.sub(r"[ \n]+", " ", text).strip()


def test_every_option_reaches_the_recipe(cli: Cli, recipe: Recipe) -> None:
    asks = {
        "--target": "kind",
        "--column": "path",
        "--groups": "patient",
        "--test": "0.3",
        "--task": "classification",
        "--modality": "image",
        "--strategy": "linear",
        "--set": "l2=0.1",
        "--budget": "1.5m",
        "--cv": "10x4",
        "--trials": "30",
        "--storage": "trials.db",
        "--control": "network",
        "--prefer": "small",
        "--max-size": "20",
        "--seed": "3",
        "--out": "runs/x",
        "--device": "cpu",
        "--precision": "float32",
    }
    arguments = ["fit", "photos.csv", "--overwrite", *(word for option in asks.items() for word in option)]
    arguments += ["--backbone", "efficientnet_lite0", "--backbone", "timm/resnet18"]
    assert cli(*arguments).code == 0
    asked = recipe.options
    assert recipe.data == "photos.csv"
    assert (asked.target, asked.column, asked.groups, asked.test) == ("kind", "path", "patient", "0.3")
    assert (asked.task, asked.modality, asked.seed, asked.budget_s) == ("classification", "image", 3, 90.0)
    assert asked.cv == (10, 4)
    assert (asked.trials, asked.storage) == (30, "trials.db")
    assert (asked.backbones, asked.strategies) == (("efficientnet_lite0", "timm/resnet18"), ("linear",))
    assert asked.settings == (("l2", "0.1"),)
    assert asked.control == "network"
    assert (asked.prefer, asked.max_size_mb) == ("small", 20.0)
    assert (asked.out, asked.overwrite, asked.device, asked.precision) == ("runs/x", True, "cpu", "float32")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        *(
            (
                ("--trials", given),
                f"the trials must be a whole number, 1 or more and less than a million, but got {given!r}",
                "Write for example --trials 30.",
            )
            for given in ("0", "-3", "many", "2.5")
        ),
        (
            ("--storage", "trials.db"),
            "trials are kept in a storage, but there are none to keep in 'trials.db'",
            "Add --trials 30, or leave --storage out.",
        ),
        (
            ("--set", "l2"),
            "a setting must be KEY=VALUE, but got 'l2'",
            "Write for example --set k=5.",
        ),
        (
            ("--prefer", "acurate", "--max-size", "5"),
            "the preference must be balanced or small or accurate, but got 'acurate'",
            "Did you mean 'accurate'?",
        ),
        (
            ("--strategy", "knn", "--set", "n=5"),
            "no setting of knn is called 'n'; there is k",
            "Choose one of these.",
        ),
        (
            ("--strategy", "knn", "--set", "k=0"),
            "the setting k of knn must be a whole number from 1 to 1000 or auto, but got 0",
            "Left out, it is auto.",
        ),
        (
            ("--strategy", "kn"),
            "no strategy is called 'kn'; there are linear, prototype, knn,",
            "Did you mean 'knn'?",
        ),
    ],
)
def test_a_wrong_strategy_or_setting_is_the_users_mistake(
    cli: Cli, recipe: Recipe, arguments: tuple[str, ...], message: str, hint: str
) -> None:
    result = cli("fit", "photos", *arguments)
    assert result.code == 2
    assert message in unwrapped(result.err)
    assert hint in unwrapped(result.err)
    assert recipe.options is None


@pytest.mark.parametrize(
    ("arguments", "tensorboard"),
    [((), False), (("--tensorboard",), True), (("--tensorboard-out", "logs"), "logs")],
)
def test_trainings_can_be_watched_in_tensorboard(
    cli: Cli, recipe: Recipe, arguments: tuple[str, ...], tensorboard: str | bool
) -> None:
    assert cli("fit", "photos", *arguments).code == 0
    assert (recipe.options.tensorboard, recipe.options.mlflow) == (tensorboard, False)


@pytest.mark.parametrize(("option", "package"), [("--tensorboard", "tensorboard"), ("--mlflow", "mlflow")])
def test_an_extra_that_is_not_installed_is_the_users_mistake(
    cli: Cli, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, option: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = cli("fit", "photos", option)
    assert result.code == 2
    assert f"needs the package {package!r}, which is not installed" in unwrapped(result.err)
    assert f"Run: pip install 'headstart[{package}]'" in unwrapped(result.err)
    assert recipe.options is None


def test_the_command_that_repeats_the_run_can_be_typed(cli: Cli, recipe: Recipe) -> None:
    cli("fit", "my photos", "--seed", "1")
    assert recipe.options.command == "headstart fit 'my photos' --seed 1"


def test_the_budget_begins_with_the_process_and_is_two_minutes(cli: Cli, recipe: Recipe) -> None:
    cli("fit", "photos")
    assert recipe.options.budget_s == 120.0
    assert recipe.options.started > 0


def test_the_summary_says_what_was_found_and_what_to_type_next(cli: Cli, recipe: Recipe) -> None:
    result = cli("fit", "photos")
    run = recipe.run
    assert result.code == 0
    assert result.err == "Chosen: something\n"
    words = unwrapped(result.out)
    assert words.startswith(run.verdict.replace(" %", "\u202f%"))
    share = f"{100 * run.evaluation.accuracy.value:.1f}\u202f%"
    assert f"accuracy {share} (" in words
    assert f"on {run.data.n_test} sealed test items" in words
    assert "control The pretrained knowledge helps" in words
    assert f"ties as good out-of-fold: {run.chosen.ties[0]}" in words
    assert "left out 2 items, listed in the report" in words
    assert "report runs/my clothes/report.html" in words
    assert words.endswith("next headstart predict 'runs/my clothes' PHOTOS --out predictions.csv")
    assert max(map(len, result.out.splitlines())) <= 100


def test_cautions_are_serious_findings_and_repeated_openings(cli: Cli, recipe: Recipe) -> None:
    serious = Finding("conflict", "serious", 2, (), "Correct them.", "Two items have two labels.")
    data = replace(recipe.run.data, test_openings=3)
    recipe.run = replace(recipe.run, audit=(serious, Finding("x", "info", 1, (), "Of no weight.")), data=data)
    words = unwrapped(cli("fit", "photos").out)
    assert "caution Two items have two labels. Correct them. This sealed test was opened 3 times" in words
    assert "Of no weight" not in words


def test_many_ties_are_counted(cli: Cli, recipe: Recipe) -> None:
    recipe.run = replace(recipe.run, chosen=replace(recipe.run.chosen, ties=("a", "b", "c", "d", "e")))
    assert "as good out-of-fold: a; b; c and 2 more" in cli("fit", "photos").out


def test_json_is_the_record_of_the_run_and_nothing_else(cli: Cli, recipe: Recipe) -> None:
    result = cli("fit", "photos", "--json")
    assert result.out == to_json(recipe.run) + "\n"
    assert from_json(result.out, Run) == recipe.run
    assert json.loads(result.out)["schema"] == "headstart.run/1"


def test_a_text_model_is_followed_by_texts(cli: Cli, recipe: Recipe) -> None:
    recipe.run = replace(sample.texts(), out="runs/reviews")
    assert "headstart predict runs/reviews TEXTS.csv --out predictions.csv" in cli("fit", "x.csv").out


def test_class_names_that_steer_a_terminal_are_shown_harmlessly(cli: Cli, recipe: Recipe) -> None:
    recipe.run = replace(sample.hostile(), verdict="fine \x1b[31mred", out="r")
    out = cli("fit", "x").out
    assert "\x1b" not in out
    assert "fine \ufffd[31mred" in out


def test_the_help_names_every_strategy(cli: Cli) -> None:
    words = set(re.findall(r"[a-z0-9_]+", cli("fit", "--help").out))
    assert {*STRATEGIES, *MOVING} <= words
