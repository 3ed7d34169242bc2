"""The cleaned list: what is written is read back, and a list that no longer fits its items is refused."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart._fingerprint import sha256_bytes, sha256_file
from headstart.data.dataset import Dataset, Items
from headstart.data.images import write_png
from headstart.data.manifest import ManifestRow, check_can_be_listed, value_in, write_manifest
from headstart.data.read import read_dataset
from headstart.errors import DataError, OptionError

HOSTILE = (
    "two\nlines.png",
    "a\r\nb.png",
    'a "quoted", name.png',
    "<script>alert(1)</script>.png".replace("/", "\u2215"),
    " spaces around .png",
    "=1+1.png",
    "semi;colon\ttab.png",
    "ünï 🦄.png",
    "sep=;.png",
)


def _write(path: Path, rows: Sequence[ManifestRow], modality: str = "image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        write_manifest(rows, stream, modality)
    return path


def _photo(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.full((4, 4, 3), number, dtype=np.uint8))
    return path


def _pictured(folder: Path, photo: Path, label: str, **others: Any) -> ManifestRow:
    return ManifestRow(photo.name, value_in(photo, folder), label, sha256=sha256_file(photo), **others)


def _written(number: int, text: str, label: str, **others: Any) -> ManifestRow:
    return ManifestRow(f"row {number}", text, label, sha256=sha256_bytes(text.encode()), **others)


def _photos(folder: Path, n: int = 4) -> list[ManifestRow]:
    return [_pictured(folder, _photo(folder / f"{row}.png", row), "ab"[row % 2]) for row in range(n)]


def _texts(n: int = 4) -> list[ManifestRow]:
    return [_written(row, f"text number {row}", "ab"[row % 2]) for row in range(n)]


def _edited(path: Path, row: int, **cells: str) -> Path:
    """What a user does in a spreadsheet."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[row] |= cells
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows(rows)
    return path


def test_images_that_are_kept_are_read_and_removed_ones_are_not(tmp_path: Path) -> None:
    rows = _photos(tmp_path)
    rows[1] = replace(rows[1], action="regroup", group="copies 1", why="kept together with the rest of its group")
    rows += [_pictured(tmp_path, _photo(tmp_path / "x.png", 77), "b", action="remove", why="blank")]
    rows += [ManifestRow("broken.png", "", action="remove", why="not an image")]
    found = read_dataset(_write(tmp_path / "cleaned.csv", rows))
    assert found.modality == "image"
    assert found.items.names == ("0.png", "1.png", "2.png", "3.png")
    assert [found.classes[target] for target in found.targets] == ["a", "b", "a", "b"]
    assert (found.sides, found.left_out) == (None, ())
    assert found.groups is not None
    assert found.groups[1] == "copies 1"
    assert len(set(found.groups)) == 4
    assert any("4 of its 6 items are kept" in note for note in found.notes)


def test_texts_sides_and_groups_are_read_back(tmp_path: Path) -> None:
    sides = ("train", "train", "test", "test", "train")
    groups = ("g", "", "", "", "g")
    rows = [replace(row, split=side, group=group) for row, side, group in zip(_texts(5), sides, groups, strict=True)]
    found = read_dataset(_write(tmp_path / "cleaned.csv", rows, "text"))
    assert found.modality == "text"
    assert found.items.values == tuple(row.value for row in rows)
    assert found.sides == sides
    assert found.groups is not None
    assert found.groups[0] == found.groups[4] == "g"
    assert len(set(found.groups)) == 4


def test_without_groups_and_sides_there_are_none(tmp_path: Path) -> None:
    found = read_dataset(_write(tmp_path / "cleaned.csv", _texts(), "text"))
    assert (found.groups, found.sides) == (None, None)


def test_labels_and_actions_that_the_user_corrects_are_taken(tmp_path: Path) -> None:
    path = _write(tmp_path / "cleaned.csv", _texts(6), "text")
    found = read_dataset(_edited(_edited(path, 0, label="b"), 5, action="Remove "))
    assert [found.classes[target] for target in found.targets] == ["b", "b", "a", "b", "a"]


