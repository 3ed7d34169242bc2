from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import DataError, OutputError
from headstart.reports import write_predictions

PROBABILITIES = np.array([[0.25, 0.75], [2 / 3, 1 / 3]])


def test_the_columns_are_item_prediction_probability_and_one_a_class(tmp_path: Path) -> None:
    path = write_predictions(
        tmp_path / "p.csv", ["a.jpg", "b.jpg"], classes=["ant", "bee"], probabilities=PROBABILITIES
    )
    assert path.read_text("utf-8") == (
        "item,prediction,probability,p:ant,p:bee\na.jpg,bee,0.75,0.25,0.75\nb.jpg,ant,0.666667,0.666667,0.333333\n"
    )


def test_targets_get_a_column_when_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    write_predictions(path, ["a", "b"], classes=["ant", "bee"], probabilities=PROBABILITIES, targets=["ant", "ant"])
    assert path.read_text("utf-8").splitlines()[:2] == [
        "item,prediction,probability,target,p:ant,p:bee",
        "a,bee,0.75,ant,0.25,0.75",
    ]


def test_names_with_commas_quotes_and_newlines_are_read_back(tmp_path: Path) -> None:
    names = ['a "b", c', "two\nlines", "שלום 🦄", "=1+1"]
    path = write_predictions(tmp_path / "p.csv", names, classes=names, probabilities=np.eye(4))
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["item"] for row in rows] == names
    assert [row["prediction"] for row in rows] == names


def test_a_file_name_that_is_not_unicode_is_written_as_an_escape(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.csv", ["\udcff.jpg"], classes=["ant"], probabilities=np.ones((1, 1)))
    assert path.read_text("utf-8").splitlines()[1] == "\\udcff.jpg,ant,1,1"


def test_no_items_give_a_header(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.csv", [], classes=["ant"], probabilities=np.ones((0, 1)))
    assert path.read_text("utf-8") == "item,prediction,probability,p:ant\n"


@pytest.mark.parametrize("targets", [None, ["ant"]])
def test_parts_that_do_not_belong_together_are_refused(targets: list[str] | None, tmp_path: Path) -> None:
    items = ["a"] if targets is None else ["a", "b"]
    with pytest.raises(DataError, match=r"but got \d items, 2 classes, 1 targets and probabilities of shape \(2, 2\)"):
        write_predictions(tmp_path / "p.csv", items, classes=["x", "y"], probabilities=PROBABILITIES, targets=targets)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(OutputError, match=r"must be written to a file in a folder, but .*taken' cannot be written"):
        write_predictions(taken, ["a"], classes=["x"], probabilities=np.ones((1, 1)))
    assert list(tmp_path.iterdir()) == [taken]
