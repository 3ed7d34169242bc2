"""`headstart audit`: what the recipe is asked, what is printed of what it returns, and how it ends."""

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
from headstart.errors import OptionError
from headstart.reports.record import AuditRecord


class Recipe:
    """Stands in for `recipes.audit.audit` and remembers what it was asked."""

    def __init__(self) -> None:
        self.record: AuditRecord = sample.audit()
        self.asked: dict[str, Any] = {}
        self.options: Any = None

    def __call__(self, data: Any, *, options: Any, **asked: Any) -> AuditRecord:
        """Answer."""
        self.asked, self.options = {"data": data, **asked}, options
        return self.record


@pytest.fixture
def recipe(fake: Fake) -> Recipe:
    """An audit that takes no time."""
    recipe = Recipe()
    fake("headstart.recipes.audit", audit=recipe)
    return recipe


def _words(text: str) -> str:
    return " ".join(text.replace("\u202f", " ").split())


def test_every_option_reaches_the_recipe(cli: Cli, recipe: Recipe) -> None:
    asks = {
        "--target": "kind",
        "--column": "path",
        "--groups": "patient",
        "--test": "test.csv",
        "--modality": "image",
        "--against": "other.csv",
        "--fix": "cleaned.csv",
        "--backbone": "local:a.pth",
        "--arch": "resnet18",
        "--budget": "90s",
        "--seed": "3",
        "--out": "x.html",
        "--device": "cpu",
        "--precision": "float32",
    }
    assert cli("audit", "photos.csv", "--overwrite", "--offline", *(w for ask in asks.items() for w in ask)).code == 0
    asked = recipe.options
    assert recipe.asked["data"] == "photos.csv"
    assert (recipe.asked["against"], recipe.asked["fix"]) == ("other.csv", "cleaned.csv")
    assert (asked.target, asked.column, asked.groups, asked.test) == ("kind", "path", "patient", "test.csv")
    assert (asked.modality, asked.backbones, asked.arch, asked.offline) == ("image", ("local:a.pth",), "resnet18", True)
    assert (asked.budget_s, asked.seed, asked.out, asked.overwrite) == (90.0, 3, "x.html", True)
    assert (asked.device, asked.precision) == ("cpu", "float32")
    assert asked.command.startswith("headstart audit photos.csv --overwrite --offline")


def test_the_defaults_are_those_of_the_library(cli: Cli, recipe: Recipe) -> None:
    import headstart

    assert cli("audit", "photos").code == 0
    typed, asked = recipe.options, recipe.asked
    assert headstart.audit("photos") is recipe.record
    assert recipe.asked["progress"] is SILENT
    assert {**asked, "progress": SILENT} == recipe.asked
    assert replace(typed, command="", started=0.0) == replace(recipe.options, command="", started=0.0)


def test_the_library_passes_everything_on(recipe: Recipe) -> None:
    import headstart

    headstart.audit(
        "x.csv", target="kind", column="words", groups="who", test=Path("t.csv"), against="y.csv", fix=Path("c.csv"),
        budget="1m", seed=4, out=Path("p.html"), backbones="net", overwrite=True, offline=True, device="cpu",
    )  # fmt: skip
    asked = recipe.options
    assert (recipe.asked["against"], recipe.asked["fix"]) == ("y.csv", Path("c.csv"))
    assert (asked.target, asked.column, asked.groups, asked.test) == ("kind", "words", "who", "t.csv")
    assert (asked.budget_s, asked.seed, asked.out, asked.backbones) == (60.0, 4, "p.html", ("net",))
    assert (asked.overwrite, asked.offline, asked.device) == (True, True, "cpu")
    with pytest.raises(OptionError, match="backbones must be a name"):
        headstart.audit("x.csv", backbones=[3])  # type: ignore[list-item]


def test_what_was_found_is_printed_with_what_to_do(cli: Cli, recipe: Recipe) -> None:
    result = cli("audit", "photos")
    words = _words(result.out)
    assert words.startswith("400 items were looked at: 1 serious finding, 1 warning, 1 note.")
    for each in recipe.record.findings:
        assert f"{each.severity} {_words(each.sentences)}" in words
    assert recipe.record.learning_curve is not None
    assert f"labels {recipe.record.learning_curve.sentence}" in words
    assert "page runs/clothing-audit.html" in words
    assert "list cleaned.csv: 390 to keep, 4 to regroup, 6 to remove" in words


