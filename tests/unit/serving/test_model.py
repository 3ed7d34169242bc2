"""A bundle that answers, with pixels for a backbone so that no network runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bundles import sample
from PIL import Image

from headstart.data.dataset import Items, LeftOut
from headstart.errors import BundleError, DataError, OptionError
from headstart.features.memory import MemoryStore
from headstart.serving import Model, load


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model with a random head on pixels."""
    return load(sample.of_pixels(tmp_path))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures and two files that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, pixels in enumerate(_arrays(5)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "empty.png").write_bytes(b"")
    return folder


def _arrays(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + row, 30, 3), dtype=np.uint8) for row in range(n)]


def test_an_answer_has_the_label_its_probability_and_that_of_every_class(model: Model, photos: Path) -> None:
    predictions = model.predict(photos / "0.png")
    (one,) = predictions
    assert one.item == str(photos / "0.png")
    assert tuple(one.probabilities) == sample.CLASSES
    assert one.probability == max(one.probabilities.values()) == one.probabilities[one.label]
    assert abs(sum(one.probabilities.values()) - 1) < 1e-9
    assert predictions.labels == (one.label,)


def test_files_folders_patterns_and_arrays_give_the_same_numbers(model: Model, photos: Path) -> None:
    files = [photos / f"{number}.png" for number in range(5)]
    expected = model.predict(files).probabilities
    for given in (photos, str(photos / "[0-4].png"), [str(file) for file in files], _arrays(5)):
        np.testing.assert_allclose(model.predict(given).probabilities, expected, atol=1e-6)


def test_an_item_is_predicted_the_same_whatever_the_batch(model: Model) -> None:
    arrays = _arrays(70)
    alone = np.vstack([model.predict([array]).probabilities for array in arrays[:3]])
    np.testing.assert_allclose(model.predict(arrays).probabilities[:3], alone, atol=1e-6)


def test_what_cannot_be_used_is_listed_and_the_others_know_their_rows(model: Model, photos: Path) -> None:
    given = [photos / "broken.png", photos / "1.png", photos / "empty.png", photos / "3.png"]
    predictions = model.predict(given)
    assert predictions.items == (str(given[1]), str(given[3]))
    assert predictions.rows.tolist() == [1, 3]
    assert {each.name for each in predictions.left_out} == {str(given[0]), str(given[2])}
    assert all(each.reason for each in predictions.left_out)


def test_rows_are_right_when_a_file_vanishes_after_it_was_read(model: Model, photos: Path) -> None:
    gone, there = photos / "gone.png", photos / "1.png"
    predictions = model.predict_items(Items("image", (gone, there, gone, there), ("a", "b", "c", "d")))
    assert (predictions.items, predictions.rows.tolist()) == (("b", "d"), [1, 3])


def test_probabilities_alone_belong_to_items_or_are_refused(model: Model, photos: Path) -> None:
    files = [photos / "1.png", photos / "0.png"]
    np.testing.assert_array_equal(model.predict_proba(files), model.predict(files).probabilities)
    with pytest.raises(DataError) as caught:
        model.predict_proba([*files, photos / "broken.png"])
    assert str(caught.value).startswith("each item must have a row of probabilities, but 1 of 3 items cannot be used (")
    assert caught.value.hint == "Call predict(), which lists such items in left_out."


def test_nothing_usable_says_why(model: Model, photos: Path) -> None:
    with pytest.raises(DataError) as caught:
        model.predict(photos / "broken.png")
    assert str(caught.value).startswith(f"no item can be predicted: {photos / 'broken.png'}: ")
    assert caught.value.hint == "Give at least one readable item."


def test_no_items_at_all(model: Model) -> None:
    with pytest.raises(DataError, match="no item"):
        model.predict([])
    with pytest.raises(DataError, match="no item can be predicted: nothing was given"):
        model.predict_items(Items("image", (), ()))


