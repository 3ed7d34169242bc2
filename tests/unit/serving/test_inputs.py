"""Texts at hand to items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headstart.data.dataset import LeftOut
from headstart.errors import DataError
from headstart.serving._inputs import as_items, modality_of_given


@pytest.mark.parametrize(
    "given", ["fine", ["fine"], ("fine",), np.array(["fine"]), pd.Series(["fine"]), iter(["fine"])]
)
def test_texts_are_texts_in_whatever_they_come(given: object) -> None:
    items, left_out = as_items(given, "text")  # type: ignore[arg-type]
    assert (items.values, left_out) == (("fine",), ())


def test_a_text_that_is_the_name_of_a_file_is_still_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("content")
    assert as_items("a.txt", "text")[0].values == ("a.txt",)
    assert as_items(Path("a.txt"), "text")[0].values == ("content",)


def test_empty_texts_are_left_out_by_their_place() -> None:
    items, left_out = as_items(["one", "  ", "three"], "text")
    assert items.names == ("item 1", "item 3")
    assert left_out == (LeftOut("item 2", "empty text"),)


def test_a_data_frame_of_texts_has_its_longest_column_read() -> None:
    frame = pd.DataFrame({"n": ["1", "2"], "review": ["a long and winding text", "another long text"]})
    assert as_items(frame, "text")[0].values == tuple(frame["review"])
    assert as_items(frame, "text", column="n")[0].values == ("1", "2")


@pytest.mark.parametrize("given", [[1], [None], [np.zeros((2, 2, 3), dtype=np.uint8)], [["nested"]]])
def test_what_is_no_text_is_refused(given: list[object]) -> None:
    with pytest.raises(DataError, match="items must be texts, paths or images, but one is of type"):
        as_items(given, "text")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "modality"),
    [
        (["lovely", "dull"], "text"),
        ("lovely", "text"),
        ("a" * 5000, "text"),
        ("zero\0byte", "text"),
        (np.zeros((2, 4, 4, 3), dtype=np.uint8), "image"),
        ([np.zeros((4, 4, 3), dtype=np.uint8)], "image"),
        (pd.DataFrame({"text": ["lovely", "dull"]}), "text"),
        (pd.DataFrame({"file": ["a.jpg", "b.jpg"]}), "image"),
    ],
)
def test_what_is_given_tells_its_modality(given: Any, modality: str) -> None:
    assert modality_of_given(given) == modality


def test_words_are_paths_where_such_files_are(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    assert modality_of_given([str(tmp_path / "a.jpg")]) == "image"
    assert modality_of_given(str(tmp_path / "*.jpg")) == "image"
    assert modality_of_given([str(tmp_path / "a.jpg"), "lovely"]) == "text"
