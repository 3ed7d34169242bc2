"""The page about a ranking, and the file that it is written to."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import sample
from test_page import Page

from headstart._records import from_json, to_json
from headstart.errors import OutputError
from headstart.reports import write_ranking
from headstart.reports.page import render_ranking
from headstart.reports.record import RankingRecord

RECORD = sample.ranking()


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere() -> None:
    text = render_ranking(RECORD)
    page = Page(text)
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) == 3
    assert page.named("script") == page.named("link") == page.named("img") == []
    assert not re.search(r"(?:href|src)\s*=|url\(|@import", text)
    (policy,) = [each["content"] for each in page.named("meta") if "http-equiv" in each]
    assert "default-src 'none'" in policy


def test_what_was_found_is_on_the_page() -> None:
    words = Page(render_ranking(RECORD)).text.replace("\u202f", " ")
    assert "lite0 . 1 of 4 promised less on a first sample" in words
    for row in RECORD.ranking:
        assert row.backbone in words
    assert "3 ties for the best" in words
    assert "10 classes, 800 of the items were used" in words
    assert "Warning The data look far from what it knows." in words
    assert "the column 'path' holds the images" in words
    assert "timm/large : it needs 80 GB of memory" in words
    assert "Not defined, because the backbone has no source classifier: leep." in words
    assert "headstart rank photos" in words


def test_ties_are_shaded_and_the_cost_is_the_size_where_operations_are_not_all_known() -> None:
    page = render_ranking(RECORD)
    assert page.count('class="ties"') == 1
    assert "million parameters" in page
    known = replace(RECORD, ranking=tuple(replace(row, gflops=1.0) for row in RECORD.ranking))
    assert "GFLOPs an item" in render_ranking(known)
    alone = tuple(replace(row, tie_set=place == 0) for place, row in enumerate(RECORD.ranking))
    assert 'class="ties"' not in render_ranking(replace(RECORD, ranking=alone))


def test_a_single_backbone_has_a_table_and_no_picture() -> None:
    page = Page(render_ranking(replace(RECORD, ranking=RECORD.ranking[:1])))
    assert page.named("svg") == []
    assert "lite0" in page.text


def test_what_is_not_there_leaves_no_empty_section() -> None:
    page = render_ranking(replace(RECORD, nearness=None, notes=(), left_out=()))
    assert "To keep in mind" not in page
    assert "Not ranked" not in page


@pytest.mark.parametrize("hostile", sample.HOSTILE)
def test_hostile_names_are_escaped_wherever_they_stand(hostile: str) -> None:
    record = sample.ranking((hostile, "b", "c", "d"))
    record = replace(record, name=hostile, source=hostile, command=hostile, notes=(hostile,), why=hostile)
    rows = tuple(replace(row, undefined={"leep": hostile}, licence=hostile, layer=hostile) for row in record.ranking)
    text = render_ranking(replace(record, ranking=rows))
    page = Page(text)
    assert page.open == []
    assert page.named("script") == page.named("img") == page.named("a") == []
    assert text.count("</style>") == 1
    assert "\x00" not in text
    text.encode()  # nothing is left that cannot be written


def test_the_record_is_read_back_equal() -> None:
    assert from_json(to_json(RECORD), RankingRecord) == RECORD


def test_the_page_is_written_completely(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_ranking(RECORD, path)
    assert path.read_text("utf-8") == render_ranking(RECORD)
    assert list(path.parent.iterdir()) == [path]


def test_a_page_that_cannot_be_made_replaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"page\.html' cannot be written \(No space left on device\)"):
        write_ranking(RECORD, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
