"""A bundle that answers, with pixels for a backbone so that no network runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bundles import sample
from PIL import Image

from headstart.adaptation.gate import Gate, directions
from headstart.backbones.loaders.pixels import PIXELS
from headstart.data.dataset import Items, LeftOut
from headstart.data.identify import content_keys
from headstart.errors import BundleError, DataError, OptionError
from headstart.evaluation.conformal import prediction_sets
from headstart.features.extract import Features, extract
from headstart.features.memory import MemoryStore
from headstart.serving import Model, Predictions, joined, load
from headstart.serving._inputs import as_items


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


def test_several_heads_on_one_network_answer_with_their_average(tmp_path: Path) -> None:
    several = load(sample.of_pixels(tmp_path, several=True))
    (one, share), (other, rest) = several.bundle.predictor.members
    features = extract(
        content_keys(as_items(_arrays(4), "image")[0])[0],
        list(several.bundle.backbones.values()),
        store=MemoryStore(),
        compute=several.compute,
    ).features
    seen = {each.backbone.name: each for each in features}
    expected = share * one.probabilities(seen) + rest * other.probabilities(seen)
    assert len(several.bundle.backbones) == 1
    np.testing.assert_allclose(several.predict_proba(_arrays(4)), expected, atol=1e-6)


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


@pytest.fixture
def doubting(tmp_path: Path) -> Model:
    """The same model with sets, and a gate that knows grey pictures."""
    grey = np.full((6, PIXELS.width), 0.5, dtype=np.float32) + 0.01 * np.eye(6, PIXELS.width, dtype=np.float32)
    known = directions({"pixels": Features(PIXELS, grey, np.ones(6, dtype=bool))}, ["pixels"])
    return load(sample.of_pixels(tmp_path, held_out=sample.held_out(), gate=Gate(("pixels",), known, 0.05)))


GREY = np.full((32, 32, 3), 128, dtype=np.uint8)


def test_sets_hold_what_the_scores_say(doubting: Model) -> None:
    plain, asked = doubting.predict(_arrays(12)), doubting.predict(_arrays(12), coverage=0.9)
    assert plain.in_set is None
    assert asked.in_set is not None
    np.testing.assert_array_equal(asked.probabilities, plain.probabilities)
    np.testing.assert_array_equal(asked.in_set, prediction_sets(plain.probabilities, sample.held_out(), 0.9))
    for one, row in zip(asked, asked.in_set, strict=True):
        assert one.set is not None
        assert one.set[0] == one.label
        assert set(one.set) == {name for name, held in zip(asked.classes, row, strict=True) if held}
        assert list(one.set) == sorted(one.set, key=lambda name: -one.probabilities[name])
    assert asked.notes == ()


def test_a_coverage_out_of_reach_is_said(doubting: Model) -> None:
    predictions = doubting.predict(_arrays(2), coverage=0.999)
    assert all(set(one.set or ()) == set(sample.CLASSES) for one in predictions)
    (note,) = predictions.notes
    assert note.startswith("Sets that hold the true class in 99.9 % of all cases need 999 or more")


def test_where_a_look_is_cheaper_there_is_no_label(doubting: Model) -> None:
    plain = doubting.predict(_arrays(30))
    cost = float(1 - np.median(plain.probabilities.max(axis=1)))
    asked = doubting.predict(_arrays(30), abstain_cost=cost)
    for before, after in zip(plain, asked, strict=True):
        assert after.abstained == (before.probability < 1 - cost)
        assert after.label == (None if after.abstained else before.label)
        assert (after.probability, after.set) == (before.probability, None)
    assert asked.labels == tuple(one.label for one in asked)
    assert 0 < sum(one.abstained or False for one in asked) < 30


def test_the_gate_flags_what_looks_like_nothing_that_it_knows(doubting: Model) -> None:
    half = np.where(np.arange(32)[:, None, None] < 16, 0, np.full((32, 32, 3), 255)).astype(np.uint8)
    given = [GREY, half]
    assert doubting.predict(given).unusual is None
    for asked in ({"gate": True}, {"coverage": 0.9}, {"abstain_cost": 0.1}):
        assert [one.unusual for one in doubting.predict(given, **asked)] == [False, True]


def test_what_a_bundle_does_not_hold_is_said_when_asked_for(model: Model) -> None:
    with pytest.raises(BundleError, match="holds nothing for prediction sets") as caught:
        model.predict(_arrays(1), coverage=0.9)
    assert "fit again" in caught.value.hint
    with pytest.raises(BundleError, match="holds nothing for a gate for unusual items"):
        model.predict(_arrays(1), gate=True)
    asked = model.predict(_arrays(1), abstain_cost=0.3)  # needs nothing of its own
    assert asked.unusual is None
    assert asked.abstained is not None


def test_numbers_that_are_none_are_refused_before_anything_is_read(doubting: Model) -> None:
    with pytest.raises(OptionError, match="a coverage must lie above 0 and below 1, but got 90") as caught:
        doubting.predict("nowhere", coverage=90)
    assert caught.value.hint == "Write 0.9 for 90 %."
    with pytest.raises(OptionError, match="the cost of asking a person must lie between 0 and 1"):
        doubting.predict("nowhere", abstain_cost=1.0)


def test_what_was_asked_for_is_in_the_table(doubting: Model) -> None:
    frame = doubting.predict(_arrays(4), coverage=0.9, abstain_cost=0.2).to_frame()
    asked = ["set", "abstained", "unusual"]
    assert list(frame.columns) == ["item", "prediction", "probability", *asked, "p:cat", "p:dog", "p:owl"]
    assert (frame["prediction"].isna() == frame["abstained"]).all()
    assert set(frame["set"].iloc[0].split("|")) <= set(sample.CLASSES)
    assert "set" not in doubting.predict(_arrays(1), gate=True).to_frame()


def test_names_in_a_set_can_be_told_apart_again() -> None:
    def split(text: str) -> list[str]:
        names, escaped = [""], False
        for letter in text:
            if escaped or letter not in "|\\":
                names[-1], escaped = names[-1] + letter, False
            elif letter == "|":
                names.append("")
            else:
                escaped = True
        return names

    assert joined(["cat", "dog"]) == "cat|dog"
    for names in (["a|b", "c"], ["a", "b|c"], ["a\\", "b"], ["a\\|b"], ["", "x"], ["\\|\\", "|"]):
        assert split(joined(names)) == names


def test_one_answer_can_be_taken_out(doubting: Model) -> None:
    predictions: Predictions = doubting.predict(_arrays(5), coverage=0.5, abstain_cost=0.4)
    assert predictions[-1] == list(predictions)[4]
    assert predictions.sets is not None
    assert predictions[2].set == predictions.sets[2]
