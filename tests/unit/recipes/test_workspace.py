"""The run folder: complete under its own name, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.errors import OutputError
from headstart.recipes.workspace import Clock, Workspace, open_workspace


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(folder: str, content: str = "old") -> Path:
    """A run as an earlier fit left it."""
    path = Path(folder)
    (path / "bundle").mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({"schema": "headstart.run/1", "content": content}))
    (path / "report.html").write_text(content)
    return path


def _write(workspace: Workspace, content: str = "new") -> None:
    (workspace.folder / "run.json").write_text(json.dumps({"schema": "headstart.run/1", "content": content}))


def _content(folder: str | Path) -> str:
    return str(json.loads((Path(folder) / "run.json").read_text())["content"])


def _attempt(out: str, body: Callable[[Workspace], object], *, overwrite: bool = False) -> None:
    with open_workspace(out, "data", overwrite=overwrite) as workspace:
        _write(workspace)
        body(workspace)


def _raise(error: type[BaseException]) -> Callable[[Workspace], object]:
    def body(workspace: Workspace) -> None:
        raise error("stop")

    return body


def _all_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_run_appears_when_it_is_finished_and_not_before(here: Path) -> None:
    with open_workspace("runs/x", "data", overwrite=False) as workspace:
        _write(workspace)
        assert not Path("runs/x").exists()
        assert workspace.folder.name.startswith(f".x.partial-{os.getpid()}-")
        workspace.finish()
    assert _all_files(here) == ["runs", "runs/x", "runs/x/run.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_nothing_is_left_of_a_run_that_fails(here: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        _attempt("a/b/x", _raise(error))
    assert _all_files(here) == []


def test_a_folder_that_was_there_stays(here: Path) -> None:
    Path("runs").mkdir()
    with pytest.raises(ValueError, match="stop"), open_workspace("runs/x", "data", overwrite=False):
        raise ValueError("stop")
    assert _all_files(here) == ["runs"]


def test_the_first_free_name_is_taken(here: Path) -> None:
    _run("runs/my-photos")
    with open_workspace(None, "my photos", overwrite=False) as workspace:
        assert str(workspace.target) == str(Path("runs/my-photos-2"))


@pytest.mark.parametrize(("name", "expected"), [("...", "run"), ("", "run"), ("a/b: c", "a-b-c"), ("été", "été")])
def test_a_name_that_no_folder_can_have_is_changed(name: str, expected: str) -> None:
    with open_workspace(None, name, overwrite=False) as workspace:
        assert workspace.target == Path("runs") / expected


@pytest.mark.skipif(os.name != "posix", reason="asks for processes by signal 0")
def test_a_name_that_another_process_is_writing_is_not_free() -> None:
    Path(f"runs/.photos.partial-{os.getppid()}-ab12").mkdir(parents=True)
    Path("runs/.texts.partial-999999999-ab12").mkdir()  # left behind by a process that is no more
    with open_workspace(None, "photos", overwrite=False) as workspace:
        assert workspace.target == Path("runs/photos-2")
    with open_workspace(None, "texts", overwrite=False) as workspace:
        assert workspace.target == Path("runs/texts")


@pytest.mark.skipif(os.name != "posix", reason="asks for processes by signal 0")
def test_what_a_killed_run_left_behind_is_removed_and_what_others_write_stays(here: Path) -> None:
    _run(".x.partial-999999999-ab12")
    kept = [f".x.partial-{os.getppid()}-ab12", ".xy.partial-999999999-ab12", ".x.partial-mine"]
    for name in kept:
        Path(name).mkdir()
    with open_workspace("x", "data", overwrite=False) as workspace:
        _write(workspace)
        workspace.finish()
    assert sorted(path.name for path in here.iterdir()) == sorted([*kept, "x"])


@pytest.mark.skipif(os.name != "posix", reason="asks for processes by signal 0")
def test_a_run_that_a_killed_process_had_put_away_comes_back(here: Path) -> None:
    _run(".x.partial-999999999-ab12", "half")
    _run(".x.partial-999999999-ab12.replaced")
    with pytest.raises(OutputError, match="'x' exists"), open_workspace("x", "data", overwrite=False):
        pass
    assert _content("x") == "old"
    assert [path.name for path in here.iterdir()] == ["x"]


def test_a_run_is_not_replaced_unasked() -> None:
    _run("x")
    with pytest.raises(OutputError) as caught, open_workspace("x", "data", overwrite=False):
        pass
    assert str(caught.value) == "'x' exists, and a run must not replace it unasked"
    assert caught.value.hint == (
        "Add --overwrite, or choose another --out. Features that were computed before are used again anyway."
    )


def test_an_empty_folder_is_taken_over(here: Path) -> None:
    Path("x").mkdir()
    with open_workspace("x", "data", overwrite=False) as workspace:
        _write(workspace)
        workspace.finish()
    assert _content("x") == "new"


def test_overwriting_replaces_the_whole_run(here: Path) -> None:
    _run("x")
    with open_workspace("x", "data", overwrite=True) as workspace:
        _write(workspace)
        assert _content("x") == "old"
        workspace.finish()
    assert _content("x") == "new"
    assert _all_files(here) == ["x", "x/run.json"]


def test_a_run_that_fails_leaves_the_old_one_intact(here: Path) -> None:
    _run("x")
    before = _all_files(here)
    with pytest.raises(KeyboardInterrupt):
        _attempt("x", _raise(KeyboardInterrupt), overwrite=True)
    assert _all_files(here) == before
    assert _content("x") == "old"


def test_a_failure_while_changing_places_puts_the_old_run_back(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run("x")
    before = _all_files(here)
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if self.name.startswith(".x.partial") and not self.name.endswith(".replaced"):
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _attempt("x", Workspace.finish, overwrite=True)
    assert _all_files(here) == before
    assert _content("x") == "old"


def test_a_run_that_appeared_meanwhile_is_not_replaced(here: Path) -> None:
    def body(workspace: Workspace) -> None:
        _run("x", "of somebody else")
        workspace.finish()

    with pytest.raises(OutputError, match="'x' exists"):
        _attempt("x", body)
    assert _content("x") == "of somebody else"


@pytest.mark.parametrize("name", ["bundle", "log.jsonl"])
def test_only_runs_are_overwritten(name: str) -> None:
    (Path("x") / name).mkdir(parents=True)
    with pytest.raises(OutputError) as caught, open_workspace("x", "data", overwrite=True):
        pass
    assert str(caught.value) == "'x' is not a run of headstart, and only runs are overwritten"
    assert caught.value.hint == "Choose another --out, or move it away yourself."
    assert (Path("x") / name).exists()


def test_a_file_is_not_overwritten() -> None:
    Path("x").write_text("precious")
    with pytest.raises(OutputError, match="'x' is not a run of headstart"), open_workspace("x", "d", overwrite=True):
        pass
    assert Path("x").read_text() == "precious"


def test_a_run_with_files_of_somebody_else_is_not_overwritten() -> None:
    (_run("x") / "notes.txt").write_text("precious")
    with pytest.raises(OutputError) as caught, open_workspace("x", "data", overwrite=True):
        pass
    assert str(caught.value) == "'x' holds 'notes.txt', which is not part of a run, and only runs are overwritten"
    assert Path("x/notes.txt").read_text() == "precious"


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_to_a_run_stays_a_link() -> None:
    _run("disk/x")
    Path("x").symlink_to(Path("disk/x").resolve())
    with open_workspace("x", "data", overwrite=True) as workspace:
        _write(workspace)
        workspace.finish()
    assert Path("x").is_symlink()
    assert _content("disk/x") == "new"


def test_a_folder_that_cannot_be_made_is_an_output_error() -> None:
    Path("file").write_text("")
    with pytest.raises(OutputError) as caught, open_workspace("file/x", "data", overwrite=False):
        pass
    assert str(caught.value) == "the run cannot be written to 'file/x': Not a directory"
    assert "choose another --out" in caught.value.hint


def test_a_full_disk_while_logging_is_an_output_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def body(workspace: Workspace) -> None:
        monkeypatch.setattr(Path, "open", full)
        workspace.log("read")

    with pytest.raises(OutputError) as caught:
        _attempt("x", body)
    assert str(caught.value) == "the run cannot be written to 'x': No space left on device"


def test_an_error_that_is_not_about_the_run_folder_keeps_its_words() -> None:
    with pytest.raises(OSError, match="weights"), open_workspace("x", "data", overwrite=False):
        raise OSError("weights cannot be mapped")


def test_every_line_of_the_log_is_json_whatever_classes_are_called() -> None:
    with open_workspace("x", "data", overwrite=False) as workspace:
        workspace.log("read", classes=("été", "a\udcff\n"), n=3)
        workspace.log("done", accuracy=0.5)
        lines = [json.loads(line) for line in (workspace.folder / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["read", "done"]
    assert lines[0]["classes"] == ["été", "a\udcff\n"]
    assert lines[1]["accuracy"] == 0.5
    assert all(line["time"].count("T") == 1 for line in lines)


def test_the_clock_counts_from_the_start_of_the_command() -> None:
    clock = Clock(time.monotonic() - 5.0, 8.0)
    assert 2.5 < clock.left_s <= 3.0
    for _ in range(2):
        with contextlib.suppress(ValueError), clock.step("read"):
            time.sleep(0.01)
            raise ValueError
    timings = clock.timings()
    assert list(timings) == ["read", "total"]
    assert 0.02 <= timings["read"] < 1.0 < 5.0 <= timings["total"]


def _unfinished(folder: Path, content: str) -> None:
    record = {"schema": "headstart.run/1", "content": content, "unfinished": "It was killed."}
    (folder / "run.json").write_text(json.dumps(record))


def test_what_was_published_is_kept_whatever_happens_next(here: Path) -> None:
    def body(workspace: Workspace) -> None:
        _unfinished(workspace.folder, "first")
        workspace.publish()
        assert _content("x") == "first"
        _write(workspace, "second")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _attempt("x", body)
    assert _content("x") == "first"
    assert _all_files(here) == ["x", "x/run.json"]


def test_the_end_of_a_run_takes_the_place_of_what_it_published(here: Path) -> None:
    with open_workspace("x", "data", overwrite=False) as workspace:
        _unfinished(workspace.folder, "first")
        workspace.publish()
        _unfinished(workspace.folder, "second")
        workspace.publish()
        assert _content("x") == "second"
        _write(workspace, "last")
        workspace.finish()
    assert _content("x") == "last"
    assert _all_files(here) == ["x", "x/run.json"]


def test_a_run_that_is_not_finished_makes_room_for_the_one_that_goes_on(here: Path) -> None:
    Path("runs/data").mkdir(parents=True)
    _unfinished(Path("runs/data"), "killed")
    with open_workspace(None, "data", overwrite=False) as workspace:
        assert workspace.target == Path("runs/data-2")  # data of the same name need not be the same data
    with open_workspace("runs/data", "data", overwrite=False) as workspace:
        _unfinished(workspace.folder, "first")
        workspace.publish()
        assert _content("runs/data") == "killed"  # which may be the better one
        _write(workspace, "whole")
        workspace.finish()
    assert _content("runs/data") == "whole"
    with pytest.raises(OutputError, match="exists, and a run must not replace it unasked"):
        _attempt("runs/data", lambda workspace: workspace.finish())


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"contents": "a", "seed": "0", "strategy": ""}, ""),
        ({"contents": "a", "seed": "1", "strategy": ""}, "but now --seed (it was 0) differs"),
        (
            {"contents": "b", "seed": "0", "strategy": "knn"},
            "but now the data (it was photos/) and --strategy (it was left out) differ",
        ),
    ],
)
def test_an_unfinished_run_goes_on_with_the_same_data_and_options_only(
    here: Path, now: dict[str, str], said: str
) -> None:
    Path("x").mkdir()
    asked = {"contents": "a", "seed": "0", "strategy": ""}
    record = {"schema": "headstart.run/1", "unfinished": "Killed.", "data": {"source": "photos/"}, "asked": asked}
    Path("x/run.json").write_text(json.dumps(record))
    refused = pytest.raises(OutputError, match=re.escape(said)) if said else contextlib.nullcontext()
    with open_workspace("x", "data", overwrite=False) as workspace, refused:
        workspace.check_goes_on(now)
    with open_workspace("x", "data", overwrite=True) as workspace:
        workspace.check_goes_on(now)


def test_a_stranger_among_its_files_protects_an_unfinished_run_too(here: Path) -> None:
    Path("x").mkdir()
    _unfinished(Path("x"), "killed")
    Path("x/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'notes.txt', which is not part of a run"):
        _attempt("x", lambda workspace: workspace.finish())


def test_of_two_runs_on_one_folder_the_first_goes_on_and_the_second_hears_who_has_it(here: Path) -> None:
    with open_workspace("x", "data", overwrite=False) as first:
        with pytest.raises(OutputError, match=f"process {os.getpid()} is writing a run to 'x'") as caught:
            _attempt("x", lambda workspace: workspace.finish())
        assert caught.value.hint == "Wait for it, or choose another --out."
        _write(first)
        first.finish()
    assert _content("x") == "new"
    assert _all_files(here) == ["x", "x/run.json"]


def test_a_copy_that_a_killed_process_left_behind_is_swept(here: Path) -> None:
    copy = Path(".x.partial-999999999-0123.copy")
    _run(str(copy))
    with open_workspace("x", "data", overwrite=False) as workspace:
        _write(workspace)
        workspace.finish()
    assert _all_files(here) == ["x", "x/run.json"]
