"""Folders that Hugging Face `datasets` really wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data import LeftOut, read_dataset
from headstart.errors import DataError

hf = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore")


def _texts() -> hf.Dataset:
    features = hf.Features({"sentence": hf.Value("string"), "label": hf.ClassLabel(names=["bad", "good"])})
    rows = {"sentence": ["awful", "fine", "unlabelled", "great"], "label": [0, 1, -1, 1]}
    return hf.Dataset.from_dict(rows, features=features)


def test_class_names_come_from_the_features(tmp_path: Path) -> None:
    _texts().save_to_disk(tmp_path / "saved")
    data = read_dataset(tmp_path / "saved")
    assert (data.items.values, data.classes) == (("awful", "fine", "great"), ("bad", "good"))
    assert (data.targets.tolist(), data.left_out) == ([0, 1, 1], (LeftOut("row 3", "no label"),))


def test_splits_are_sides(tmp_path: Path) -> None:
    texts = _texts()
    hf.DatasetDict({"test": texts.select([0]), "train": texts, "validation": texts}).save_to_disk(tmp_path / "saved")
    data = read_dataset(tmp_path / "saved")
    assert (data.sides or ()).count("test") == 1
    assert set(data.items.names) >= {"train row 1", "test row 1", "validation row 4"}


def test_images_inside_the_table_are_decoded_and_damaged_ones_left_out(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (6, 4), (shade, 0, 0)) for shade in (0, 200)]
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [*pictures, {"bytes": b"junk", "path": None}], "label": [0, 1, 1]}
    dataset = hf.Dataset.from_dict(rows, features=features)
    dataset.save_to_disk(tmp_path / "saved")
    dataset.to_parquet(tmp_path / "a.parquet")
    for source in (tmp_path / "saved", tmp_path / "a.parquet"):
        data = read_dataset(source)
        assert (data.modality, data.classes) == ("image", ("cat", "dog"))
        np.testing.assert_array_equal(data.items.values[1], np.asarray(pictures[1]))
        assert data.left_out == (LeftOut("row 3", "not an image"),)


def test_rows_chosen_before_saving_are_the_ones_read(tmp_path: Path) -> None:
    _texts().select([3, 0]).save_to_disk(tmp_path / "saved")
    assert read_dataset(tmp_path / "saved").items.values == ("great", "awful")


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    _texts().save_to_disk(folder)
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match="keeps its rows in another order") as caught:
        read_dataset(folder)
    assert "flatten_indices" in caught.value.hint
    (folder / "state.json").write_text(json.dumps({**state, "_data_files": []}))
    with pytest.raises(DataError, match="has no data files"):
        read_dataset(folder)
    (folder / "state.json").write_text(json.dumps(state))
    (folder / state["_data_files"][0]["filename"]).write_bytes(b"junk")
    with pytest.raises(DataError, match="cannot be read as Arrow"):
        read_dataset(folder)
    (folder / "dataset_info.json").unlink()
    with pytest.raises(DataError, match=r"dataset_info.json' is missing or is not JSON"):
        read_dataset(folder)
