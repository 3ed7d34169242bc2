"""The audit from files to the record, on pictures and texts in which faults were planted."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart._randomness import generator
from headstart._records import from_json, to_json
from headstart.auditing import Finding
from headstart.backbones.backbone import Backbone
from headstart.backbones.loaders.pixels import PixelBackbone
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec, Layer
from headstart.data.read import read_dataset
from headstart.errors import DataError, OptionError, OutputError
from headstart.recipes import audit as module
from headstart.recipes.audit import audit
from headstart.recipes.consider import Considered
from headstart.recipes.options import FitOptions
from headstart.reports.formatting import prose
from headstart.reports.record import AuditRecord
from recipes import made

Look = Callable[..., AuditRecord]

HUES = {"blue": (60, 60, 190), "red": (190, 60, 60)}
_CELLS = 8


class Eyes:
    """Sees of a picture the mean colours of 64 cells, and of a text how often each letter occurs.

    Attributes:
        n_seen: How many items it has seen.
        most: After so many the time is up; None for never.
    """

    def __init__(self) -> None:
        self.n_seen = 0
        self.most: int | None = None

    def load(self, local: Local, *, device: str = "cpu", precision: str = "float32") -> Backbone:
        """Stands in for `headstart.backbones.load`."""
        return PixelBackbone(local.spec) if local.spec.loader == "pixels" else _Seeing(local.spec, self)


class _Seeing:
    def __init__(self, spec: BackboneSpec, eyes: Eyes) -> None:
        self.spec, self.eyes = spec, eyes

    def forward(self, batch: Any) -> np.ndarray:
        """One row an item."""
        self.eyes.n_seen += len(batch)
        if isinstance(batch[0], str):
            counts = [[text.lower().count(chr(letter)) for letter in range(97, 123)] for text in batch]
            return np.array(counts, dtype=np.float32)
        pixels = np.asarray(batch, dtype=np.float32) / 255
        side = pixels.shape[1] // _CELLS
        cells = pixels.reshape(len(pixels), _CELLS, side, _CELLS, side, 3).mean(axis=(2, 4))
        seen: np.ndarray = cells.reshape(len(pixels), -1)
        return seen


def _local(modality: str) -> Local:
    known = made.local("eyes", text=modality == "text")
    width = 26 if modality == "text" else 3 * _CELLS * _CELLS
    return replace(known, spec=replace(known.spec, layers=(Layer("last", width),)))


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> Eyes:
    """The only network there is."""
    eyes = Eyes()
    monkeypatch.setattr("headstart.features.extract.load", eyes.load)
    monkeypatch.setattr("headstart.recipes.climb.measure_latency", lambda *_, **__: None)
    considered = Considered([], {}, (), ())
    monkeypatch.setattr(module, "consider", lambda items, *_: replace(considered, backbones=[_local(items.modality)]))
    return eyes


@pytest.fixture
def look(eyes: Eyes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Audits in an empty folder, with a home of its own."""
    monkeypatch.chdir(tmp_path)

    def look(data: Any, *, against: Any = None, fix: Any = None, **options: Any) -> AuditRecord:
        asked = FitOptions(**{"home": tmp_path / "home", "precision": "float32", "device": "cpu", **options})
        return audit(data, options=asked, against=against, fix=fix)

    return look


