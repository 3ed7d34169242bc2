"""Which step is made next, on a clock of the test's own and with a strategy that takes as long as a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from search.synthetic import features, spec

from headstart.adaptation.strategies import MakeMoving
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec
from headstart.recipes import ladder as module
from headstart.recipes.climb import RESERVE_S
from headstart.recipes.ladder import Ladder
from headstart.recipes.move import Move
from headstart.recipes.options import FitOptions
from recipes.test_climb import Said
from recipes.test_move import FOLDS, TARGETS, Training, Turned, made

PACE = 10.0
LAYERS = (("early", 3), ("last", 4))


@dataclass
class Passes:
    """Further backbones: how long a pass over each takes, and how far apart its classes lie."""

    clock: Turned
    move: Move
    apart: float

    def next_pass_s(self, local: Local) -> float:
        return 10.0 * local.spec.gflops

    def next_pass(self, local: Local) -> bool:
        self.clock.now += self.next_pass_s(local)
        self.move.climb.seen[local.spec.name] = features(local.spec, TARGETS, apart=self.apart)
        self.move.climb.speeds.remember_speed(local.spec.name, 1000.0, device="cpu", dtype="float32")
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Turned:
    turned = Turned()
    monkeypatch.setattr("time.monotonic", lambda: turned.now)
    return turned


Begin = Callable[..., tuple[Ladder, Said]]


@pytest.fixture
def begin(clock: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """A ladder after its first step, on backbone `a`."""

    def call(
        *others: BackboneSpec,
        budget_s: float = 1000.0,
        strategies: dict[str, MakeMoving] | None = None,
        asked: tuple[str, ...] = (),
        apart: float = 1.0,
        others_apart: float = 1.0,
    ) -> tuple[Ladder, Said]:
        move, said = made(tmp_path, budget_s=budget_s, apart=apart)
        move.climb.candidates.clear()
        passes = Passes(clock, move, others_apart)
        for name in ("next_pass", "next_pass_s"):
            monkeypatch.setattr(move.climb, name, getattr(passes, name))
        monkeypatch.setattr(module, "MOVING", strategies or {})
        monkeypatch.setattr(module.gains, "suited", lambda modality: tuple(strategies or {}))
        backbones = [Local(each, Path(), {}) for each in (spec("a", layers=LAYERS), *others)]
        ladder = Ladder(move.climb, move, move.train, FOLDS, backbones, FitOptions(strategies=asked))
        ladder.begin()
        return ladder, said

    return call


def _gains(monkeypatch: pytest.MonkeyPatch, *, backbone: float, moving: float) -> None:
    monkeypatch.setattr(module.gains, "further_backbone", lambda error: backbone)
    monkeypatch.setattr(module.gains, "moving", lambda *_, **__: moving)


def _rungs(ladder: Ladder) -> list[str]:
    return [each.name for each in ladder.rungs]


@pytest.mark.parametrize(
    ("backbone", "moving", "order"),
    [(0.01, 0.5, ["a · last · training", "b"]), (0.9, 0.02, ["b", "a · last · training"])],
)
def test_what_brings_most_for_its_time_comes_first(
    begin: Begin, clock: Turned, monkeypatch: pytest.MonkeyPatch, backbone: float, moving: float, order: list[str]
) -> None:
    _gains(monkeypatch, backbone=backbone, moving=moving)
    ladder, said = begin(spec("b", layers=LAYERS), strategies={"training": partial(Training, clock, share=0.95)})
    ladder.ascend()
    assert [name for name in _rungs(ladder) if name in order] == order
    assert said.messages[0].startswith(f"Next: {order[0]} (about ")


def test_the_first_model_is_worth_writing_before_long_steps_alone(begin: Begin) -> None:
    for gflops, expected in ((0.9, False), (1.1, True)):
        ladder, _ = begin(replace(spec("b", layers=LAYERS), gflops=gflops))
        assert ladder.takes_long is expected


def test_a_step_is_recorded_with_what_was_expected_and_what_came(
    begin: Begin, clock: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gains(monkeypatch, backbone=0.0123, moving=0.0)
    ladder, _ = begin(replace(spec("b", layers=LAYERS), gflops=2.5))
    before = max(each.accuracy.value for each in ladder.climb.candidates)
    ladder.ascend()
    (rung,) = ladder.rungs
    after = max(each.accuracy.value for each in ladder.climb.candidates if "+" not in each.proposal.name)
    assert (rung.name, rung.predicted_s, rung.seconds, rung.predicted_gain) == ("b", 25.0, 25.0, 0.0123)
    assert rung.gain == pytest.approx(after - before, abs=1e-4)


def test_backbones_that_were_reached_are_tried_side_by_side_at_last(begin: Begin) -> None:
    ladder, _ = begin(spec("b", layers=LAYERS))
    ladder.ascend()
    assert [each.proposal.name for each in ladder.climb.candidates][-2:] == ["a + b · last", "a + b · all"]


def test_a_training_that_may_take_all_the_time_waits_for_them(
    begin: Begin, clock: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gains(monkeypatch, backbone=0.9, moving=0.1)
    ladder, _ = begin(spec("b", layers=LAYERS), strategies={"training": partial(Training, clock, share=0.95)})
    ladder.ascend()
    names = [each.name for each in ladder.climb.candidates]
    assert names.index("a + b · all · linear") < names.index("a · last · training")
    assert len(set(names)) == len(names)


def test_a_step_without_room_is_named_with_what_it_needs(begin: Begin) -> None:
    ladder, said = begin(replace(spec("b", layers=LAYERS), gflops=9.0), budget_s=60)
    assert not ladder.takes_long
    ladder.ascend()
    assert _rungs(ladder) == []
    assert said.messages == ["b is left out: it needs about 90 s, and the budget leaves 56 s for it."]


def test_time_for_the_last_training_is_kept_from_later_steps(
    begin: Begin, clock: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gains(monkeypatch, backbone=0.001, moving=0.5)
    training = partial(Training, clock, share=0.95, seconds=40.0)
    # 40 s for a fold, 50 s for all items: of 105 s there are then 11 s left, and b needs 15 s.
    late = replace(spec("b", layers=LAYERS), gflops=1.5)
    ladder, said = begin(late, budget_s=105 + RESERVE_S, strategies={"training": training})
    ladder.ascend()
    assert _rungs(ladder) == ["a · last · training"]
    assert ladder.climb.reserved_s == pytest.approx(50, abs=3)
    assert any(message.startswith("b is left out") for message in said.messages)
    ladder, _ = begin(late, budget_s=115 + RESERVE_S + clock.now, strategies={"training": training})
    ladder.ascend()
    assert _rungs(ladder)[:2] == ["a · last · training", "b"]


def test_without_time_for_all_items_a_training_must_promise_more_than_these_would_teach(
    begin: Begin, clock: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 epochs of 100 items at three passes each are 60 s; half of it on four fifths of the items is the least."""
    for moving, expected in ((0.5, ["a · last · training"]), (0.007, [])):
        _gains(monkeypatch, backbone=0.0, moving=moving)
        training = partial(Training, clock, share=0.95, epochs=200, seconds=40.0)
        ladder, _ = begin(budget_s=RESERVE_S + 40 + clock.now, strategies={"training": training})
        cost = ladder.move.cost(training(), ladder.backbones[0])
        assert cost.alone_s < 40 < cost.least_s
        ladder.ascend()
        assert _rungs(ladder) == expected
        assert all(rung.predicted_s == 40 < cost.first_s for rung in ladder.rungs)  # it has fewer epochs then


