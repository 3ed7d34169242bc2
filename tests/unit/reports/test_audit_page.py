"""The page about an audit, the list beside it, and findings of runs of older versions."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample
from test_page import Page

from headstart._records import from_json, to_json
from headstart.data.manifest import ManifestRow
from headstart.errors import OutputError
from headstart.reports import read_run, write_audit, write_cleaned, write_run
from headstart.reports.formatting import prose
from headstart.reports.page import render, render_audit
from headstart.reports.record import AuditRecord, Run

RECORD = sample.audit()


@pytest.mark.parametrize("modality", ["image", "text"])
def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(modality: str) -> None:
    text = render_audit(sample.audit(modality=modality))
    page = Page(text)
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 3
    assert page.named("script") == page.named("link") == page.named("a") == []
    assert all(re.match(r"data:image/(jpeg|png);base64,", image["src"]) for image in page.named("img"))
    assert len(page.named("img")) == (5 if modality == "image" else 0)
    assert len(page.named("blockquote")) == (0 if modality == "image" else 5)
    (policy,) = [each["content"] for each in page.named("meta") if "http-equiv" in each]
    assert "default-src 'none'" in policy


def test_every_sentence_and_number_is_on_the_page() -> None:
    words = Page(render_audit(RECORD)).text
    for each in RECORD.findings:
        assert all(prose(part) in words for part in (each.summary, each.effect, each.advice))
        assert all(example.note in words for example in each.examples if example.previews)
    assert RECORD.learning_curve is not None
    for sentence in (RECORD.verdict, RECORD.learning_curve.sentence, *RECORD.notes):
        assert prose(sentence) in words
    for part in ("Serious", "Warning", "Note", "390 items to keep", "6 items to remove", "cleaned.csv", RECORD.command):
        assert part in words
    for name in ("hat/0017.jpg", "shirt/0003.jpg", RECORD.backbone):
        assert name in words


def test_an_audit_without_findings_says_so() -> None:
    record = replace(RECORD, findings=(), check_first=(), learning_curve=None, notes=(), manifest="", actions={})
    text = render_audit(record)
    page = Page(text)
    assert page.open == []
    assert "Nothing." in page.text
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert not ids & {"labels", "enough", "notes"}


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("hostile", sample.HOSTILE)
def test_hostile_names_and_texts_are_escaped_wherever_they_stand(hostile: str, modality: str) -> None:
    record = sample.audit((hostile, f"b{hostile}"), modality=modality)
    everywhere = replace(
        record, name=hostile, source=hostile, command=hostile, notes=(hostile,), manifest=hostile, verdict=hostile
    )
    text = render_audit(replace(everywhere, backbone=hostile))
    page = Page(text)
    assert page.open == []
    assert page.named("script") == page.named("a") == []
    assert all(image["src"].startswith("data:image/") for image in page.named("img"))
    assert len(page.named("img")) == (5 if modality == "image" else 0)
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert text.count("</style>") == 1
    assert "\x00" not in text
    text.encode()


@pytest.mark.parametrize(
    "preview", ["https://example.org/x.png", "javascript:alert(1)", 'data:image/svg+xml,<svg onload="x">', "x.jpg", ""]
)
def test_only_small_pictures_are_shown(preview: str) -> None:
    first = RECORD.findings[0]
    example = replace(first.examples[0], previews=(preview, preview))
    checks = (replace(RECORD.check_first[0], preview=preview),)
    record = replace(RECORD, findings=(replace(first, examples=(example,)),), check_first=checks)
    page = Page(render_audit(record))
    assert page.named("img") == []
    assert page.open == []


def test_the_record_is_read_back_equal() -> None:
    assert from_json(to_json(RECORD), AuditRecord) == RECORD


def test_the_page_is_written_completely(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_audit(RECORD, path)
    assert path.read_text("utf-8") == render_audit(RECORD)
    assert list(path.parent.iterdir()) == [path]


def test_a_list_that_ends_early_replaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cleaned.csv"
    rows = [ManifestRow("a", "one text", "x"), ManifestRow("b", "another", "y", action="remove", why="a, b")]
    write_cleaned(path, rows, "text")
    before = path.read_bytes()
    with path.open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [(row["item"], row["text"], row["why"]) for row in found] == [
        ("a", "one text", ""),
        ("b", "another", "a, b"),
    ]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=r"cleaned\.csv' cannot be written \(No space left on device\)"):
        write_cleaned(path, rows[:1], "text")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _old(run: Run) -> str:
    """The text of a run whose findings say all in their advice, as older versions wrote them."""
    record: dict[str, Any] = json.loads(to_json(run))
    fields = ("kind", "severity", "count", "items", "advice")
    record["audit"] = [{name: each[name] for name in fields} for each in record["audit"]]
    return json.dumps(record)


def test_findings_of_older_runs_are_read_and_shown(tmp_path: Path) -> None:
    write_run(sample.photos(), tmp_path)
    (tmp_path / "run.json").write_text(_old(sample.photos()), encoding="utf-8")
    run = read_run(tmp_path)
    first = run.audit[0]
    assert (first.summary, first.effect, first.examples) == ("", "", ())
    assert first.sentences == first.advice == "Remove one of each."
    page = Page(render(run))
    assert page.open == []
    assert all(prose(each.advice) in page.text for each in run.audit)
