"""`headstart rank`: what the recipe is asked, and what is printed of what it returns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import sample

from cli.conftest import Cli, Fake
from headstart._progress import SILENT
from headstart._records import to_json
from headstart.data.dataset import LeftOut
from headstart.reports.record import RankingRecord


class Recipe:
    """Stands in for `recipes.rank.rank` and remembers what it was asked."""

    def __init__(self) -> None:
        self.record: RankingRecord = sample.ranking()
        self.data: Any = None
        self.options: Any = None
        self.sample = 0
        self.progress: Any = None

    def __call__(self, data: Any, *, options: Any, sample: int, progress: Any) -> RankingRecord:
        """Answer."""
        self.data, self.options, self.sample, self.progress = data, options, sample, progress
        return self.record


@pytest.fixture
def recipe(fake: Fake) -> Recipe:
    """A ranking that takes no time."""
    recipe = Recipe()
    fake("headstart.recipes.rank", rank=recipe)
    return recipe


def _words(text: str) -> str:
    return " ".join(text.replace("\u202f", " ").split())


def test_every_option_reaches_the_recipe(cli: Cli, recipe: Recipe) -> None:
    asks = {
        "--target": "kind",
        "--column": "path",
        "--groups": "patient",
        "--test": "0.3",
        "--modality": "image",
        "--arch": "resnet18",
        "--max-params": "30M",
        "--sample": "500",
        "--budget": "90s",
        "--seed": "3",
        "--out": "x.html",
        "--device": "cpu",
        "--precision": "float32",
    }
    arguments = ["rank", "photos.csv", "--overwrite", "--offline", *(word for ask in asks.items() for word in ask)]
    arguments += ["--backbone", "local:a.pth", "--backbone", "b", "--licence", "MIT", "--licence", "permissive"]
    assert cli(*arguments).code == 0
    asked = recipe.options
    assert (recipe.data, recipe.sample) == ("photos.csv", 500)
    assert (asked.target, asked.column, asked.groups, asked.test) == ("kind", "path", "patient", "0.3")
    assert (asked.modality, asked.arch, asked.max_params, asked.offline) == ("image", "resnet18", 30_000_000, True)
    assert (asked.backbones, asked.licences) == (("local:a.pth", "b"), ("MIT", "permissive"))
    assert (asked.budget_s, asked.seed, asked.out, asked.overwrite) == (90.0, 3, "x.html", True)
    assert (asked.device, asked.precision) == ("cpu", "float32")
    assert asked.command.startswith("headstart rank photos.csv --overwrite --offline")


def test_the_defaults_are_those_of_the_library(cli: Cli, recipe: Recipe) -> None:
    import headstart

    assert cli("rank", "photos").code == 0
    typed, sample = recipe.options, recipe.sample
    assert headstart.rank("photos") is recipe.record
    assert recipe.progress is SILENT
    assert replace(typed, command="", started=0.0) == replace(recipe.options, command="", started=0.0)
    assert sample == recipe.sample == 1000


@pytest.mark.parametrize("few", ["0", "-1", "many"])
def test_a_number_of_parameters_that_is_none_is_a_mistake(few: str, cli: Cli, recipe: Recipe) -> None:
    result = cli("rank", "photos", "--max-params", few)
    assert (result.code, result.out) == (2, "")
    assert recipe.options is None


def test_the_table_says_what_each_costs_and_where_it_stands(cli: Cli, recipe: Recipe) -> None:
    result = cli("rank", "photos")
    words = _words(result.out)
    record = recipe.record
    assert words.startswith(f"{record.chosen}. {_words(record.why)}")
    for row in record.ranking:
        assert row.backbone in words
    assert "chosen" in words
    assert "behind" in words
    assert words.count(" unknown ") >= 2  # the licence and the operations of the local one
    assert f"page {record.out}" in words
    assert words.endswith(f"next headstart fit photos --backbone {record.chosen}")


def test_the_next_command_keeps_what_the_data_needs(cli: Cli, recipe: Recipe) -> None:
    asks = ["--target", "the kind", "--column", "path", "--groups", "patient", "--test", "0.3", "--modality", "image"]
    result = cli("rank", "photos", *asks, "--backbone", "local:w.pth", "--arch", "resnet18", "--seed", "3")
    asked = "--target 'the kind' --column path --groups patient --test 0.3 --modality image"
    assert _words(result.out).endswith(f"next headstart fit photos --backbone {recipe.record.chosen} {asked}")


@pytest.mark.parametrize(
    ("file", "typed", "chosen"),
    [
        ("net/config.json", "net", "local/net"),
        ("net/config.json", "net/", "local/net"),
        ("w.safetensors", "local:w.safetensors", "local/w"),
        ("net.keras", "net.keras", "local/net"),
    ],
)
def test_the_next_command_names_a_local_backbone_as_it_was_typed(
    file: str,
    typed: str,
    chosen: str,
    cli: Cli,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    rows = (replace(recipe.record.ranking[0], backbone=chosen), *recipe.record.ranking[1:])
    recipe.record = replace(recipe.record, ranking=rows, chosen=chosen)
    arch = ["--arch", "resnet18"] if typed.startswith("local:") else []
    result = cli("rank", "photos", "--backbone", "hf/some/net", "--backbone", typed, *arch)
    assert _words(result.out).endswith(" ".join(["next headstart fit photos --backbone", typed, *arch]))


def test_what_was_left_out_is_listed_with_the_reason(cli: Cli, recipe: Recipe) -> None:
    recipe.record = replace(recipe.record, left_out=(LeftOut("timm/x", "the disk is full"),))
    assert "left out timm/x: the disk is full" in _words(cli("rank", "photos").out)


def test_json_is_the_record_and_nothing_else(cli: Cli, recipe: Recipe) -> None:
    result = cli("rank", "photos", "--json")
    assert result.out == to_json(recipe.record) + "\n"
    assert json.loads(result.out)["schema"] == "headstart.ranking/1"


def test_names_that_steer_a_terminal_are_shown_harmlessly(cli: Cli, recipe: Recipe) -> None:
    rows = (replace(recipe.record.ranking[0], backbone="a\x1b[31m"), *recipe.record.ranking[1:])
    recipe.record = replace(recipe.record, ranking=rows, chosen="a\x1b[31m", source="b\x1b[2J")
    assert "\x1b" not in cli("rank", "photos").out