def test_weights_are_not_moved_unasked_where_hardly_an_error_is_left(begin: Begin, clock: Turned) -> None:
    ladder, _ = begin(strategies={"training": partial(Training, clock)}, apart=50.0)
    assert max(each.accuracy.value for each in ladder.climb.candidates) == 1.0
    ladder.ascend()
    assert _rungs(ladder) == []


def test_what_was_asked_for_is_tried_before_anything_is_weighed(
    begin: Begin, clock: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gains(monkeypatch, backbone=0.5, moving=0.0)
    training = Training(clock, share=0.95)
    monkeypatch.setattr(FitOptions, "moves", property(lambda _: (lambda: training,)))
    ladder, _ = begin(spec("b", layers=LAYERS), asked=("finetune",))
    assert not ladder.takes_long  # the linear head is no model that was asked for
    ladder.ascend()
    assert training.calls[0]["at"] == 0.0
    assert _rungs(ladder) == ["b"]


def test_where_heads_were_asked_for_no_weights_move(begin: Begin, clock: Turned) -> None:
    ladder, _ = begin(strategies={"training": partial(Training, clock)}, asked=("knn",))
    ladder.ascend()
    assert {each.strategy.name for each in ladder.climb.candidates} == {"knn"}


def test_a_better_backbone_that_came_later_is_moved_too(
    begin: Begin, clock: Turned, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gains(monkeypatch, backbone=0.9, moving=0.2)
    training = Training(clock, share=0.7)
    ladder, _ = begin(spec("b", layers=LAYERS), strategies={"training": lambda: training}, apart=0.5, others_apart=1.5)
    ladder.ascend()
    assert _rungs(ladder)[:2] == ["b", "b · last · training"]
