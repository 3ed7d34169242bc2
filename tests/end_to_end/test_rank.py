"""`headstart rank` from files to a page: what it records, what it must not look at, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headstart as hs
from end_to_end.conftest import COLOURS, Cli, Loaded, Network, photos, record, reviews
from headstart._fingerprint import sha256_file
from headstart._records import from_json
from headstart.backbones.resolve import Local, resolve
from headstart.data.dataset import Items
from headstart.errors import OptionError
from headstart.features.extract import Extraction, extract
from headstart.recipes.consider import Considered
from headstart.recipes.nearness import diagnostics_of
from headstart.reports.record import RankingRecord
from headstart.selection.prior import Prior

STARTERS = {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"}
FIELDS = {
    *("schema", "name", "version", "created", "command", "seed", "source", "modality", "n_train", "n_classes"),
    *("ranking", "chosen", "why", "nearness", "notes", "left_out", "timings", "environment", "out"),
}
ROW = {
    *("backbone", "scores", "tie_set", "seconds", "n_params", "layer", "accuracy", "gflops", "licence", "prior"),
    *("prior_origin", "diagnostics", "undefined", "n_items"),
}


def _ranked(cli: Cli, *arguments: object) -> dict[str, Any]:
    result = cli("rank", *arguments, "--json")
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def _refused(cli: Cli, *arguments: object, message: str, hint: str = "") -> None:
    result = cli("rank", *arguments)
    assert result.code == 2, result.err
    assert result.out == ""
    said = [line for line in result.err.splitlines() if line.startswith(("error: ", "hint: "))]
    assert message in said[0]
    assert hint in "".join(said[1:])
    assert "Traceback" not in result.err


def test_the_record_has_the_documented_fields_and_the_page_is_there(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    result = cli("rank", "photos", "--json")
    found = json.loads(result.out)
    assert found["schema"] == "headstart.ranking/1"
    assert set(found) == FIELDS
    assert {each["backbone"] for each in found["ranking"]} == STARTERS
    for row in found["ranking"]:
        assert set(row) == ROW
        assert row["accuracy"]["low"] <= row["accuracy"]["value"] == row["scores"]["loo_accuracy"]
        assert row["n_items"] == found["n_train"] == 30
        assert set(row["undefined"]) == {name for name, value in row["diagnostics"].items() if value is None}
    assert set(found["timings"]) == {"read", "rank", "report", "total"}
    assert found["chosen"] in {row["backbone"] for row in found["ranking"] if row["tie_set"]}
    assert found["out"] == "runs/photos-ranking.html"
    assert from_json(result.out, RankingRecord).chosen == found["chosen"]
    page = Path(found["out"]).read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert all(name in page for name in STARTERS)
    assert [path.name for path in Path("runs").iterdir()] == ["photos-ranking.html"]


def test_what_is_printed_names_the_choice_and_what_to_type_next(cli: Cli, network: Network) -> None:
    photos(Path("my photos"))
    result = cli("rank", "my photos")
    assert result.code == 0
    words = " ".join(result.out.split())
    assert (chosen := words.split(". ")[0]) in STARTERS
    assert "leave-one-out" in words
    assert f"next headstart fit 'my photos' --backbone {chosen}" in words
    assert "runs/my photos-ranking.html" in words


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The keys of the items that a ladder gives to each backbone."""
    keys: dict[str, set[str]] = {}

    def noting(items: Items, backbones: Sequence[Local], **options: Any) -> Extraction:
        for each in backbones:
            keys.setdefault(each.spec.name, set()).update(items.keys)
        return extract(items, backbones, **options)

    monkeypatch.setattr("headstart.recipes.climb.extract", noting)
    return keys


def test_the_sealed_test_is_not_opened_nor_its_items_computed(
    cli: Cli, network: Network, asked: dict[str, set[str]]
) -> None:
    photos(Path("data/train"), 10)
    photos(Path("data/test"), 10, start=50)
    _ranked(cli, "data", "--backbone", "efficientnet_lite0")
    train, test = ({sha256_file(file) for file in Path("data", side).rglob("*.jpg")} for side in ("train", "test"))
    assert len(train) == len(test) == 30
    assert not train & test
    assert asked == {"efficientnet_lite0": train}
    assert network.n_items == 30
    # The first fit is the first to open the test.
    assert cli("fit", "data", "--backbone", "efficientnet_lite0", "--out", "out").code == 0
    assert record("out")["data"]["test_openings"] == 1


def test_a_fit_after_it_holds_out_the_same_items_and_computes_none_of_the_others_again(
    cli: Cli, network: Network
) -> None:
    photos(Path("photos"))
    found = _ranked(cli, "photos", "--backbone", "efficientnet_lite0", "--seed", 3)
    assert network.n_items == found["n_train"] == 30
    assert cli("fit", "photos", "--backbone", "efficientnet_lite0", "--seed", 3, "--out", "out").code == 0
    n_control = 2 * 36  # the control and the thumbnail
    assert network.n_items == 36 + n_control
    assert cli("rank", "photos", "--backbone", "efficientnet_lite0", "--seed", 3).code == 0
    assert network.n_items == 36 + n_control


