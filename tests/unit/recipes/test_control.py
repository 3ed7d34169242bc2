"""The same network from scratch: whether it is trained, in which time, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.adaptation import scratch
from headstart.adaptation.epochs import Epoch, History, Scores
from headstart.adaptation.scratch import Plan, Scratch
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local
from headstart.data.split import Split, split
from headstart.errors import BackboneError
from headstart.recipes.control import same_network
from headstart.recipes.options import FitOptions
from recipes import made

BUDGET_S = 100.0


class Training:
    """Stands in for planning and training, on a clock that stands at `now`."""

    def __init__(self) -> None:
        self.now, self.planned, self.done = 0.0, 8, 8
        self.seconds: float | None = None
        self.asked: dict[str, Any] = {}
        self.folder: Path | None = None

    def plan(self, *_: Any, seconds: float, scratch: Path, **__: Any) -> Plan:
        self.seconds, self.folder = seconds, scratch
        return Plan(self.planned, 60.0, 3.0)

    def run(self, *given: Any, **asked: Any) -> Scratch:
        self.asked = asked
        epoch = Epoch(1, Scores(1.0), None, 0.0, 0.0, 0.0, 0.0)
        return Scratch(np.full((len(given[3]), 2), 0.5), History((epoch,) * self.done, "all of them"))


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    training = Training()
    monkeypatch.setattr(scratch, "plan", training.plan)
    monkeypatch.setattr(scratch, "from_scratch", training.run)
    monkeypatch.setattr("time.monotonic", lambda: training.now)
    return training


def sides() -> Split:
    return split(made.dataset(100), fraction=0.2, seed=0)


def ask(folder: Path, *, control: str = "network", backbone: Local | None = None, pace: float = 0.0) -> Any:
    """The control, and what was said."""
    climb, local = made.climb(made.dataset(100).items, budget_s=BUDGET_S / 2), backbone or made.local("net")
    if pace:
        climb.speeds.remember_speed(local.spec.name, pace, device="cpu", dtype="float32")
    options = FitOptions(control=control, budget_s=BUDGET_S, started=0.0, seed=3)
    return same_network(local, sides(), climb, options=options, folder=folder), made.said(climb)


def test_nobody_asked(training: Training, tmp_path: Path) -> None:
    assert ask(tmp_path, control="quick") == (None, "")
    assert training.seconds is None


def test_it_has_as_much_time_as_the_adaptation_and_ends_before_the_budget_does(
    training: Training, tmp_path: Path
) -> None:
    training.now = 10.0
    found, said = ask(tmp_path)
    assert training.seconds == BUDGET_S / 2
    assert training.asked["deadline"] == BUDGET_S - 4.0 - 3.0
    assert (training.asked["epochs"], training.asked["seed"], training.asked["n_classes"]) == (8, 3, 2)
    assert found.name == "the same network (net) from scratch, 8 epochs"
    assert found.probabilities.shape == (20, 2)
    assert (found.note, said) == ("", "")


def test_what_is_left_of_the_budget_counts_when_it_is_less(training: Training, tmp_path: Path) -> None:
    training.now = 70.0
    ask(tmp_path)
    assert training.seconds == BUDGET_S - 70.0 - 4.0


def test_scratch_is_in_the_run_folder_and_is_removed(training: Training, tmp_path: Path) -> None:
    ask(tmp_path)
    assert training.folder is not None
    assert training.folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("planned", "done", "words"),
    [(8, 3, "3 of 8 epochs"), (1, 1, "1 epoch"), (2, 2, "2 epochs"), (2, 0, "0 of 2 epochs")],
)
def test_its_name_says_how_long_it_was_trained(
    training: Training, tmp_path: Path, planned: int, done: int, words: str
) -> None:
    training.planned, training.done = planned, done
    assert ask(tmp_path)[0].name.endswith(f"from scratch, {words}")


@pytest.mark.parametrize(
    ("now", "pace", "planned", "looked", "why"),
    [
        (0.0, 0.0, 0, True, "one epoch takes about 63 s, and 50 s are left"),
        (0.0, 2.0, 8, False, "one epoch takes about 120 s, and 50 s are left"),
        (97.0, 0.0, 8, False, "the time is up"),
    ],
)
def test_without_time_it_is_left_out_aloud(
    training: Training, tmp_path: Path, now: float, pace: float, planned: int, looked: bool, why: str
) -> None:
    training.now, training.planned = now, planned
    found, said = ask(tmp_path, pace=pace)
    assert found.probabilities is None
    assert found.note == f"The control {found.name} was not trained: {why}."
    assert said == found.note
    assert (training.seconds is not None) == looked
    assert training.asked == {}


def test_a_network_that_cannot_be_made_anew_is_left_out_aloud(training: Training, tmp_path: Path) -> None:
    found, said = ask(tmp_path, backbone=Local(PIXELS, Path(), {}))
    assert found.probabilities is None
    assert said == found.note
    assert said.endswith("was not trained: its library cannot make it anew.")
    assert training.seconds is None


@pytest.mark.parametrize("where", ["plan", "from_scratch"])
def test_a_network_that_cannot_be_trained_is_left_out_aloud(
    training: Training, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BackboneError("the memory is too small for this network", hint="End other programs.")

    monkeypatch.setattr(scratch, where, fail)
    found, said = ask(tmp_path)
    assert found.probabilities is None
    assert said == found.note
    assert said.endswith("was not trained: the memory is too small for this network.")
    assert list(tmp_path.iterdir()) == []
