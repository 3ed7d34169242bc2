"""The demo tells two stories with `fit`, and can be told again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headstart._progress import SILENT, Progress, Task
from headstart.errors import OutputError
from headstart.recipes import demo as recipe
from headstart.recipes.demo import closing_words, demo
from headstart.recipes.demo_data import write_docstrings
from headstart.recipes.options import FitOptions
from headstart.reports import Run, read_run


class _Listener:
    """Keeps what is said, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    @contextlib.contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        with SILENT.task(title, total) as task:
            yield task


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, FitOptions]]:
    """What `fit` was asked for, instead of doing it."""
    asked: list[tuple[Path, FitOptions]] = []

    def fake_fit(data: Path, *, options: FitOptions, progress: Progress) -> Any:
        progress.say("fitting")
        asked.append((data, options))
        return options.out

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)

    monkeypatch.setattr(recipe, "fit", fake_fit)
    monkeypatch.setattr(recipe, "_ACTS", tuple(replace(act, write=write) for act in recipe._ACTS))
    return asked


def test_both_acts_are_announced_fitted_and_returned_in_order(tmp_path: Path, fitted: list) -> None:
    listener = _Listener()
    runs = demo(tmp_path / "demo", budget_s=45, progress=listener)
    assert [said.split(",")[0] for said in listener.said] == ["Act one", "fitting", "Act two", "fitting"]
    assert [data for data, _ in fitted] == [tmp_path / "demo" / name for name in ("docstrings", "digits")]
    assert runs == tuple(options.out for _, options in fitted)
    assert all(data.is_dir() for data, _ in fitted)


def test_runs_lie_below_the_folder_replace_earlier_ones_and_say_how_to_repeat_them(
    tmp_path: Path, fitted: list
) -> None:
    demo(tmp_path / "my demo", budget_s=45)
    _, options = fitted[0]
    assert options.out == str(tmp_path / "my demo" / "runs" / "docstrings")
    assert (options.overwrite, options.budget_s) == (True, 45)
    assert options.command == f"headstart fit '{tmp_path}/my demo/docstrings' --budget 45s --seed 0"


def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path: Path, fitted: list) -> None:
    (tmp_path / "demo").write_text("a file", encoding="utf-8")
    with pytest.raises(OutputError, match=r"the demo cannot be written to '.*docstrings': Not a directory") as caught:
        demo(tmp_path / "demo")
    assert caught.value.hint == "Choose another folder with --out."


def _write_few_texts(folder: Path) -> None:
    """The docstrings with one in thirty of the test items, so that a real fit takes seconds."""
    write_docstrings(folder)
    table = folder / "test.csv"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(lines[:1] + lines[1::30]), encoding="utf-8")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run, Path]:
    """The first act, told twice in the same folder."""
    folder = tmp_path_factory.mktemp("real") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_HOME", str(folder.parent / "home"))
        patch.setattr(recipe, "_ACTS", (replace(recipe._ACTS[0], write=_write_few_texts),))
        return *demo(folder), *demo(folder), folder


@pytest.mark.slow
def test_told_twice_the_second_demo_replaces_the_first_and_agrees_with_it(told: tuple[Run, Run, Path]) -> None:
    first, second, folder = told
    assert read_run(folder / "runs" / "docstrings").created == second.created
    assert second.evaluation.accuracy == first.evaluation.accuracy
    assert second.timings["extract"] < first.timings["extract"]


@pytest.mark.slow
def test_eighty_labels_are_enough_to_be_better_than_chance(told: tuple[Run, Run, Path]) -> None:
    run = told[0]
    assert (run.data.n_train, run.data.n_test) == (80, 59)
    assert run.evaluation.accuracy.low > run.control.majority.accuracy.high


@pytest.mark.slow
def test_closing_words_have_verdicts_reports_and_a_command_to_type(told: tuple[Run, Run, Path]) -> None:
    run, _, folder = told
    words = closing_words([run])
    assert words.startswith(f"docstrings\n  {run.verdict}\n  Report: {folder}/runs/docstrings/report.html\n")
    assert f"| headstart predict {folder}/runs/docstrings -" in words
    assert words.endswith("headstart fit FOLDER_OR_TABLE")
