from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import sample

from headstart.errors import BundleError, OutputError
from headstart.reports import read_run, render, write_report, write_run

SAMPLES = [name for name in sample.SAMPLES if name != "hostile"]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_run_that_was_written_is_read_back_equal(name: str, tmp_path: Path) -> None:
    run = sample.SAMPLES[name]()
    path = write_run(run, tmp_path / "runs" / "a")
    assert path == tmp_path / "runs" / "a" / "run.json"
    assert read_run(path) == run
    assert read_run(path.parent) == run


def test_settings_keep_their_types(tmp_path: Path) -> None:
    run = sample.photos()
    settings: dict[str, str | float | int] = {"text": "1.5", "whole": 2, "fraction": 2.0}
    run = replace(run, chosen=replace(run.chosen, settings=settings))
    write_run(run, tmp_path)
    assert [type(value) for value in read_run(tmp_path).chosen.settings.values()] == [str, int, float]


def test_a_run_from_before_there_were_trainings_is_read(tmp_path: Path) -> None:
    path = write_run(sample.photos(), tmp_path)
    record = json.loads(path.read_text())
    assert record.pop("trainings") == []
    path.write_text(json.dumps(record))
    assert read_run(path) == sample.photos()


def test_hostile_names_survive_when_they_are_unicode(tmp_path: Path) -> None:
    classes = tuple(name for name in sample.HOSTILE if name.isprintable() or "\n" in name)
    run = sample.run(classes=classes, per_class=4)
    write_run(run, tmp_path)
    assert read_run(tmp_path) == run


def test_a_name_that_is_not_unicode_cannot_be_written_and_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"only names that are Unicode text, but one has '\\udcff'"):
        write_run(sample.hostile(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_report_is_the_page_in_utf_8(tmp_path: Path) -> None:
    run = sample.photos()
    path = write_report(run, tmp_path)
    assert path.name == "report.html"
    assert path.read_text("utf-8") == render(run)


def test_writing_again_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    write_run(sample.photos(), tmp_path)
    write_run(sample.texts(), tmp_path)
    assert read_run(tmp_path) == sample.texts()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"must be written to a file in a folder, but .*run\.json") as caught:
        write_run(sample.photos(), tmp_path / "file")
    assert caught.value.hint == "Choose another place with --out."


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=rf"{re.escape(str(tmp_path))}.*run\.json.*cannot be read") as caught:
        read_run(tmp_path)
    assert "headstart fit" in caught.value.hint


@pytest.mark.parametrize("schema", ["headstart.run/2", ""])
def test_another_schema_is_quoted_whatever_else_the_file_holds(schema: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": schema, "verdict": ["all", "new"]}))
    with pytest.raises(BundleError, match=rf"reads runs with schema 'headstart\.run/1', but .* has '{schema}'"):
        read_run(tmp_path)


def test_a_cut_file_is_damaged(tmp_path: Path) -> None:
    path = write_run(sample.photos(), tmp_path)
    path.write_text(path.read_text()[:5000])
    with pytest.raises(BundleError, match=r"must hold a run as headstart wrote it.*truncated") as caught:
        read_run(path)
    assert "damaged" in caught.value.hint


def test_a_wrong_field_is_named(tmp_path: Path) -> None:
    path = write_run(sample.photos(), tmp_path)
    content = json.loads(path.read_text())
    content["evaluation"]["accuracy"]["value"] = "high"
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"\$\.evaluation\.accuracy\.value"):
        read_run(path)


def test_bytes_that_are_not_text_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b'{"schema": "\xff"}')
    with pytest.raises(BundleError, match="must hold a run as headstart wrote it"):
        read_run(tmp_path)
