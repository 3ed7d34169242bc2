"""Suggestions from files to the record, with pixels for a backbone so that no network runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import sample

from headstart._fingerprint import sha256_file
from headstart._records import to_json
from headstart.adaptation.predictor import Part
from headstart.backbones.loaders.pixels import PIXELS
from headstart.bundles import write_bundle
from headstart.bundles.manifest import KEY_DIGITS
from headstart.data import read_items
from headstart.data.images import write_png
from headstart.errors import BackboneError, BundleError, DataError, OptionError
from headstart.recipes import suggest as module
from headstart.recipes.consider import Considered
from headstart.recipes.suggest import SuggestOptions, suggest
from headstart.reports.suggested import SuggestionRecord, is_suggestions, write_suggestions
from headstart.serving import load

Ask = Callable[..., SuggestionRecord]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty pictures of three hues, two copies of the first, and a file that is none."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for number in range(30):
        pixels = rng.integers(0, 90, (24, 24, 3), dtype=np.uint8)
        pixels[:, :, number % 3] += 120
        folder.mkdir(exist_ok=True)
        write_png(folder / f"{number:02}.png", pixels)
    for name in ("x.png", "y.png"):
        shutil.copy(folder / "00.png", folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def ask(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Suggests from these pictures, in a home of its own; the only backbone on this disk is the pixels."""
    home = tmp_path / "home"
    pixels = sample.pixels(tmp_path / "pixels")
    monkeypatch.setattr(module, "consider", lambda items, *_: Considered([pixels], {}, (), ()))

    def ask(*, inputs: Path = photos, **asked: object) -> SuggestionRecord:
        options = replace(SuggestOptions(home=home, n=6), **asked)  # type: ignore[arg-type]
        return suggest(lambda modality: read_items(inputs, modality=modality or "image"), options=options)

    return ask


def _bundle(folder: Path, *, known: list[str]) -> Path:
    head = sample.predictor((Part("pixels", "last"),), PIXELS.width)
    manifest = replace(sample.manifest(head), training_keys=tuple(known))
    return write_bundle(folder, head, {"pixels": sample.pixels(folder / "p")}, manifest=manifest, card="# card\n")


def test_without_a_model_typical_items_are_suggested(ask: Ask) -> None:
    record = ask(n=3)
    assert [each.rank for each in record.suggestions] == [1, 2, 3]
    hues = {int(Path(each.item).stem) % 3 for each in record.suggestions if Path(each.item).stem.isdigit()}
    assert hues == {0, 1, 2}
    assert all(each.reason == f"typical of {each.n_alike} items" for each in record.suggestions)
    assert sum(each.n_alike for each in record.suggestions) == record.n_unlabelled == 30
    assert (record.run, record.backbones, record.n_copies, record.n_known) == (None, ("pixels",), 2, 0)
    assert "TypiClust" in record.rule
    assert [Path(each.name).name for each in record.left_out] == ["broken.png"]


def test_with_a_model_the_reason_names_the_two_classes(ask: Ask, tmp_path: Path) -> None:
    bundle = _bundle(tmp_path / "bundle", known=[])
    record = ask(run=str(bundle))
    assert len(record.suggestions) == 6
    predictions = {each.item: each.probabilities for each in load(bundle).predict([s.item for s in record.suggestions])}
    for each in record.suggestions:
        first, second = each.guesses
        best = sorted(predictions[each.item].items(), key=lambda pair: -pair[1])[:2]
        assert [(first.label, second.label)] == [tuple(name for name, _ in best)]
        assert (first.probability, second.probability) == pytest.approx([value for _, value in best], abs=1e-6)
        assert each.reason == (
            f"unsure between {first.label} and {second.label}: {first.probability:.2f} / {second.probability:.2f}"
        )
    assert record.run == str(bundle)


def test_copies_of_training_items_are_never_suggested(ask: Ask, photos: Path, tmp_path: Path) -> None:
    keys = [sha256_file(photos / f"{number:02}.png")[:KEY_DIGITS] for number in range(10)]
    record = ask(run=str(_bundle(tmp_path / "bundle", known=keys)), n=100)
    names = {Path(each.item).name for each in record.suggestions}
    assert names == {f"{number}.png" for number in range(10, 30)}
    assert (record.n_known, record.n_copies, record.n_unlabelled) == (12, 0, 20)
    assert record.notes == ("100 items were asked for, and there are 20 to choose from: all are given.",)


def test_copies_are_suggested_once(ask: Ask) -> None:
    names = [Path(each.item).name for each in ask(n=100).suggestions]
    assert len(names) == len(set(names)) == 30
    assert names.count("00.png") == 1
    assert not {"x.png", "y.png"} & set(names)


def test_the_same_seed_gives_the_same_suggestions(ask: Ask) -> None:
    assert to_json(ask()) == to_json(ask())


def test_nothing_is_left_where_all_was_in_the_training(ask: Ask, photos: Path, tmp_path: Path) -> None:
    keys = [sha256_file(each)[:KEY_DIGITS] for each in photos.glob("*.png")]
    bundle = _bundle(tmp_path / "bundle", known=keys)
    with pytest.raises(DataError, match=r"nothing is left to suggest \(33 were in the training of the model\)"):
        ask(run=str(bundle))


def test_nothing_is_left_where_no_item_can_be_decoded(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"nothing is left to suggest .*a\.png"):
        ask(inputs=tmp_path / "bad")


def test_what_is_no_run_is_refused(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        ask(run=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"n": 0}, "at least 1 item must be asked for, but got 0"),
        ({"n": 2.5}, "number of items"),
        ({"seed": -1}, "the seed must be 0 or greater, but got -1"),
        ({"run": "r", "backbone": "resnet18"}, "a run brings its own backbones, but 'resnet18' was named beside one"),
        ({"modality": "sound"}, "the modality must be auto or image or text, but got 'sound'"),
    ],
)
def test_options_outside_their_rule_are_refused(asked: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SuggestOptions(**asked)  # type: ignore[arg-type]


def test_a_backbone_for_other_items_is_refused(photos: Path, tmp_path: Path) -> None:
    options = SuggestOptions(home=tmp_path / "home", backbone="all_minilm_l6_v2", offline=True)
    with pytest.raises(BackboneError, match="is a backbone for texts, and the data holds images"):
        suggest(lambda _: read_items(photos, modality="image"), options=options)


def test_the_table_has_a_row_for_each(ask: Ask, tmp_path: Path) -> None:
    record = ask(n=2)
    table = write_suggestions(tmp_path / "new" / "s.csv", record)
    assert is_suggestions(table)
    assert not is_suggestions(tmp_path / "none.csv")
    first = record.suggestions[0]
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["rank,item,reason,text", f"1,{first.item},{first.reason},"]
    assert len(lines) == 3