def test_an_action_that_is_none_is_refused(tmp_path: Path) -> None:
    path = _edited(_write(tmp_path / "cleaned.csv", _texts(), "text"), 2, action="removed")
    with pytest.raises(DataError, match="must be keep, regroup or remove, but row 3 has 'removed'") as caught:
        read_dataset(path)
    assert "'remove'" in caught.value.hint


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_files_come_back_whatever_they_are(name: str, tmp_path: Path) -> None:
    rows = _photos(tmp_path)
    rows.append(_pictured(tmp_path, _photo(tmp_path / name, 9), "b"))
    found = read_dataset(_write(tmp_path / "cleaned.csv", rows))
    assert found.left_out == ()
    assert found.items.values[-1] == tmp_path / name


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "a\rb", "a\r\nb", '"quoted", he said', "<script>x</script>", "=1+1", "tab\tand ; | ,", "sep=;"],
)
def test_texts_come_back_whatever_they_say(text: str, tmp_path: Path) -> None:
    rows = [*_texts(), _written(9, text, "a")]
    assert read_dataset(_write(tmp_path / "cleaned.csv", rows, "text")).items.values[-1] == text
    # The same as the only kind of text that there is.
    rows = [_written(row, f"{text}{row}", "ab"[row % 2]) for row in range(4)]
    assert read_dataset(_write(tmp_path / "cleaned.csv", rows, "text")).items.values == tuple(r.value for r in rows)


def test_the_list_may_lie_in_another_folder_than_the_images(tmp_path: Path) -> None:
    lists = tmp_path / "lists" / "mine"
    rows = [_pictured(lists, _photo(tmp_path / "photos" / f"{row}.png", row), "ab"[row % 2]) for row in range(4)]
    assert rows[0].value == "../../photos/0.png"
    found = read_dataset(_write(lists / "cleaned.csv", rows))
    assert [Path(value).resolve() for value in found.items.values if isinstance(value, Path)] == [
        tmp_path / "photos" / f"{row}.png" for row in range(4)
    ]


def test_files_that_changed_or_are_gone_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "cleaned.csv", _photos(tmp_path))
    _photo(tmp_path / "1.png", 99)
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    assert str(caught.value) == (
        "a cleaned list must fit the items that it was made of, but 2 of 4 no longer do: "
        "1.png was changed, 2.png is gone"
    )
    assert "headstart audit" in caught.value.hint


def test_a_removed_file_may_be_gone(tmp_path: Path) -> None:
    rows = _photos(tmp_path, 5)
    path = _write(tmp_path / "cleaned.csv", [*rows[:4], replace(rows[4], action="remove")])
    (tmp_path / "4.png").unlink()
    assert len(read_dataset(path)) == 4


def test_of_many_that_changed_three_are_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "cleaned.csv", [replace(row, sha256="0" * 64) for row in _texts(6)], "text")
    with pytest.raises(DataError, match=r"6 of 6 no longer do: row 0 was changed, .* and 3 more$"):
        read_dataset(path)


def test_what_cannot_be_the_name_of_a_file_is_gone(tmp_path: Path) -> None:
    rows = _photos(tmp_path)
    with pytest.raises(DataError, match=r"1 of 4 no longer do: 0\.png is gone"):
        read_dataset(_write(tmp_path / "cleaned.csv", [replace(rows[0], value="a\0b"), *rows[1:]]))


def test_a_list_that_keeps_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_dataset(_write(tmp_path / "cleaned.csv", [replace(row, action="remove") for row in _texts()], "text"))


def test_a_table_with_a_column_called_action_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "moves.csv"
    path.write_text("text,label,action\nfly away,a,remove\nstay here,b,keep\ngo home now,a,remove\n", encoding="utf-8")
    found = read_dataset(path, column="text", target="label")
    assert len(found) == 3


def test_the_options_of_the_user_come_first(tmp_path: Path) -> None:
    rows = [replace(row, suggestion="xy"[number % 2], group="g") for number, row in enumerate(_texts())]
    path = _write(tmp_path / "cleaned.csv", rows, "text")
    assert read_dataset(path, target="suggestion").classes == ("x", "y")


def test_images_without_a_file_or_a_readable_name_cannot_be_listed(tmp_path: Path) -> None:
    def of(*values: Any) -> Dataset:
        return Dataset(Items("image", values, tuple(map(str, range(len(values))))), np.array([0, 1]), ("a", "b"))

    path = tmp_path / "a.png"
    check_can_be_listed(of(path, tmp_path / "b.png"))
    with pytest.raises(OptionError, match="1 of the images lie inside"):
        check_can_be_listed(of(path, np.zeros((2, 2, 3), dtype=np.uint8)))
    with pytest.raises(OptionError, match=r"must be valid UTF-8, but got b'bad\\xff\.png'") as caught:
        check_can_be_listed(of(path, Path(os.fsdecode(b"bad\xff.png"))))
    assert "Rename" in caught.value.hint
