"""Items for prediction: files, folders, patterns, tables and lines."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from headstart.data import LeftOut, modality_of, read_items, read_lines
from headstart.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "deep/c.jpg", "notes.txt", "x[1].jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"hello")
    return tmp_path / "photos"


def _names(photos: Path, *inputs: str) -> list[str]:
    items, _ = read_items([photos / name for name in inputs], modality="image")
    return [Path(name).name for name in items.names]


def test_files_folders_and_patterns_in_the_order_given(photos: Path) -> None:
    assert _names(photos, "b.jpg", "a.PNG") == ["b.jpg", "a.PNG"]
    assert _names(photos, ".") == ["a.PNG", "b.jpg", "c.jpg", "x[1].jpg"]
    assert _names(photos, "*.jpg", "a.PNG") == ["b.jpg", "x[1].jpg", "a.PNG"]
    assert _names(photos, "**/*.jpg") == ["b.jpg", "c.jpg", "x[1].jpg"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos: Path) -> None:
    assert _names(photos, "x[1].jpg") == ["x[1].jpg"]


def test_a_single_path_needs_no_list(photos: Path) -> None:
    items, left_out = read_items(photos / "b.jpg", modality="image")
    assert (items.values, items.names, left_out) == ((photos / "b.jpg",), (str(photos / "b.jpg"),), ())


def test_a_missing_input_names_its_nearest_sibling(photos: Path) -> None:
    with pytest.raises(DataError, match="there is no file or folder") as caught:
        read_items([photos / "bb.jpg"], modality="image")
    assert caught.value.hint == f"Did you mean {str(photos / 'b.jpg')!r}?"
    with pytest.raises(DataError, match="there is no file or folder"):
        read_items([photos / "*.gif"], modality="image")


def test_texts_come_from_files_folders_and_tables(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "letter").write_text("second", encoding="utf-8")
    (tmp_path / "t.csv").write_text("id,text\n1,third text\n2,\n", encoding="utf-8")
    items, left_out = read_items([tmp_path, tmp_path / "letter", tmp_path / "t.csv"], modality="text")
    assert items.values == ("first", "second", "third text")
    assert items.names[-1] == f"{tmp_path / 't.csv'} row 1"
    assert left_out == (
        LeftOut(str(tmp_path / "b.txt"), "empty text"),
        LeftOut(f"{tmp_path / 't.csv'} row 2", "empty text"),
    )


def test_a_table_of_image_paths(photos: Path) -> None:
    (photos / "t.csv").write_text("path,label\nb.jpg,x\nnone.jpg,y\n", encoding="utf-8")
    items, left_out = read_items([photos / "t.csv"], modality="image")
    assert items.values == (photos / "b.jpg",)
    assert left_out[0].reason == "file not found: none.jpg"
    items, _ = read_items([photos / "t.csv"], modality="text", column="label")
    assert items.values == ("x", "y")


def test_files_that_may_not_be_read_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "a.txt":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    items, left_out = read_items(tmp_path, modality="text")
    assert items.values == ("b.txt",)
    assert left_out == (LeftOut(str(tmp_path / "a.txt"), "cannot be read: permission denied"),)


def test_lines_are_texts_or_paths(photos: Path) -> None:
    items, left_out = read_lines(io.StringIO("one\n\n two \n"), modality="text")
    assert (items.values, items.names, left_out) == (("one", "two"), ("line 1", "line 3"), ())
    items, left_out = read_lines([f"{photos / 'b.jpg'}\n", "none.jpg"], modality="image")
    assert items.values == (photos / "b.jpg",)
    assert left_out == (LeftOut("none.jpg", "file not found"),)


def test_nothing_to_predict_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no item of 'the lines' can be used: it has no rows"):
        read_lines([], modality="text")
    with pytest.raises(DataError, match="there are no images in the folder"):
        read_items(tmp_path, modality="image")


def test_a_folder_for_another_model_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="the model is for texts, but the folder holds images"):
        read_items(tmp_path, modality="text")


@pytest.mark.parametrize(
    ("inputs", "modality"),
    [
        (["."], "image"),
        (["b.jpg"], "image"),
        (["notes.txt"], "text"),
        (["*.txt", "b.jpg"], "text"),
        (["texts.csv"], "text"),
        (["paths.csv"], "image"),
        (["empty", "notes.txt"], "text"),
        (["empty"], "image"),
    ],
)
def test_names_and_cells_tell_what_inputs_hold(photos: Path, inputs: list[str], modality: str) -> None:
    (photos / "empty").mkdir()
    (photos / "texts.csv").write_text("text\ngood\nbad\n")
    (photos / "paths.csv").write_text("file\nb.jpg\na.PNG\n")
    assert modality_of([photos / each for each in inputs]) == modality


def test_what_is_not_there_tells_nothing(photos: Path) -> None:
    with pytest.raises(DataError, match="there is no file or folder"):
        modality_of(photos / "none.jpg")
