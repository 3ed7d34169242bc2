"""`headstart predict`: inputs of all kinds, the table, the JSON document, and what was left out."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart.serving
from cli.conftest import Cli
from headstart.data.dataset import Items, LeftOut
from headstart.errors import StoreError
from headstart.features.store import Store
from headstart.serving import Predictions


class FakeModel:
    """A model that is sure of the first class."""

    def __init__(self, modality: str) -> None:
        self.modality = modality
        self.seen: Items | None = None
        self.store: Any = None
        self.asked: dict[str, Any] = {}

    def predict_items(self, items: Items, *, left_out: Any = (), progress: Any, **asked: Any) -> Predictions:
        """Answer."""
        self.seen, self.asked, n = items, asked, len(items)
        probabilities = np.tile([0.75, 0.25], (n, 1))
        predictions = Predictions(items.names, ("good, cheap", "bad"), probabilities, np.arange(n), tuple(left_out))
        if asked["coverage"]:
            predictions = replace(predictions, in_set=probabilities > 0.2, notes=("Few items.",))
        if asked["abstain_cost"]:
            predictions = replace(predictions, abstained=probabilities[:, 0] < 1 - asked["abstain_cost"])
        return replace(predictions, unusual=np.arange(n) > 0) if asked["gate"] else predictions


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The model that `load` opens."""
    model = FakeModel("text")

    def load(path: str, *, device: str, precision: str, store: Any) -> FakeModel:
        assert (path, device, precision) == ("run", "auto", "auto")
        model.store = store
        return model

    monkeypatch.setattr(headstart.serving, "load", load)
    return model


def type_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))


def test_lines_of_stdin_become_a_table_on_stdout(cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, "\ufeffschön\n\nso so 🦄\n".encode())
    result = cli("predict", "run", "-")
    assert result.code == 0
    assert model.seen is not None
    assert model.seen.values == ("schön", "so so 🦄")
    assert list(csv.reader(io.StringIO(result.out))) == [
        ["item", "prediction", "probability", "p:good, cheap", "p:bad"],
        ["line 1", "good, cheap", "0.75", "0.75", "0.25"],
        ["line 3", "good, cheap", "0.75", "0.75", "0.25"],
    ]
    assert result.err == ""


def test_stdin_stands_alone(cli: Cli, model: FakeModel) -> None:
    result = cli("predict", "run", "-", "a.csv")
    assert result.code == 2
    assert result.err == (
        "error: stdin must be the only input, but got '- a.csv'\nhint: Give the other inputs on their own.\n"
    )


def test_nothing_on_stdin_is_a_mistake(cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"\n")
    assert cli("predict", "run", "-").code == 2


