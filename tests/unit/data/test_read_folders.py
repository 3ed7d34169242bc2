"""Class folders as people have them: sides, nesting, litter, links, odd names."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from headstart.data import LeftOut, read_dataset
from headstart.errors import DataError


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def test_folders_are_classes_and_deeper_folders_belong_to_them(tmp_path: Path) -> None:
    data = read_dataset(_touch(tmp_path, "cat/a.JPG", "cat/old/b.png", "dog/c.WebP"))
    assert (data.modality, data.classes, data.targets.tolist()) == ("image", ("cat", "dog"), [0, 0, 1])
    assert data.items.names == ("cat/a.JPG", "cat/old/b.png", "dog/c.WebP")
    assert (data.sides, data.left_out, data.source) == (None, (), str(tmp_path))
    assert data.notes == ("what lies in folders below a class folder counts as that class: 'cat'",)


def test_folders_of_one_level_need_no_words(tmp_path: Path) -> None:
    assert read_dataset(_touch(tmp_path / "a", "cat/a.jpg", "dog/b.jpg")).notes == ()
    sided = _touch(tmp_path / "b", *(f"{side}/{name}/{side}.jpg" for side in ("train", "test") for name in "ab"))
    assert not any("below" in note for note in read_dataset(sided).notes)


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "VALID"), ("TRAIN", "dev")])
def test_sides_above_the_classes_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    data = read_dataset(_touch(tmp_path, f"{train}/a/1.jpg", f"{train}/b/2.jpg", f"{test}/a/3.jpg"))
    assert dict(zip(data.items.names, data.sides or (), strict=True)) == {
        f"{train}/a/1.jpg": "train",
        f"{train}/b/2.jpg": "train",
        f"{test}/a/3.jpg": "test",
    }


def test_validation_joins_training_when_there_is_a_test(tmp_path: Path) -> None:
    data = read_dataset(_touch(tmp_path, "train/a/1.jpg", "val/b/2.jpg", "test/a/3.jpg"))
    assert dict(zip(data.items.names, data.sides or (), strict=True))["val/b/2.jpg"] == "train"
    assert data.notes == ("val joined training, because test is the sealed test",)


def test_train_alone_is_a_class_like_any_other(tmp_path: Path) -> None:
    assert read_dataset(_touch(tmp_path, "train/1.jpg", "bus/2.jpg")).classes == ("bus", "train")


def test_files_beside_the_sides_or_classes_are_left_out(tmp_path: Path) -> None:
    data = read_dataset(_touch(tmp_path, "train/a/1.jpg", "test/b/2.jpg", "misc/x/3.jpg", "4.jpg", "test/5.jpg"))
    assert set(data.left_out) == {
        LeftOut("misc/x/3.jpg", "not in a folder train, val or test"),
        LeftOut("4.jpg", "not in a folder train, val or test"),
        LeftOut("test/5.jpg", "not in a class folder"),
    }


def test_an_unlabelled_test_folder_is_no_side(tmp_path: Path) -> None:
    data = read_dataset(_touch(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "test/3.jpg"))
    assert data.sides is None
    assert data.left_out == (LeftOut("test/3.jpg", "not in a class folder"),)


def test_a_folder_around_the_classes_is_looked_through(tmp_path: Path) -> None:
    data = read_dataset(_touch(tmp_path, "pets/pictures/a/1.jpg", "pets/pictures/b/2.jpg"))
    assert (data.classes, data.notes) == (("a", "b"), ("the classes are in pets/pictures",))


def test_litter_is_passed_over_and_other_files_are_counted_in_one_note(tmp_path: Path) -> None:
    litter = ("a/.hidden.jpg", "__MACOSX/a/1.jpg", "a/Thumbs.db", "a/desktop.ini", ".git/x/2.jpg")
    others = ("a/1.txt", "a/2.pdf", "b/3.doc", "b/4.md")
    data = read_dataset(_touch(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg", *litter, *others))
    assert len(data) == 3
    assert data.notes == ("4 files that are not images were skipped: a/1.txt, a/2.pdf, b/3.doc, …",)


def test_one_skipped_file_is_said_in_the_singular(tmp_path: Path) -> None:
    data = read_dataset(_touch(tmp_path, "a/1.jpg", "b/3.jpg", "b/read.me"))
    assert data.notes == ("1 file that is not one of the images was skipped: b/read.me",)


def test_class_names_are_composed(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Käse")
    assert read_dataset(_touch(tmp_path, f"{decomposed}/1.jpg", "Brot/2.jpg")).classes == ("Brot", "Käse")


def test_names_that_are_not_utf8_can_be_shown(tmp_path: Path) -> None:
    data = read_dataset(_touch(tmp_path, "Brot/2.jpg", os.fsdecode(b"K\xe4se/1.jpg")))
    assert data.classes == ("Brot", "K\ufffdse")
    assert all(isinstance(value, Path) and value.exists() for value in data.items.values)


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    outside = _touch(tmp_path / "outside", "1.jpg")
    data = _touch(tmp_path / "data", "a/2.jpg", "b/3.jpg")
    (data / "a/linked.jpg").symlink_to(outside / "1.jpg")
    (data / "b/more").symlink_to(outside)
    (data / "a/loop").symlink_to(data)
    (data / "b/broken.jpg").symlink_to(tmp_path / "nothing")
    read = read_dataset(data)
    assert read.items.names == ("a/2.jpg", "a/linked.jpg", "b/3.jpg", "b/more/1.jpg")
    assert read.left_out == (LeftOut("b/broken.jpg", "file not found"),)


def test_two_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    data = _touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (data / "a/to_b").symlink_to(data / "b")
    (data / "b/to_a").symlink_to(data / "a")
    assert len(read_dataset(data)) <= 6


def test_text_files_in_class_folders_are_texts(tmp_path: Path) -> None:
    _touch(tmp_path, "pos/1.txt", "neg/2.txt", "neg/3.txt")
    (tmp_path / "pos/1.txt").write_bytes("  très bon\n".encode("cp1252"))
    (tmp_path / "neg/3.txt").write_text(" \n", encoding="utf-8")
    data = read_dataset(tmp_path)
    assert (data.modality, data.items.values, data.classes) == ("text", ("x", "très bon"), ("neg", "pos"))
    assert data.left_out == (LeftOut("neg/3.txt", "empty text"),)


def test_a_folder_without_images_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are no images or .txt files in") as caught:
        read_dataset(tmp_path)
    assert "one sub-folder a class" in caught.value.hint
    with pytest.raises(DataError, match=r"there are no .txt files in"):
        read_dataset(_touch(tmp_path, "a/1.jpg"), modality="text")


def test_images_without_class_folders_are_an_error_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"can be used: not in a class folder \(2\)") as caught:
        read_dataset(_touch(tmp_path, "1.jpg", "2.jpg"))
    assert "Put the files of each class into a folder of its own" in caught.value.hint


def test_a_missing_path_names_its_nearest_sibling(tmp_path: Path) -> None:
    _touch(tmp_path, "photos/a/1.jpg")
    with pytest.raises(DataError, match="there is no file or folder") as caught:
        read_dataset(tmp_path / "fotos")
    assert caught.value.hint == f"Did you mean {str(tmp_path / 'photos')!r}?"
    with pytest.raises(DataError, match="there is no file or folder") as caught:
        read_dataset(tmp_path / "zzz" / "a")
    assert "nothing there has a similar name" in caught.value.hint


def test_a_link_to_nothing_is_no_typo(tmp_path: Path) -> None:
    (tmp_path / "photos").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="is a link to something that is not there"):
        read_dataset(tmp_path / "photos")


def test_columns_of_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a table, so there is no column 'label'"):
        read_dataset(_touch(tmp_path, "a/1.jpg", "b/2.jpg"), target="label")


def test_a_second_folder_is_the_test(tmp_path: Path) -> None:
    train = _touch(tmp_path / "one", "train/a/1.jpg", "test/b/2.jpg")
    test = _touch(tmp_path / "two", "a/3.jpg", "b/4.jpg")
    assert read_dataset(train, test=test).sides == ("train", "train", "test", "test")
