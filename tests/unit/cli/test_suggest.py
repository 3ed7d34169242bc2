"""`headstart suggest`: what the recipe is asked, what is printed and written, and what is refused."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Cli
from headstart._records import to_json
from headstart.data.dataset import LeftOut
from headstart.recipes import suggest as recipes
from headstart.recipes.suggest import SuggestOptions
from headstart.reports.suggested import Guess, Suggestion, SuggestionRecord

RECORD = SuggestionRecord(
    run="run",
    modality="text",
    backbones=("minilm",),
    n_asked=2,
    n_unlabelled=40,
    n_copies=3,
    n_known=1,
    rule="One of each cluster.",
    suggestions=(
        Suggestion(
            1, "a.csv row 3", "unsure between x and y: 0.41 / 0.38", 7, (Guess("x", 0.41), Guess("y", 0.38)), "so"
        ),
        Suggestion(
            2, "a.csv row 9", "unsure between y and x: 0.50 / 0.49", 2, (Guess("y", 0.5), Guess("x", 0.49)), "\x1b"
        ),
    ),
    seed=0,
    version="0",
    left_out=(LeftOut("a.csv row 4", "empty text"),),
    notes=("Few items.",),
)


class Recipe:
    """Stands in for `recipes.suggest.suggest`; reads the items as it would."""

    def __init__(self) -> None:
        self.options: Any = None
        self.items: Any = None
        self.known: Any = None

    def __call__(self, read: Any, *, options: SuggestOptions, progress: Any) -> SuggestionRecord:
        """Answer."""
        self.options = options
        self.items, _ = read(self.known or options.known_modality)
        return RECORD


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Suggestions that take no time."""
    recipe = Recipe()
    monkeypatch.setattr(recipes, "suggest", recipe)
    return recipe


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A table of texts."""
    file = tmp_path / "a.csv"
    file.write_text("text\ngood\nbad\n", encoding="utf-8")
    return file


def test_every_option_reaches_the_recipe(cli: Cli, recipe: Recipe, texts: Path) -> None:
    asks = ("-n", "7", "--seed", "3", "--device", "cpu", "--precision", "float32", "--column", "text")
    assert cli("suggest", "a.csv", *asks, "--modality", "text", "--backbone", "minilm", "--offline").code == 0
    assert recipe.options == SuggestOptions(
        None, 7, "minilm", modality="text", seed=3, offline=True, device="cpu", precision="float32"
    )
    assert recipe.items.values == ("good", "bad")
    assert cli("suggest", "a.csv", "--run", "runs/a").code == 0
    assert recipe.options == SuggestOptions("runs/a", 50)


def test_the_table_has_rank_item_reason_and_text(cli: Cli, recipe: Recipe, texts: Path) -> None:
    result = cli("suggest", "a.csv")
    words = " ".join(result.out.split())
    assert words.startswith("2 items of 40 to label next. rank item reason text 1 a.csv row 3 unsure between x and y")
    assert "3 items of equal content left aside" in words
    assert "1 item of the training left aside" in words
    assert "a.csv row 4: empty text" in words
    assert "\x1b" not in result.out
    assert "Few items." in result.err


def test_json_is_the_record_and_nothing_else(cli: Cli, recipe: Recipe, texts: Path) -> None:
    result = cli("suggest", "a.csv", "--json")
    assert result.out == to_json(RECORD) + "\n"
    assert json.loads(result.out)["schema"] == "headstart.suggestions/1"


def test_out_is_written_and_replaced_but_nothing_else_is(cli: Cli, recipe: Recipe, texts: Path, tmp_path: Path) -> None:
    assert cli("suggest", "a.csv", "--out", "s.csv").code == 0
    assert cli("suggest", "a.csv", "--out", "s.csv").code == 0
    assert (tmp_path / "s.csv").read_text(encoding="utf-8").startswith("rank,item,reason,text\n1,a.csv row 3,")
    before = texts.read_bytes()
    for more in ([], ["--overwrite"]):
        result = cli("suggest", "a.csv", "--out", "a.csv", *more)
        assert result.code == 2
        assert result.err.startswith("error: ")
    assert texts.read_bytes() == before
    assert cli("suggest", "a.csv", "--out", ".").code == 2


def test_lines_of_stdin_need_to_be_told_what_they_are(
    cli: Cli, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("schön\n".encode()), encoding="ascii"))
    result = cli("suggest", "-")
    assert result.code == 2
    assert "hint: Add --modality text or --modality image, or name a --run." in result.err
    assert cli("suggest", "-", "--modality", "text").code == 0
    assert recipe.items.values == ("schön",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.csv", "-n", "0"], "at least 1 item must be asked for, but got 0"),
        (["a.csv", "-n", "few"], "invalid value for '-n'"),
        (["a.csv", "--seed", "-1"], "the seed must be 0 or greater"),
        (["a.csv", "--run", "r", "--backbone", "b"], "a run brings its own backbones"),
        (["a.csv", "--modality", "txt"], "Did you mean 'text'?"),
        (["b.csv"], "Did you mean 'a.csv'?"),
        ([], "UNLABELLED"),
    ],
)
def test_mistakes_end_with_a_sentence_and_a_hint(
    cli: Cli, recipe: Recipe, texts: Path, arguments: list[str], message: str
) -> None:
    result = cli("suggest", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err


def test_what_is_no_run_is_a_mistake(cli: Cli, texts: Path) -> None:
    result = cli("suggest", "a.csv", "--run", "nowhere")
    assert (result.code, result.out) == (2, "")
    assert "nowhere" in result.err
    assert "hint: " in result.err


def test_the_defaults_are_those_of_the_library(cli: Cli, recipe: Recipe, texts: Path) -> None:
    import headstart

    assert cli("suggest", "a.csv").code == 0
    typed = recipe.options
    assert headstart.suggest(texts) is RECORD
    assert recipe.options == typed
    assert recipe.items.values == ("good", "bad")