def test_a_sample_is_all_that_is_computed(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    found = _ranked(cli, "photos", "--sample", 20)
    assert {row["n_items"] for row in found["ranking"]} == {20}
    assert network.n_items == 60


def test_texts_are_ranked_too(cli: Cli, network: Network) -> None:
    reviews(Path("reviews.csv"))
    found = _ranked(cli, "reviews.csv")
    assert (found["modality"], found["chosen"]) == ("text", "all_minilm_l6_v2")
    assert found["why"].startswith("It is the only backbone that was judged on")
    assert found["out"] == "runs/reviews-ranking.html"


def test_the_library_returns_the_same_record(network: Network, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    found = hs.rank(tmp_path / "photos", backbones="efficientnet_lite0", out=tmp_path / "page.html")
    assert isinstance(found, RankingRecord)
    assert (found.chosen, found.n_train) == ("efficientnet_lite0", 30)
    assert (tmp_path / "page.html").exists()


def test_one_class(cli: Cli) -> None:
    photos(Path("photos"), 3, classes=["red"])
    _refused(cli, "photos", message="at least two classes")


def test_one_item_a_class_says_which_scores_are_undefined_and_why(cli: Cli, network: Network) -> None:
    names = [f"kind{number}" for number in range(25)]
    photos(Path("data/train"), 1, classes=names)
    photos(Path("data/test"), 1, classes=names, start=5)
    found = _ranked(cli, "data")
    page = re.sub(r"\s+", " ", Path(found["out"]).read_text(encoding="utf-8"))
    for row in found["ranking"]:
        assert row["n_items"] == 25
        assert row["scores"] == {"loo_accuracy": 0.0, "knn_accuracy": 0.0}
        assert set(row["diagnostics"].values()) == {None}
        assert set(row["undefined"]) == set(row["diagnostics"])
        for name, reason in row["undefined"].items():
            assert "has a single item" in reason
            assert name.replace("_", " ") in page
            assert reason in page
    assert any(note.startswith("Every class has a single training item: leave-one-out") for note in found["notes"])


def test_one_item_a_class_and_no_test_of_its_own(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 1, classes=[f"kind{number}" for number in range(5)])
    _refused(cli, "photos", message="no test side can be made", hint="Give more items")


def test_damaged_items_are_left_out_for_all(cli: Cli, network: Network) -> None:
    photos(Path("data/train"), 10)
    photos(Path("data/test"), 3, start=50)
    whole = Path("data/train/red/0.jpg").read_bytes()
    Path("data/train/red/cut.jpg").write_bytes(whole[: len(whole) // 2])
    Path("data/train/blue/text.jpg").write_text("no picture")
    found = _ranked(cli, "data")
    assert {row["n_items"] for row in found["ranking"]} == {30}
    assert len(found["ranking"]) == 3
    assert found["notes"][-1] == "2 items give no features and are left out for all backbones."


def test_diagnostics_are_of_the_items_that_the_ranking_is_of(
    cli: Cli, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(Path("data/train"), 10)
    photos(Path("data/test"), 3, start=50)
    for name in COLOURS:
        Path("data/train", name, "text.jpg").write_text(f"no picture {name}")
    n_judged = []

    def noting(local: Local, features: Any, targets: np.ndarray) -> Any:
        n_judged.append((len(features.values), len(targets)))
        return diagnostics_of(local, features, targets)

    monkeypatch.setattr("headstart.recipes.rank.diagnostics_of", noting)
    found = _ranked(cli, "data")
    assert n_judged == [(row["n_items"],) * 2 for row in found["ranking"]] == [(30, 30)] * 3


def test_few_items_to_judge_on_are_said(cli: Cli, network: Network) -> None:
    photos(Path("data/train"), 4)
    photos(Path("data/test"), 3, start=50)
    assert any(
        note.startswith("Only 12 training items were there to judge on") for note in _ranked(cli, "data")["notes"]
    )


def test_classes_are_counted_in_the_sample(cli: Cli, network: Network) -> None:
    names = [f"kind{number}" for number in range(20)]
    photos(Path("data/train"), 2, classes=names)
    photos(Path("data/test"), 1, classes=names, start=5)
    whole, few = (_ranked(cli, "data", *more)["notes"] for more in ([], ["--sample", 20]))
    single = "Every class has a single training item"
    assert not any(note.startswith(single) for note in whole)
    assert any(note.startswith(single) for note in few)


def test_nothing_but_damaged_items(cli: Cli, network: Network) -> None:
    for name in COLOURS:
        for number in range(8):
            Path("photos", name).mkdir(parents=True, exist_ok=True)
            Path("photos", name, f"{number}.jpg").write_text(f"no picture {name} {number}")
    _refused(cli, "photos", message="0 can be used, of 0 classes", hint="damaged")


def test_a_page_that_is_there_is_not_replaced_unasked(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    Path("page.html").write_text("mine")
    _refused(cli, "photos", "--out", "page.html", message="'page.html' exists", hint="--overwrite")
    assert Path("page.html").read_text() == "mine"
    assert network.n_items == 0
    assert cli("rank", "photos", "--out", "page.html", "--overwrite").code == 0
    assert "efficientnet_lite0" in Path("page.html").read_text()


def test_a_folder_is_no_page(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    Path("pages").mkdir()
    _refused(cli, "photos", "--out", "pages", message="'pages' is a folder", hint="photos-ranking.html")
    assert network.n_items == 0


def test_the_second_page_has_a_name_of_its_own(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    assert [_ranked(cli, "photos")["out"] for _ in range(2)] == [
        "runs/photos-ranking.html",
        "runs/photos-ranking-2.html",
    ]


def test_a_page_that_cannot_be_written_is_not_there_at_all_and_features_are_kept(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    Path("file").write_text("")
    _refused(cli, "photos", "--out", "file/page.html", message="cannot be written", hint="--out")
    n_computed = network.n_items
    assert cli("rank", "photos").code == 0
    assert network.n_items == n_computed


def test_an_interrupted_ranking_leaves_no_page_and_goes_on_where_it_was(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 40)
    network.fail_after = 40
    assert cli("rank", "photos", "--out", "page.html").code == 130
    assert not Path("page.html").exists()
    assert not list(Path().glob(".*part*"))
    network.fail_after = None
    before = network.n_items
    assert cli("rank", "photos", "--out", "page.html", "--backbone", "efficientnet_lite0").code == 0
    assert network.n_items < before + 96


@pytest.mark.parametrize("sample", [0, 19, -5])
def test_a_sample_that_says_nothing_is_refused(sample: int, cli: Cli, tmp_path: Path) -> None:
    _refused(cli, "nowhere", "--sample", sample, message=f"the sample must be 20 items or more, but got {sample}")
    with pytest.raises(OptionError):
        hs.rank(tmp_path, sample=sample)


def test_hostile_names_are_harmless_on_the_page(cli: Cli, network: Network) -> None:
    names = ["<script>alert(1)", "'><img src=x onerror=alert(1)>", "bad\x1b[31m"]
    photos(Path("photos"), 8, classes=names)
    Path("photos").rename("<b>photos")
    page = Path(_ranked(cli, "<b>photos", "--out", "page.html")["out"]).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>photos" not in page
    assert "<img" not in page


def test_a_folder_that_is_no_unicode_is_ranked(cli: Cli, network: Network) -> None:
    try:
        photos(Path("bad\udcff"), 8)
    except (OSError, UnicodeError):
        pytest.skip("this disk has no such names")
    result = cli("rank", "bad\udcff", "--out", "page.html")
    assert result.code == 0, result.err
    assert Path("page.html").read_text(encoding="utf-8")
    result = cli("rank", "bad\udcff", "--json", "--out", "other.html")
    assert result.code == 0 or "error: " in result.err
    assert "Traceback" not in result.err


def _five(known: Local) -> list[Local]:
    """The same network under five names; those called weak know nothing."""

    def renamed(name: str) -> Local:
        return replace(known, spec=replace(known.spec, name=name, source=replace(known.spec.source, sha256=name)))

    return [known, *(renamed(name) for name in ("weak1", "weak2", "weak3", "good"))]


@pytest.mark.parametrize("n", [20, 120], ids=["all of them in one round", "two rounds"])
def test_a_fit_with_more_than_three_races_them_and_shows_those_that_went_no_further(
    n: int, cli: Cli, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Network, "load", _weak_load)
    monkeypatch.setattr("headstart.features.extract.load", network.load)

    def consider(dataset: object, options: object, home: Path, *_: object) -> Considered:
        backbones = _five(resolve("efficientnet_lite0", home))
        priors = {each.spec.name: Prior(float(each.spec.name == "good"), "made up") for each in backbones}
        return Considered(backbones, priors, (), ())

    monkeypatch.setattr("headstart.recipes.fit.consider", consider)
    photos(Path("photos"), n)
    result = cli("fit", "photos", "--out", "out")
    assert result.code == 0, result.err
    run = record("out")
    assert len(run["ranking"]) == 5
    passed = {name for each in run["candidates"] for name in each["backbone"].split(" + ")}
    assert {"efficientnet_lite0", "good"} < passed
    assert len(passed) == 3
    assert {each["backbone"] for each in run["ranking"][3:]} <= {"weak1", "weak2", "weak3"}
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("weak1", "weak2", "weak3", "good"))


def _weak_load(self: Network, local: Local, *, device: str = "cpu", precision: str = "float32") -> Any:
    loaded = Loaded(local.spec, self)
    return _Weak(loaded) if local.spec.name.startswith("weak") else loaded


class _Weak:
    """Noise in place of what the network sees."""

    def __init__(self, loaded: Any) -> None:
        self.spec = loaded.spec
        self._loaded = loaded

    def forward(self, batch: Any) -> np.ndarray:
        found = self._loaded.forward(batch)
        return np.random.default_rng(len(found)).normal(size=found.shape).astype(np.float32)