def test_what_is_left_out_is_on_stderr_and_the_rest_is_predicted(
    cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model.modality = "image"
    (tmp_path / "there.jpg").write_bytes(b"x")
    type_in(monkeypatch, b"gone.jpg\nthere.jpg\n")
    result = cli("predict", "run", "-")
    assert result.code == 0
    assert result.err == "left out: gone.jpg (file not found)\n"
    assert "there.jpg" in result.out
    assert "gone.jpg" not in result.out


def test_a_flood_of_left_out_items_is_counted(cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Predictions(
        ("a",), ("x",), np.ones((1, 1)), np.arange(1), tuple(LeftOut(f"i{n}", "empty text") for n in range(53))
    )
    model.predict_items = lambda *_, **__: answer  # type: ignore[method-assign]
    type_in(monkeypatch, b"a\n")
    lines = cli("predict", "run", "-").err.splitlines()
    assert len(lines) == 51
    assert lines[-1] == "left out: 3 more; --json lists all of them"


def test_json_has_predictions_and_what_was_left_out(
    cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, b"a\n")
    document = json.loads(cli("predict", "run", "-", "--json").out)
    assert document == {
        "classes": ["good, cheap", "bad"],
        "predictions": [
            {
                "item": "line 1",
                "label": "good, cheap",
                "probability": 0.75,
                "probabilities": {"good, cheap": 0.75, "bad": 0.25},
                "set": None,
                "abstained": None,
                "unusual": None,
            }
        ],
        "left_out": [],
    }


def test_sets_abstention_and_gate_are_columns_where_they_were_asked_for(
    cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, b"a\nb\n")
    result = cli("predict", "run", "-", "--coverage", "0.9", "--abstain-cost", "0.1", "--gate")
    assert model.asked == {"coverage": 0.9, "abstain_cost": 0.1, "gate": True}
    assert list(csv.reader(io.StringIO(result.out))) == [
        ["item", "prediction", "probability", "set", "abstained", "unusual", "p:good, cheap", "p:bad"],
        ["line 1", "", "0.75", "good, cheap|bad", "yes", "no", "0.75", "0.25"],
        ["line 2", "", "0.75", "good, cheap|bad", "yes", "yes", "0.75", "0.25"],
    ]
    assert result.err == "Few items.\n"


def test_json_says_the_same(cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"a\n")
    document = json.loads(cli("predict", "run", "-", "--coverage", "0.9", "--abstain-cost", "0.3", "--json").out)
    (one,) = document["predictions"]
    assert (one["label"], one["set"]) == ("good, cheap", ["good, cheap", "bad"])
    assert (one["abstained"], one["unusual"]) == (False, None)


def test_a_column_of_a_table_is_written_to_a_file(cli: Cli, model: FakeModel, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,words\n1,one\n2,two\n")
    result = cli("predict", "run", "new.csv", "--column", "words", "--out", "done/p.csv")
    assert (result.code, result.out) == (0, "")
    assert result.err == "2 predictions are in done/p.csv\n"
    written = (tmp_path / "done/p.csv").read_text().splitlines()
    assert written[1:] == [f'new.csv row {row},"good, cheap",0.75,0.75,0.25' for row in (1, 2)]


def test_only_a_table_of_predictions_is_replaced_unasked(cli: Cli, model: FakeModel, tmp_path: Path) -> None:
    table, other, out = tmp_path / "table.csv", tmp_path / "notes.csv", tmp_path / "out.csv"
    table.write_text("text\ngood film\n", encoding="utf-8")
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    for _ in range(2):
        assert cli("predict", "run", str(table), "--out", str(out)).code == 0
    refused = cli("predict", "run", str(table), "--out", str(other))
    assert refused.code == 2
    assert "is no table of predictions, so it is not replaced unasked" in refused.err
    assert other.read_text(encoding="utf-8") == "a,b\n1,2\n"
    assert cli("predict", "run", str(table), "--out", str(other), "--overwrite").code == 0
    assert other.read_text(encoding="utf-8").startswith("item,prediction,probability,")
    itself = cli("predict", "run", str(table), "--out", str(table), "--overwrite")
    assert itself.code == 2
    assert "must not replace what they are for" in itself.err
    assert table.read_text(encoding="utf-8") == "text\ngood film\n"


@pytest.mark.parametrize("given", ["notes", "notes/*.txt", "notes/a.txt"])
def test_what_is_to_be_predicted_is_never_replaced(cli: Cli, model: FakeModel, tmp_path: Path, given: str) -> None:
    (tmp_path / "notes").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "notes" / name).write_text("words", encoding="utf-8")
    result = cli("predict", "run", given, "--out", "notes/a.txt", "--overwrite")
    assert result.code == 2
    assert "must not replace what they are for" in result.err
    assert (tmp_path / "notes" / "a.txt").read_text(encoding="utf-8") == "words"
    assert model.seen is None


def test_a_folder_is_no_place_for_a_table(cli: Cli, model: FakeModel, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text\none\n", encoding="utf-8")
    (tmp_path / "there").mkdir()
    result = cli("predict", "run", "new.csv", "--out", "there", "--overwrite")
    assert (result.code, model.seen) == (2, None)
    assert "--out must be a file, but 'there' is a folder" in result.err


def test_an_input_that_does_not_exist_is_named(cli: Cli, model: FakeModel) -> None:
    result = cli("predict", "run", "nope.csv")
    assert result.code == 2
    assert "'nope.csv'" in result.err


def test_features_are_looked_up_in_the_store(cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"a\n")
    cli("predict", "run", "-")
    assert isinstance(model.store, Store)


def test_without_a_place_for_the_store_prediction_goes_on_in_memory(
    cli: Cli, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise StoreError("the folder cannot be written")

    monkeypatch.setattr(Store, "open", refuse)
    type_in(monkeypatch, b"a\n")
    result = cli("predict", "run", "-")
    assert result.code == 0
    assert model.store is None
    assert result.err == "Features are kept in memory only: the folder cannot be written\n"


def test_a_folder_that_is_no_bundle_is_a_mistake(cli: Cli) -> None:
    result = cli("predict", "nowhere", "a.csv")
    assert result.code == 2
    assert result.err.startswith("error: 'nowhere' is no bundle and no run: there is no such folder\n")
