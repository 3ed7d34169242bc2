"""Content keys: same content, same key; known files are not read again; unreadable ones are left out."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from headstart.data import Dataset, Items, LeftOut, content_keys, identify
from headstart.errors import DataError


class Memory:
    """Known hashes in a dictionary."""

    def __init__(self) -> None:
        self.hashes: dict[Path, str] = {}

    def lookup(self, paths: Sequence[Path]) -> dict[Path, str]:
        return {path: self.hashes[path] for path in paths if path in self.hashes}

    def remember(self, hashes: Mapping[Path, str]) -> None:
        self.hashes.update(hashes)


def _files(folder: Path, *contents: bytes) -> Items:
    paths = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.jpg"
        path.write_bytes(content)
        paths.append(path)
    return Items("image", tuple(paths), tuple(path.name for path in paths))


def test_the_key_of_a_file_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    items, left_out = content_keys(_files(tmp_path, b"a", b"b", b"a"))
    assert items.keys == tuple(hashlib.sha256(content).hexdigest() for content in (b"a", b"b", b"a"))
    assert left_out == ()


def test_the_key_of_a_text_is_the_hash_of_its_utf8() -> None:
    items, _ = content_keys(Items("text", ("é", "\ud800"), ("a", "b")))
    assert items.keys[0] == hashlib.sha256("é".encode()).hexdigest()
    assert len(items.keys[1]) == 64


def test_arrays_of_equal_bytes_but_another_shape_have_other_keys() -> None:
    flat, tall = np.zeros((1, 4, 3), dtype=np.uint8), np.zeros((4, 1, 3), dtype=np.uint8)
    items, _ = content_keys(Items("image", (flat, tall, flat.copy()), ("a", "b", "c")))
    assert items.keys[0] == items.keys[2] != items.keys[1]


def test_known_files_are_not_read_and_new_ones_are_remembered(tmp_path: Path) -> None:
    items = _files(tmp_path, b"a", b"b")
    memory = Memory()
    memory.hashes[tmp_path / "0.jpg"] = "f" * 64
    found, _ = content_keys(items, known=memory)
    assert found.keys == ("f" * 64, hashlib.sha256(b"b").hexdigest())
    assert memory.hashes[tmp_path / "1.jpg"] == found.keys[1]


def test_files_that_vanished_are_left_out_with_their_targets(tmp_path: Path) -> None:
    items = _files(tmp_path, b"a", b"b", b"c")
    (tmp_path / "1.jpg").unlink()
    dataset = identify(Dataset(items, np.array([0, 1, 1]), ("x", "y"), groups=("p", "q", "r")))
    assert (dataset.items.names, dataset.targets.tolist(), dataset.groups) == (("0.jpg", "2.jpg"), [0, 1], ("p", "r"))
    assert dataset.left_out == (LeftOut("1.jpg", "file not found"),)


def test_files_that_may_not_be_read_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = _files(tmp_path, b"a", b"b")

    def refuse(path: Path) -> str:
        if path.name == "0.jpg":
            raise PermissionError(13, "Permission denied")
        return "k"

    # The verb hides the module of its name, so the module is looked up by import.
    monkeypatch.setattr(importlib.import_module("headstart.data.identify"), "sha256_file", refuse)
    _, left_out = content_keys(items)
    assert left_out == (LeftOut("0.jpg", "cannot be read: permission denied"),)


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    items = _files(tmp_path, b"a", b"b")
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"no item of 'photos' can be used: file not found \(2\)"):
        identify(Dataset(items, np.array([0, 1]), ("x", "y"), source="photos"))


def test_renaming_and_reordering_do_not_change_the_fingerprint(tmp_path: Path) -> None:
    items = _files(tmp_path, b"a", b"b")
    one = identify(Dataset(items, np.array([0, 1]), ("x", "y")))
    (tmp_path / "0.jpg").rename(tmp_path / "z.jpg")
    moved = Items("image", (tmp_path / "1.jpg", tmp_path / "z.jpg"), ("1.jpg", "z.jpg"))
    assert identify(Dataset(moved, np.array([1, 0]), ("x", "y"))).fingerprint == one.fingerprint