def _picture(path: Path, name: str, seed: int) -> Path:
    rng = generator(seed, "picture")
    pixels = np.clip(np.array(HUES[name]) + rng.normal(0, 70, (8, 8, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(path, quality=92)
    return path


def _photos(folder: Path, n: int = 20, *, start: int = 0) -> Path:
    """A folder with `n` pictures of each hue, in training; their names say nothing."""
    for label, name in enumerate(HUES):
        for item in range(start, start + n):
            seed = 1000 * label + item
            _picture(folder / name / f"{generator(seed, 'name').integers(10**9)}.jpg", name, seed)
    return folder


_SAID = {"praise": "a warm and funny hour", "blame": "bitter, stiff, pompous work"}
_WORDS = ("river", "garden", "window", "paper", "music", "letter", "street", "winter", "table", "morning", "captain",
          "doctor", "island", "bridge", "mirror", "candle", "soldier", "teacher", "forest", "pocket")  # fmt: skip


def _text(label: str, seed: int) -> str:
    rng = generator(seed, "text", label)
    return f"{_SAID[label]}: {' '.join(rng.choice(_WORDS, 9))}"


def _rows(n: int, *, start: int = 0) -> list[tuple[str, str]]:
    return [(_text(label, item), label) for item in range(start, start + n) for label in _SAID]


def _table(path: Path, rows: Sequence[Sequence[str]], columns: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)
    return path


def _kinds(record: AuditRecord) -> dict[str, Finding]:
    return {each.kind: each for each in record.findings}


def _one(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def test_clean_data_has_no_serious_finding(look: Look, tmp_path: Path) -> None:
    record = look(_photos(tmp_path / "photos"))
    assert {each.severity for each in record.findings} <= {"info"}
    assert (record.n_items, record.n_train, record.n_test, record.classes) == (40, 40, 0, ("blue", "red"))
    assert record.backbone == "eyes"
    assert record.verdict.startswith("40 items were looked at")
    assert set(record.timings) == {"read", "extract", "audit", "report", "total"}
    assert from_json(to_json(record), AuditRecord) == record


def test_planted_faults_of_pictures_are_found(look: Look, tmp_path: Path) -> None:
    train, test = _photos(tmp_path / "photos" / "train", 30), _photos(tmp_path / "photos" / "test", 10, start=500)
    copied = _one(train / "blue")
    shutil.copy(copied, test / "blue" / "copy.jpg")
    near = sorted((train / "red").iterdir())[1]
    Image.open(near).resize((60, 60)).save(test / "red" / "near.jpg", quality=50)
    Image.new("RGB", (64, 64), (255, 255, 255)).save(train / "red" / "blank.png")
    (train / "blue" / "broken.jpg").write_bytes(copied.read_bytes()[:300])
    wrong = [_picture(train / "blue" / f"wrong{number}.jpg", "red", 7000 + 31 * number) for number in range(2)]
    record = look(tmp_path / "photos", fix=tmp_path / "cleaned.csv")
    found = _kinds(record)
    assert found["exact_duplicates_across_sides"].items == ("test/blue/copy.jpg",)
    assert found["exact_duplicates_across_sides"].severity == "serious"
    assert found["near_duplicates_across_sides"].items == ("test/red/near.jpg",)
    assert found["uniform_pictures"].items == ("train/red/blank.png",)
    assert found["left_out"].items == ("train/blue/broken.jpg",)
    assert [each.name for each in record.left_out] == ["train/blue/broken.jpg"]
    assert {f"train/blue/{path.name}" for path in wrong} <= set(found["suspected_label_errors"].items)
    assert {f"train/blue/{path.name}" for path in wrong} <= {each.item for each in record.check_first}
    example = found["exact_duplicates_across_sides"].examples[0]
    assert example.items == ("test/blue/copy.jpg", f"train/blue/{copied.name}")
    assert all(preview.startswith("data:image/") for preview in example.previews)
    assert record.learning_curve is not None
    page = unescape(Path(record.out).read_text(encoding="utf-8"))
    for each in record.findings:
        assert all(prose(part) in page for part in (each.summary, each.effect, each.advice))

    with (tmp_path / "cleaned.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["item"]: row for row in csv.DictReader(file)}
    actions = {name: row["action"] for name, row in rows.items()}
    assert actions["train/blue/broken.jpg"] == actions["train/red/blank.png"] == "remove"
    assert actions[f"train/blue/{copied.name}"] == actions[f"train/red/{near.name}"] == "remove"
    assert actions["test/blue/copy.jpg"] == actions["test/red/near.jpg"] == "regroup"
    assert all(rows[f"train/blue/{path.name}"]["action"] == "keep" for path in wrong)
    assert all(rows[f"train/blue/{path.name}"]["suggestion"] == "red" for path in wrong)
    assert record.actions == {name: list(actions.values()).count(name) for name in set(actions.values())}
    again = read_dataset(tmp_path / "cleaned.csv")
    assert len(again) == sum(action != "remove" for action in actions.values())
    assert again.sides is not None
    cleaned = _kinds(look(tmp_path / "cleaned.csv", out=str(tmp_path / "again.html")))
    assert not {kind for kind in cleaned if "duplicates" in kind} | {"left_out", "uniform_pictures"} & set(cleaned)


def test_planted_faults_of_texts_are_found(look: Look, tmp_path: Path) -> None:
    train, test = _rows(40), _rows(10, start=500)
    test.append(train[0])
    words = train[3][0].split()
    test.append((" ".join([*words[:-1], "elsewhere"]), train[3][1]))
    train += [(train[5][0], "praise" if train[5][1] == "blame" else "blame")]
    train += [(_text("blame", 9000), "praise"), ("write to jane.doe@example.org for a refund of all of it", "praise")]
    rows = [(*row, "train") for row in train] + [(*row, "test") for row in test]
    record = look(_table(tmp_path / "texts.csv", rows, ("text", "label", "split")))
    found = _kinds(record)
    assert found["exact_duplicates_across_sides"].count == 1
    assert found["near_duplicates_across_sides"].count == 1
    assert found["conflicting_labels"].severity == "serious"
    assert set(found["conflicting_labels"].items) == {"row 6", "row 81"}
    assert "row 82" in found["suspected_label_errors"].items
    shown = "".join(preview for each in record.findings for one in each.examples for preview in one.previews)
    assert "jane.doe@example.org" not in shown
    assert "jane.doe@example.org" not in Path(record.out).read_text(encoding="utf-8")


def test_a_row_of_series_is_proposed_as_groups(look: Look, tmp_path: Path) -> None:
    for label, name in enumerate(HUES):
        for patient in range(6):
            seen = np.asarray(Image.open(_picture(tmp_path / "x.jpg", name, 100 * label + patient)))
            for scan in range(4):
                noisy = np.clip(seen + generator(scan, "scan").normal(0, 6, seen.shape), 0, 255).astype(np.uint8)
                path = tmp_path / "scans" / name / f"{name[0]}{patient:03}_{scan}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.roll(noisy, 9 * scan, axis=1)).save(path)
    record = look(tmp_path / "scans", fix=tmp_path / "cleaned.csv")
    found = _kinds(record)
    assert "series" in found
    groups = read_dataset(tmp_path / "cleaned.csv").groups
    assert groups is not None
    assert len(set(groups)) <= 12


@pytest.mark.parametrize("labelled", [True, False])
def test_other_data_is_compared_labelled_or_not(look: Look, tmp_path: Path, labelled: bool) -> None:
    data = _table(tmp_path / "texts.csv", _rows(40))
    # Written by others, and with less blame.
    other = [(text.replace("e", "xqz"), label) for text, label in _rows(40, start=900)]
    rows = [row for number, row in enumerate(other) if row[1] == "praise" or number % 8 == 1]
    columns = ("text", "label")[: 1 + labelled]
    _table(tmp_path / "other.csv", [row[: len(columns)] for row in rows], columns)
    found = _kinds(look(data, against=tmp_path / "other.csv"))
    assert "shift_against" in found
    assert ("label_shift_against" in found) is labelled


def test_other_data_of_the_same_source_differs_in_nothing(look: Look, tmp_path: Path) -> None:
    data = _table(tmp_path / "texts.csv", _rows(40))
    other = _table(tmp_path / "other.csv", _rows(40, start=900))
    assert not [kind for kind in _kinds(look(data, against=other)) if "against" in kind]


def test_other_data_is_read_with_the_columns_of_the_data(look: Look, tmp_path: Path) -> None:
    columns = ("id of the row", "said", "kind")
    rows = [(f"a rather long identifier of this row, number {row}, and nothing else at all in it beside the number "
             f"{row} and more", *each) for row, each in enumerate(_rows(40))]  # fmt: skip
    data = _table(tmp_path / "texts.csv", rows, columns)
    other = _table(tmp_path / "other.csv", [(f"{row[0]} again", *row[1:]) for row in rows], columns)
    found = _kinds(look(data, target="kind", column="said", against=other))
    assert not [kind for kind in found if "against" in kind]


def test_other_data_that_is_missing_or_cannot_be_seen_is_refused(look: Look, tmp_path: Path, eyes: Eyes) -> None:
    data = _photos(tmp_path / "photos")
    with pytest.raises(DataError, match="nowhere"):
        look(data, against=tmp_path / "nowhere")
    assert eyes.n_seen == 0
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"no item of .*bad"):
        look(data, against=tmp_path / "bad")


@pytest.mark.parametrize("n_items", [2, 3, 10])
def test_few_items_will_do(look: Look, tmp_path: Path, n_items: int) -> None:
    data = _table(tmp_path / "texts.csv", _rows(5)[:n_items])
    record = look(data, against=data, fix=tmp_path / "cleaned.csv")
    assert (record.n_items, record.check_first, record.learning_curve) == (n_items, (), None)
    assert Path(record.out).exists()


@pytest.mark.parametrize("n_items", [2, 3, 10])
def test_few_pictures_on_two_sides_will_do(look: Look, tmp_path: Path, n_items: int) -> None:
    for side in ("train", "test"):
        for item in range(n_items):
            name = list(HUES)[item % 2]
            _picture(tmp_path / "photos" / side / name / f"{item}.jpg", name, len(side) * 100 + item)
    assert look(tmp_path / "photos").n_test == n_items


def test_classes_of_one_item_are_looked_at(look: Look, tmp_path: Path) -> None:
    rows = [(_text("praise", row), f"class {max(1, row)}") for row in range(24)]
    record = look(_table(tmp_path / "texts.csv", rows), target="label")
    assert "single_item_classes" in _kinds(record)


def test_one_class_is_refused(look: Look, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class"):
        look(_table(tmp_path / "texts.csv", [row for row in _rows(9) if row[1] == "praise"]))


def test_what_a_budget_does_not_reach_is_still_checked_for_what_needs_no_network(look: Look, tmp_path: Path) -> None:
    rows = [*_rows(300), ("", "praise"), *_rows(1)]
    data = _table(tmp_path / "texts.csv", [*rows, ("write to jane.doe@example.org now, all of you", "praise")])
    record = look(data, budget_s=0.001, fix=tmp_path / "cleaned.csv")
    found = _kinds(record)
    assert record.n_items == 603
    assert any("64 of 603 items" in note for note in record.notes)
    assert found["exact_duplicates"].count == 2
    assert not any("not reached" in each.reason for each in record.left_out)
    assert sum(record.actions.values()) == 604
    assert len(read_dataset(tmp_path / "cleaned.csv")) == 601


def test_the_same_seed_gives_the_same_findings(look: Look, tmp_path: Path) -> None:
    train, test = _photos(tmp_path / "photos" / "train", 12), _photos(tmp_path / "photos" / "test", 6, start=500)
    shutil.copy(_one(train / "blue"), test / "red" / "copy.jpg")
    first, second = (
        look(tmp_path / "photos", seed=3, out=str(tmp_path / name), fix=tmp_path / f"{name}.csv") for name in "ab"
    )
    assert first.findings == second.findings
    assert first.check_first == second.check_first
    assert first.learning_curve == second.learning_curve
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_where_the_list_cannot_be_written_nothing_is_computed(look: Look, tmp_path: Path, eyes: Eyes) -> None:
    data = _photos(tmp_path / "photos", 4)
    (tmp_path / "there.csv").write_text("mine", encoding="utf-8")
    for target, message in (
        (tmp_path / "there.csv", "exists, and a cleaned list must not replace it unasked"),
        (tmp_path / "photos", "is a folder"),
        (tmp_path / "list.txt", "the cleaned list is a CSV file"),
    ):
        with pytest.raises(OutputError, match=message):
            look(data, fix=target)
    assert eyes.n_seen == 0
    assert (tmp_path / "there.csv").read_text(encoding="utf-8") == "mine"
    look(data, fix=tmp_path / "there.csv", overwrite=True)
    assert len(read_dataset(tmp_path / "there.csv")) == 8


def test_images_without_files_are_looked_at_but_not_listed(look: Look, tmp_path: Path) -> None:
    pixels = generator(0, "arrays").integers(0, 255, (24, 32, 32, 3), dtype=np.uint8)
    targets = [row % 2 for row in range(24)]
    assert look(pixels, targets=targets).n_items == 24
    with pytest.raises(OptionError, match="a cleaned list names files"):
        look(pixels, targets=targets, fix=tmp_path / "cleaned.csv")


def test_the_page_never_replaces_the_data_nor_the_list(look: Look, tmp_path: Path) -> None:
    data, other = _table(tmp_path / "data.csv", _rows(10)), _table(tmp_path / "other.csv", _rows(4))
    before = data.read_bytes(), other.read_bytes()
    cleaned = tmp_path / "cleaned.csv"
    for page in (data, other, cleaned):
        with pytest.raises(OutputError, match="the page must not replace the data or the cleaned list"):
            look(data, against=other, fix=cleaned, out=str(page), overwrite=True)
    assert (data.read_bytes(), other.read_bytes()) == before
    assert not cleaned.exists()


def test_a_list_never_replaces_the_data(look: Look, tmp_path: Path) -> None:
    (tmp_path / "sides").mkdir()
    data = _table(tmp_path / "sides" / "train.csv", _rows(10))
    test, other = _table(tmp_path / "sides" / "test.csv", _rows(3)), _table(tmp_path / "other.csv", _rows(4))
    before = [path.read_bytes() for path in (data, test, other)]
    for given, target in ((data, data), (data, test), (data, other), (data.parent, test)):
        with pytest.raises(OutputError, match="must not replace the data that it is made of"):
            look(given, test=None if given == data.parent else str(test), against=other, fix=target, overwrite=True)
    assert [path.read_bytes() for path in (data, test, other)] == before
    # A list that lies beside the data is none of it.
    for _ in range(2):
        look(data.parent, fix=data.parent / "cleaned.csv", overwrite=True)


def test_hostile_names_of_files_are_shown_and_listed(look: Look, tmp_path: Path) -> None:
    folder = _photos(tmp_path / "photos")
    names = ("two\nlines", 'a "quoted", name', "<script>alert(1)<", " spaces ", "=1+1", "שלום\u202e abc", "-rf")
    for number, name in enumerate(names):
        shutil.copy(_one(folder / "blue"), folder / "red" / f"{name} {number} .png")
    lists = tmp_path / "lists" / "of mine"
    record = look(folder, fix=lists / "cleaned.csv")
    assert _kinds(record)["conflicting_labels"].count >= len(names)
    page = Path(record.out).read_text(encoding="utf-8")
    assert "<script" not in page
    json.loads(to_json(record))
    assert len(read_dataset(lists / "cleaned.csv")) == sum(
        count for action, count in record.actions.items() if action != "remove"
    )


def test_names_that_are_not_utf_8_are_shown_but_cannot_be_listed(look: Look, tmp_path: Path) -> None:
    folder = _photos(tmp_path / os.fsdecode(b"ph\xffotos"))
    shutil.copy(_one(folder / "blue"), folder / "blue" / os.fsdecode(b"bad\xff.jpg"))
    record = look(folder)
    (example,) = _kinds(record)["exact_duplicates"].examples
    assert any("\ufffd" in name for name in example.items)
    Path(record.out).read_text(encoding="utf-8")
    with pytest.raises(OptionError, match="must be valid UTF-8"):
        look(folder, fix=tmp_path / "cleaned.csv", out=str(tmp_path / "p.html"))
    assert not (tmp_path / "cleaned.csv").exists()


def test_what_is_compared_with_is_a_path() -> None:
    with pytest.raises(OptionError, match=r"the other data of against must be a path, but got \[1\]"):
        audit("photos", options=FitOptions(), against=[1])  # type: ignore[arg-type]