def test_without_a_list_none_is_named(cli: Cli, recipe: Recipe) -> None:
    recipe.record = replace(recipe.record, manifest="", actions={}, learning_curve=None, findings=())
    words = _words(cli("audit", "photos").out)
    assert "list" not in words
    assert "labels" not in words


@pytest.mark.parametrize(
    ("severities", "code"),
    [((), 0), (("info",), 0), (("warning", "info"), 0), (("serious",), 1), (("serious", "info"), 1)],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_strict_ends_with_1_for_what_is_serious_alone(
    cli: Cli, recipe: Recipe, severities: tuple[str, ...], code: int, as_json: bool
) -> None:
    findings = tuple(each for each in recipe.record.findings if each.severity in severities)
    recipe.record = replace(recipe.record, findings=findings)
    more = ["--json"] if as_json else []
    result = cli("audit", "photos", "--strict", *more)
    assert result.code == code
    assert result.out
    assert "error" not in result.err
    assert cli("audit", "photos", *more).code == 0


def test_json_is_the_record_and_nothing_else(cli: Cli, recipe: Recipe) -> None:
    result = cli("audit", "photos", "--json")
    assert result.out == to_json(recipe.record) + "\n"
    assert json.loads(result.out)["schema"] == "headstart.audit/1"


def test_a_name_that_json_cannot_hold_is_said(cli: Cli, recipe: Recipe) -> None:
    recipe.record = sample.audit(("a\udcff", "b"))
    result = cli("audit", "photos", "--json")
    assert (result.code, result.out) == (2, "")
    assert "JSON can hold only names that are Unicode text" in result.err
    assert "leave --json out" in result.err
    assert cli("audit", "photos").code == 0


def test_names_that_steer_a_terminal_are_shown_harmlessly(cli: Cli, recipe: Recipe) -> None:
    record = sample.audit(("a\x1b[31m", "b\x1b[2J"))
    recipe.record = replace(record, verdict="\x1b[2J", manifest="\x1b[1m.csv", out="\x1b.html")
    assert "\x1b" not in cli("audit", "photos").out


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table that can be read; no network is there to see it."""
    rows = "".join(f"some words of item {row},{'ab'[row % 2]}\n" for row in range(10))
    path = tmp_path / "d.csv"
    path.write_text("text,label\n" + rows, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["nowhere.csv"], "nowhere.csv", ""),
        (["d.csv", "--against", "e.csv"], "e.csv", "d.csv"),
        (["d.csv", "--fix", "d.csv"], "exists, and a cleaned list must not replace it unasked", "Add --overwrite"),
        (["d.csv", "--fix", "d.csv", "--overwrite"], "must not replace the data", "another --fix"),
        (["d.csv", "--fix", "."], "is a folder", "cleaned.csv"),
        (["d.csv", "--fix", "list.txt"], "the cleaned list is a CSV file", "list.csv"),
        (["d.csv", "--out", "d.csv"], "a page must not replace it unasked", "Add --overwrite"),
        (["d.csv", "--out", "."], "--out must be a file for the page", ""),
        (["d.csv", "--backbone", "all_minilm_l6_v3", "--offline"], "all_minilm_l6_v3", "all_minilm_l6_v2"),
        (["d.csv", "--target", "labl"], "there is no column 'labl'", "label"),
        (["d.csv", "--seed", "-1"], "the seed must be 0 or greater", ""),
        (["d.csv", "--budget", "soon"], "a duration must be a positive number", ""),
        (["d.csv", "--modality", "txt"], "the modality must be", "text"),
        (["d.csv", "--strikt"], "--strikt", "--strict"),
    ],
)
def test_mistakes_end_with_a_sentence_and_a_hint(
    cli: Cli, data: Path, arguments: list[str], message: str, hint: str
) -> None:
    before = data.read_bytes()
    result = cli("audit", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert hint in result.err
    assert "Traceback" not in result.err
    assert data.read_bytes() == before
    assert not (data.parent / "runs").exists()


def test_the_help_names_every_option(cli: Cli) -> None:
    words = _words(cli("audit", "--help").out)
    for option in ("--against", "--fix", "--strict", "--groups", "--budget", "--json", "--overwrite", "--out"):
        assert option in words
