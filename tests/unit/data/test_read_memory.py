"""DataFrames, sequences and arrays are datasets too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headstart.data import LeftOut, read_dataset
from headstart.errors import DataError


def test_a_frame_is_read_like_a_table() -> None:
    frame = pd.DataFrame({"text": ["a long", None, "c long", "d"], "label": [1.0, 0.0, np.nan, 0.0]})
    data = read_dataset(frame)
    assert (data.items.names, data.classes, data.targets.tolist()) == (("row 1", "row 4"), ("0", "1"), [1, 0])
    assert data.left_out == (LeftOut("row 2", "empty text"), LeftOut("row 3", "no label"))
    assert data.source == "DataFrame of 4 items"


def test_categories_booleans_and_missing_values_of_pandas_are_understood() -> None:
    labels = pd.array([True, pd.NA, False], dtype="boolean")
    assert read_dataset(pd.DataFrame({"text": list("abc"), "label": labels})).classes == ("False", "True")
    labels = pd.Categorical(["x", "y", None])
    assert read_dataset(pd.DataFrame({"text": list("abc"), "label": labels})).classes == ("x", "y")


def test_a_frame_of_pictures_is_of_images() -> None:
    pictures = [np.full((4, 4, 3), number, dtype=np.uint8) for number in range(3)]
    data = read_dataset(pd.DataFrame({"picture": pictures, "label": list("aba")}))
    assert data.modality == "image"
    np.testing.assert_array_equal(data.items.values[2], pictures[2])


def test_texts_with_labels_beside_them() -> None:
    data = read_dataset(["one", " ", "three"], targets=np.array([3, 4, 5]))
    assert (data.modality, data.items.values, data.classes) == ("text", ("one", "three"), ("3", "5"))
    assert data.left_out == (LeftOut("item 2", "empty text"),)


def test_paths_are_images_when_the_files_exist(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    assert read_dataset([str(path), str(path)], targets=["x", "y"]).items.values == (path, path)
    data = read_dataset([path, tmp_path / "b.jpg", path], targets=["x", "y", "z"])
    assert data.left_out == (LeftOut(str(tmp_path / "b.jpg"), "file not found"),)
    assert read_dataset(["a.jpg", "b.jpg"], targets=["x", "y"]).modality == "text"


@pytest.mark.parametrize("shape", [(3, 5, 4, 3), (3, 5, 4), (3, 5, 4, 1)])
def test_arrays_become_images_of_three_channels(shape: tuple[int, ...]) -> None:
    data = read_dataset(np.zeros(shape, dtype=np.uint8), targets=["a", "b", "a"])
    assert data.modality == "image"
    assert [np.asarray(value).shape for value in data.items.values] == [(5, 4, 3)] * 3


def test_a_second_frame_is_the_test() -> None:
    frame = pd.DataFrame({"text": ["a long", "b long"], "label": ["x", "y"]})
    assert read_dataset(frame, test=frame.assign(remark="longer than long")).sides == ("train", "train", "test", "test")


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DataError, match="needs its labels, but `targets` was not given"):
        read_dataset(["a"])
    with pytest.raises(DataError, match="there are 1 items and 2 targets"):
        read_dataset(["a"], targets=["x", "y"])
    with pytest.raises(DataError, match="items must be texts, paths or images, but one is of type int"):
        read_dataset(["a", 3], targets=["x", "y"])
    with pytest.raises(DataError, match="must be uint8 arrays with values from 0 to 255, but got float64"):
        read_dataset(np.zeros((2, 4, 4, 3)), targets=["x", "y"])
    with pytest.raises(DataError, match=r"must have the shape .* but got \(3, 4, 4\)") as caught:
        read_dataset(np.zeros((2, 3, 4, 4), dtype=np.uint8), targets=["x", "y"])
    assert "moveaxis" in caught.value.hint
    with pytest.raises(DataError, match="must be a path, a DataFrame, a sequence or an array, but got int"):
        read_dataset(3, targets=["x"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="'targets' looks like a number to predict"):
        read_dataset(["a", "b"], targets=[0.5, 0.7])