def test_items_of_another_modality_are_refused(model: Model) -> None:
    with pytest.raises(DataError) as caught:
        model.predict_items(Items("text", ("hello",), ("a",)))
    assert str(caught.value) == "this model sees images, but the items are texts"
    assert caught.value.hint == "Give images, or load a model for texts."


@pytest.mark.parametrize("item", [7, b"bytes", Image.new("RGB", (4, 4)), None])
def test_what_is_no_item_is_refused_rather_than_skipped(model: Model, photos: Path, item: object) -> None:
    with pytest.raises(DataError, match=f"but one is of type {type(item).__name__}"):
        model.predict([photos / "0.png", item])  # type: ignore[list-item]


def test_one_array_is_one_picture_and_a_stack_is_several(model: Model) -> None:
    picture = _arrays(1)[0]
    assert len(model.predict(picture)) == 1
    assert len(model.predict(picture[:, :, 0])) == 1
    assert len(model.predict(np.stack([picture] * 4))) == 4


def test_pictures_must_be_bytes(model: Model) -> None:
    with pytest.raises(DataError, match="must be uint8 arrays"):
        model.predict(_arrays(1)[0].astype(float))


def test_a_table_and_a_data_frame_are_read_alike(model: Model, photos: Path) -> None:
    frame = pd.DataFrame({"id": [1, 2], "file": [str(photos / "0.png"), str(photos / "missing.png")]})
    frame.to_csv(photos.parent / "table.csv", index=False)
    from_frame, from_table = model.predict(frame), model.predict(photos.parent / "table.csv")
    np.testing.assert_array_equal(from_frame.probabilities, from_table.probabilities)
    assert len(from_frame.left_out) == len(from_table.left_out) == 1
    with pytest.raises(DataError, match="no column 'fil'"):
        model.predict(frame, column="fil")


def test_predictions_are_a_sequence_and_a_table(model: Model, photos: Path) -> None:
    predictions = model.predict([photos / f"{number}.png" for number in range(3)])
    assert len(predictions) == 3
    assert predictions[-1] == list(predictions)[2]
    assert predictions[:2] == (predictions[0], predictions[1])
    with pytest.raises(IndexError):
        predictions[3]
    frame = predictions.to_frame()
    assert list(frame.columns) == ["item", "prediction", "probability", "p:cat", "p:dog", "p:owl"]
    assert frame["prediction"].tolist() == list(predictions.labels)
    np.testing.assert_array_equal(frame["probability"], frame[["p:cat", "p:dog", "p:owl"]].max(axis=1))


def test_a_model_forgets_what_it_saw_unless_it_is_given_a_store(tmp_path: Path, photos: Path) -> None:
    class Counting(MemoryStore):
        n_read = 0

        def read(self, namespace, keys):  # type: ignore[no-untyped-def]
            rows, there = super().read(namespace, keys)
            self.n_read += int(there.sum())
            return rows, there

    folder = sample.of_pixels(tmp_path)
    assert load(folder).store is None
    store = Counting()
    kept = load(folder, store=store)
    first, second = kept.predict(photos / "0.png"), kept.predict(photos / "0.png")
    assert store.n_read == 1
    np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_a_bundle_of_float32_is_not_run_in_less(tmp_path: Path) -> None:
    folder = sample.of_pixels(tmp_path)
    assert load(folder, device="cpu").compute.precision == "float32"
    assert load(folder, device="cpu", precision="bfloat16").compute.precision == "bfloat16"


def test_words_that_are_none(tmp_path: Path) -> None:
    folder = sample.of_pixels(tmp_path)
    with pytest.raises(OptionError, match="the device must be"):
        load(folder, device="gpu")
    with pytest.raises(OptionError, match="the precision must be"):
        load(folder, precision="half")
    with pytest.raises(BundleError, match="is no bundle and no run"):
        load(tmp_path / "nope")


def test_left_out_while_reading_is_passed_on(model: Model, photos: Path) -> None:
    items = Items("image", (photos / "0.png",), ("a",))
    earlier = LeftOut("z", "no image path")
    assert model.predict_items(items, left_out=[earlier]).left_out == (earlier,)
