"""Watching trainings: the log, the terminal, TensorBoard and MLflow hold the numbers of each epoch."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from headstart._records import from_json, to_json
from headstart.adaptation.epochs import Epoch, History, Scores
from headstart.errors import OptionError, OutputError
from headstart.recipes.options import FitOptions
from headstart.recipes.trackers import MLflow, TensorBoard, Tracker, open_trackers
from headstart.recipes.watch import Watch, numbers_of, watching
from headstart.recipes.workspace import Workspace, open_workspace
from headstart.reports.record import TrainingRecord


@dataclass
class Said:
    """Progress that remembers what was said, and each task with its steps and notes."""

    messages: list[str] = field(default_factory=list)
    tasks: list[tuple[str, int]] = field(default_factory=list)
    steps: list[tuple[int, str]] = field(default_factory=list)
    n_open: int = 0

    def say(self, message: str) -> None:
        """Remember."""
        self.messages.append(message)

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Said]:
        """Remember."""
        self.tasks.append((title, total))
        self.n_open += 1
        try:
            yield self
        finally:
            self.n_open -= 1

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Remember."""
        self.steps.append((steps, note))


@dataclass
class Remembers:
    """A tracker that remembers what it was told, and fails from a call on."""

    name: str = "Fake"
    fails_at: str = ""
    told: list[tuple[Any, ...]] = field(default_factory=list)

    def begin(self, training: str, facts: Mapping[str, str | int | float]) -> None:
        """Remember."""
        self._remember("begin", training, dict(facts))

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Remember."""
        self._remember("epoch", number, dict(values))

    def end(self, *, finished: bool) -> None:
        """Remember."""
        self._remember("end", finished)

    def _remember(self, *call: Any) -> None:
        if call[0] == self.fails_at:
            raise OutputError("the server is gone")
        self.told.append(call)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _epoch(number: int, *, held_out: bool = True) -> Epoch:
    train = Scores(2.0 / number, 0.5 + number / 100, 0.25, 0.75, 0.375)
    return Epoch(number, train, replace(train, loss=3.0 / number) if held_out else None, 1e-3, 1e-5, 1.5, 0.25)


def _begin(watch: Watch, fold: int | None = 1, n_epochs: int = 3) -> None:
    watch.begin(
        strategy="finetune",
        backbone="lite0",
        fold=fold,
        n_train=80,
        n_held_out=0 if fold is None else 20,
        n_epochs=n_epochs,
        settings={"rate": 0.5, "n_stages": None, "schedule": "cosine"},
    )


def _train(watch: Watch, fold: int | None = 1, n_epochs: int = 3) -> History:
    _begin(watch, fold, n_epochs)
    epochs = tuple(_epoch(number, held_out=fold is not None) for number in range(1, n_epochs + 1))
    for epoch in epochs:
        watch.epoch(epoch)
    history = History(epochs, f"all {n_epochs} epochs", n_epochs, ("The memory was too small.",))
    watch.end(history)
    return history


def _watched(body: Callable[[Watch], object], *trackers: Tracker) -> tuple[Watch, Said, list[dict[str, Any]]]:
    """What was said and logged."""
    said = Said()
    with open_workspace("run", "data", overwrite=False) as workspace:
        watch = Watch(workspace, said, trackers)
        body(watch)
        log = workspace.folder / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return watch, said, lines


def test_each_epoch_is_a_line_in_the_log_with_all_its_numbers() -> None:
    _, _, lines = _watched(_train)
    assert [line["event"] for line in lines] == ["epoch"] * 3
    last = lines[-1]
    assert (last["strategy"], last["backbone"], last["fold"], last["number"]) == ("finetune", "lite0", 1, 3)
    assert last["train"] == {"loss": 2 / 3, "accuracy": 0.53, "precision": 0.25, "recall": 0.75, "f1": 0.375}
    assert last["validation"]["loss"] == 1.0
    assert (last["lr"], last["lowest_lr"], last["gradient_norm"], last["seconds"]) == (1e-3, 1e-5, 1.5, 0.25)


def test_the_terminal_shows_how_far_it_is_and_what_it_found() -> None:
    _, said, _ = _watched(lambda watch: (_train(watch), _train(watch, None, 1)))
    assert said.tasks == [
        ("Training finetune on lite0, fold 2 held out", 3),
        ("Training finetune on lite0, all items", 1),
    ]
    assert said.steps == [
        (1, "loss 2, held out 3, accuracy 0.51, precision 0.25, recall 0.75, F1 0.38, rate 1e-03, gradient 1.5"),
        (1, "loss 1, held out 1.5, accuracy 0.52, precision 0.25, recall 0.75, F1 0.38, rate 1e-03, gradient 1.5"),
        (1, "loss 0.667, held out 1, accuracy 0.53, precision 0.25, recall 0.75, F1 0.38, rate 1e-03, gradient 1.5"),
        (1, "loss 2, accuracy 0.51, precision 0.25, recall 0.75, F1 0.38, rate 1e-03, gradient 1.5"),
    ]
    assert said.messages == [
        "finetune on lite0, fold 2 held out: The memory was too small.",
        "finetune on lite0, all items: The memory was too small.",
    ]
    assert said.n_open == 0


def test_the_record_of_a_training_is_what_it_did_and_survives_json() -> None:
    watch, _, _ = _watched(lambda watch: (_train(watch), _train(watch, None, 2)))
    first, second = watch.trainings
    assert (first.strategy, first.backbone, first.fold, second.fold) == ("finetune", "lite0", 1, None)
    assert (first.n_train, first.n_held_out, first.kept, first.seconds) == (80, 20, 3, 0.75)
    assert (first.ended, first.notes) == ("all 3 epochs", ("The memory was too small.",))
    assert first.epochs == tuple(_epoch(number) for number in (1, 2, 3))
    assert from_json(to_json(first), TrainingRecord) == first


def test_after_a_training_that_was_killed_the_record_and_the_trackers_have_the_epochs_from_before() -> None:
    tracker = Remembers()

    def resume(watch: Watch) -> None:
        _begin(watch)
        watch.epoch(_epoch(3))
        watch.end(History(tuple(map(_epoch, (1, 2, 3))), "all 3 epochs", 3))

    watch, said, lines = _watched(resume, tracker)
    assert [epoch.number for epoch in watch.trainings[0].epochs] == [1, 2, 3]
    assert [call[1] for call in tracker.told if call[0] == "epoch"] == [3, 1, 2]
    assert said.steps == [
        (3, "loss 0.667, held out 1, accuracy 0.53, precision 0.25, recall 0.75, F1 0.38, rate 1e-03, gradient 1.5")
    ]
    assert len(lines) == 1


def test_what_is_not_a_number_does_not_make_the_record_unreadable() -> None:
    bad = replace(_epoch(1), train=Scores(math.nan), gradient_norm=math.inf)

    def diverge(watch: Watch) -> None:
        _begin(watch)
        watch.epoch(bad)
        watch.end(History((bad,), "stopped", 0))

    watch, _, lines = _watched(diverge)
    record = from_json(to_json(watch.trainings[0]), TrainingRecord)
    assert record.epochs[0].train.loss == record.epochs[0].gradient_norm == sys.float_info.max
    assert lines[0]["train"]["loss"] == sys.float_info.max


def test_trackers_are_told_of_the_settings_and_of_every_number() -> None:
    tracker = Remembers()
    _watched(_train, tracker)
    begin, *epochs, end = tracker.told
    facts = {"strategy": "finetune", "backbone": "lite0", "fold": "fold 2", "n_train": 80}
    assert begin == ("begin", "01 finetune lite0 fold 2", {**facts, "rate": 0.5, "schedule": "cosine"})
    assert epochs == [("epoch", number, numbers_of(_epoch(number))) for number in (1, 2, 3)]
    assert end == ("end", True)
    assert set(numbers_of(_epoch(1))) == {
        *(f"{score}/{side}" for score in ("loss", "accuracy", "precision", "recall", "f1")
          for side in ("training", "validation")),
        *("learning_rate/highest", "learning_rate/lowest", "gradient_norm", "seconds", "pieces"),
    }  # fmt: skip
    assert "loss/validation" not in numbers_of(_epoch(1, held_out=False))
    assert "accuracy/training" not in numbers_of(replace(_epoch(1), train=Scores(0.5)))


@pytest.mark.parametrize("fails_at", ["begin", "epoch", "end"])
def test_a_tracker_that_fails_is_left_out_and_the_training_goes_on(fails_at: str) -> None:
    broken, other = Remembers("Broken", fails_at), Remembers("Other")
    watch, said, lines = _watched(lambda watch: (_train(watch), _train(watch)), broken, other)
    assert len(watch.trainings) == 2
    assert len(lines) == 6
    assert said.messages.count("Broken is left out from here on: the server is gone.") == 1
    assert len(other.told) == 10
    assert len(broken.told) < 5


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_training_that_an_error_interrupts_is_ended_as_such(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, said = Remembers(), Said()
    monkeypatch.setattr("headstart.recipes.watch.open_trackers", lambda **_: (tracker,))

    def interrupted(workspace: Workspace) -> None:
        with watching(workspace, FitOptions(), said) as watch:
            _begin(watch)
            watch.epoch(_epoch(1))
            raise error

    with open_workspace("run", "data", overwrite=False) as workspace, pytest.raises(error):
        interrupted(workspace)
    assert tracker.told[-1] == ("end", False)
    assert said.n_open == 0


def test_without_a_training_nothing_is_written_shown_or_sent(tmp_path: Path) -> None:
    said, tracker = Said(), Remembers()
    folder = tmp_path / "logs"
    with open_workspace("run", "data", overwrite=False) as workspace:
        with watching(workspace, FitOptions(tensorboard=str(folder)), said) as watch:
            pass
        Watch(workspace, said, (tracker,)).close()
        assert list(workspace.folder.iterdir()) == []
    assert not folder.exists()
    assert watch.trainings == ()
    assert (said.tasks, said.messages, tracker.told) == ([], [], [])


def test_an_epoch_without_a_training_is_a_mistake_of_the_program() -> None:
    with pytest.raises(RuntimeError, match="no training has begun"):
        _watched(lambda watch: watch.epoch(_epoch(1)))


def _scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard reads, by name and step."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(folder))
    events.Reload()
    return {tag: {each.step: each.value for each in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def _written(options: FitOptions, check: Callable[[Workspace], None]) -> None:
    with open_workspace("run", "data", overwrite=True) as workspace:
        with watching(workspace, options, Said()) as watch:
            _train(watch)
            _train(watch, None, 2)
        check(workspace)
        (workspace.folder / "run.json").write_text('{"schema": "headstart.run/1"}')
        workspace.finish()


def test_tensorboard_reads_back_every_number_of_each_training() -> None:
    def check(workspace: Workspace) -> None:
        folder = workspace.folder / "tensorboard"
        assert sorted(path.name for path in folder.iterdir()) == ["01-finetune-lite0-fold-2", "02-finetune-lite0-all"]
        held_out, whole = (_scalars(path) for path in sorted(folder.iterdir()))
        assert set(held_out) == set(numbers_of(_epoch(1)))
        for name, values in held_out.items():
            expected = {number: numbers_of(_epoch(number))[name] for number in (1, 2, 3)}
            assert values == pytest.approx(expected, rel=1e-6), name
        assert list(whole["loss/training"]) == [1, 2]
        assert "loss/validation" not in whole

    _written(FitOptions(tensorboard=True), check)


def test_a_run_with_its_tensorboard_folder_can_be_overwritten() -> None:
    for _ in range(2):
        _written(FitOptions(tensorboard=True), lambda workspace: None)
    assert Path("run/tensorboard").is_dir()


def test_a_folder_of_the_user_gets_a_sub_folder_for_each_run(tmp_path: Path) -> None:
    for _ in range(2):
        _written(FitOptions(tensorboard=str(tmp_path / "logs")), lambda workspace: None)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["run", "run-2"]
    assert list(_scalars(tmp_path / "logs" / "run-2" / "01-finetune-lite0-fold-2")["seconds"]) == [1, 2, 3]
    assert not Path("run/tensorboard").exists()


def test_a_folder_that_cannot_be_made_is_told_and_the_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    watch, said, lines = _watched(_train, TensorBoard(tmp_path / "taken" / "inside"))
    assert len(watch.trainings) == 1
    assert len(lines) == 3
    assert said.messages[0].startswith("TensorBoard is left out from here on: what TensorBoard shows cannot be written")


def test_a_file_is_no_folder_for_tensorboard() -> None:
    Path("notes.txt").write_text("mine")
    with pytest.raises(OptionError) as caught:
        FitOptions(tensorboard="notes.txt")
    assert str(caught.value) == "what is written for TensorBoard needs a folder, but 'notes.txt' is a file"


@pytest.mark.parametrize(
    ("module", "asked", "message"),
    [
        (
            "tensorboard",
            {"tensorboard": True},
            "writing for TensorBoard needs the package 'tensorboard', which is not installed",
        ),
        ("mlflow", {"mlflow": True}, "sending to MLflow needs the package 'mlflow', which is not installed"),
    ],
)
def test_an_extra_that_is_missing_is_told_before_any_work(
    monkeypatch: pytest.MonkeyPatch, module: str, asked: dict[str, Any], message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OptionError) as caught:
        FitOptions(**asked)
    assert (str(caught.value), caught.value.hint) == (message, f"Run: pip install 'headstart[{module}]'")


def test_nobody_watches_unless_asked(tmp_path: Path) -> None:
    assert open_trackers(tensorboard=False, mlflow=False, folder=tmp_path, name="run") == ()


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow with a store in a folder."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    library = pytest.importorskip("mlflow", reason="needs the extra mlflow: pip install 'headstart[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    return library


def test_mlflow_has_a_run_for_each_training_with_its_settings_and_numbers(mlflow: Any) -> None:
    _, said, _ = _watched(lambda watch: (_train(watch), _train(watch, None, 2)), MLflow("photos"))
    assert [message for message in said.messages if "MLflow" in message] == []
    client = mlflow.MlflowClient()
    runs = {each.info.run_name: each for each in client.search_runs(["0"])}
    assert sorted(runs) == ["photos 01 finetune lite0 fold 2", "photos 02 finetune lite0 all"]
    first = runs["photos 01 finetune lite0 fold 2"]
    assert first.info.status == "FINISHED"
    assert first.data.params == {
        "strategy": "finetune",
        "backbone": "lite0",
        "fold": "fold 2",
        "n_train": "80",
        "rate": "0.5",
        "schedule": "cosine",
    }
    assert first.data.tags["headstart.run"] == "photos"
    for name in numbers_of(_epoch(1)):
        history = {each.step: each.value for each in client.get_metric_history(first.info.run_id, name)}
        assert history == pytest.approx({number: numbers_of(_epoch(number))[name] for number in (1, 2, 3)})
    assert mlflow.active_run() is None


def test_inside_a_run_of_the_user_trainings_are_its_children(mlflow: Any) -> None:
    with mlflow.start_run() as mine:
        _watched(_train, MLflow("photos"))
        assert mlflow.active_run().info.run_id == mine.info.run_id
    (child,) = mlflow.MlflowClient().search_runs(["0"], filter_string=f"tags.mlflow.parentRunId = '{mine.info.run_id}'")
    assert child.data.metrics["loss/training"] == pytest.approx(2 / 3)


def test_an_interrupted_training_is_a_failed_run(mlflow: Any) -> None:
    def stop(watch: Watch) -> None:
        _begin(watch)
        watch.close()

    _watched(stop, MLflow("photos"))
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"


def test_a_server_that_does_not_answer_is_told_and_the_training_goes_on(
    mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    watch, said, _ = _watched(_train, MLflow("photos"))
    assert len(watch.trainings) == 1
    assert said.messages[0].startswith("MLflow is left out from here on: MLflow at http://127.0.0.1:9 cannot be used: ")
    assert len([message for message in said.messages if "MLflow" in message]) == 1


def test_a_server_that_goes_away_leaves_no_run_open(mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise mlflow.MlflowException("gone")

    monkeypatch.setattr(mlflow, "log_metrics", refuse)
    watch, said, _ = _watched(_train, MLflow("photos"))
    assert len(watch.trainings) == 1
    assert said.messages[0].endswith("cannot be used: gone.")
    assert mlflow.active_run() is None
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"


def test_a_server_that_does_not_answer_at_the_beginning_ends_the_command(
    mlflow: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(OutputError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be used: ") as caught:
        open_trackers(tensorboard=False, mlflow=True, folder=tmp_path, name="run")
    assert caught.value.hint == "Look at MLFLOW_TRACKING_URI, and whether the server there runs."
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ  # the user's own program keeps its settings


def test_mlflow_without_a_server_is_refused(mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(OptionError) as caught:
        FitOptions(mlflow=True)
    assert str(caught.value) == "MLflow needs to know where its server is, but MLFLOW_TRACKING_URI is not set"
