"""The ladder under a budget, with passes that take as long as a test says on a clock that it turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from headstart._progress import Silent
from headstart.adaptation.strategies import Knn, Linear, MakeStrategy, Prototype, Views
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source
from headstart.data.dataset import Items
from headstart.features.extract import Compute, Extraction, Features, namespace_of
from headstart.features.latency import Latency
from headstart.features.memory import MemoryStore
from headstart.features.views import PLAIN, View
from headstart.recipes import climb as module
from headstart.recipes.climb import NOT_REACHED, Climb
from headstart.recipes.workspace import Clock, Workspace
from headstart.search.candidates import Proposal, proposals

N = 100
COMPUTE = Compute("cpu", "float32")
TARGETS = np.arange(N) % 2
FOLDS = np.arange(N) // 2 % 5


def _local(name: str, *, gflops: float = 1.0) -> Local:
    layers = (Layer("early", 3), Layer("last", 4))
    image = ImageInput(32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    spec = BackboneSpec(
        name, "image", "timm", name, Source("folder", name, sha256=name), layers, 9, "", "", gflops, image
    )
    return Local(spec, Path(), {})


@dataclass
class Said(Silent):
    """Remembers what was said."""

    messages: list[str] = field(default_factory=list)

    def say(self, message: str) -> None:
        """Remember."""
        self.messages.append(message)


@dataclass
class Machine:
    """Computes `pace` items a second on a clock of its own."""

    now: float = 0.0
    pace: float = 8.0  # a power of two, so that the clock is exact
    damaged: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)

    def extract(
        self,
        items: Items,
        backbones: Sequence[Local],
        *,
        store: MemoryStore,
        deadline: float | None,
        views: Sequence[View] = (PLAIN,),
        later_s: float = 0.0,
        **_: Any,
    ) -> Extraction:
        """As the true one: what the store has is free, and an item is computed even when it is late already."""
        begin, found = self.now, []
        for view, local in product(views, backbones):
            namespace = namespace_of(local, COMPUTE, view)
            values, there = store.read(namespace, items.keys)
            n = 0
            for row, key in enumerate(items.keys):
                late = deadline is not None and self.now + there.sum() * later_s >= deadline
                if there[row] or key in self.damaged or (late and n):
                    continue
                self.now += 1 / self.pace
                values[row], there[row], n = float(key), True, n + 1
                with store.writer(namespace) as writer:
                    writer.append([key], values[row : row + 1])
            self.calls.append((local.spec.name, n))
            found.append(Features(local.spec, values, there, n, 0.1))
        damaged = {row: self.damaged[key] for row, key in enumerate(items.keys) if key in self.damaged}
        return Extraction(tuple(found), damaged, wall_s=self.now - begin, loading_s=0.0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine that the ladder runs on."""
    machine = Machine()
    monkeypatch.setattr(module, "extract", machine.extract)
    monkeypatch.setattr("time.monotonic", lambda: machine.now)
    return machine


def _climb(tmp_path: Path, budget_s: float, store: MemoryStore | None = None) -> Climb:
    store = store or MemoryStore()
    items = Items("image", tuple(range(N)), tuple(map(str, range(N))), tuple(map(str, range(N))))  # type: ignore[arg-type]
    workspace = Workspace(tmp_path / "x", tmp_path, overwrite=False)
    return Climb(items, store, store, COMPUTE, Clock(0.0, budget_s), workspace, Said())


def _said(climb: Climb) -> str:
    assert isinstance(climb.progress, Said)
    return "\n".join(climb.progress.messages)


def test_the_first_pass_takes_what_the_budget_allows(machine: Machine, tmp_path: Path) -> None:
    climb = _climb(tmp_path, budget_s=13.75)  # all but 2.5 s are 11.25 s at 8 items a second
    lost = climb.first_pass([_local("a")])
    assert sorted(lost) == list(range(90, 100))
    assert set(lost.values()) == {NOT_REACHED}


def test_the_first_pass_leaves_time_for_the_heads_on_what_it_computes(machine: Machine, tmp_path: Path) -> None:
    local = _local("a")
    wide = replace(local, spec=replace(local.spec, layers=(Layer("last", 31_250),)))
    climb = _climb(tmp_path, budget_s=13.75)
    lost = climb.first_pass([wide])  # for each 0.0094 s of heads and 0.0078 s of the end, and 0.125 before
    assert climb.ending_s == pytest.approx(2.5 + 80 * 31_250 * 0.25e-6)
    assert sorted(lost) == list(range(80, 100))


def test_items_that_the_store_has_need_heads_too(machine: Machine, tmp_path: Path) -> None:
    local, store = _local("a"), MemoryStore()
    wide = replace(local, spec=replace(local.spec, layers=(Layer("last", 31_250),)))
    items, later_s = _climb(tmp_path, 1.0).items, 31_250 * 0.55e-6
    machine.extract(items.take(range(40)), [wide], store=store, deadline=None)
    machine.now = 0.0
    climb = _climb(tmp_path, budget_s=2.45 + 40 * later_s + 20 * (0.125 + later_s), store=store)
    assert sorted(climb.first_pass([wide])) == list(range(64, 100))  # 20 more fit; 64 are computed in any case
    climb = _climb(tmp_path, budget_s=machine.now + 2.45 + 64 * later_s + 20 * (0.125 + later_s), store=store)
    assert sorted(climb.first_pass([wide])) == list(range(84, 100))


def test_costly_heads_leave_less_time_for_the_pass(machine: Machine, tmp_path: Path) -> None:
    local = _local("a")
    wide = replace(local, spec=replace(local.spec, layers=(Layer("last", 31_250),)))
    lost = _climb(tmp_path, budget_s=13.75).first_pass([wide], head_cost=3.0)
    assert len(lost) == 100 - 70  # 0.125 + 0.0078 + 3 · 0.0094 for each
    machine.now = 0.0
    assert len(_climb(tmp_path, budget_s=20.0).first_pass([local], most=0.45)) == 100 - 72


def test_a_few_items_are_computed_whatever_the_budget(machine: Machine, tmp_path: Path) -> None:
    machine.pace = 0.1
    lost = _climb(tmp_path, budget_s=3.0).first_pass([_local("a")])
    assert set(range(64)).isdisjoint(lost)
    assert sorted(lost) == list(range(64, 100))
    assert machine.calls == [("a", 1), ("a", 63)]  # nothing is computed once the time is up and the few are there


def test_the_few_items_join_those_that_were_reached(machine: Machine, tmp_path: Path) -> None:
    machine.damaged = {"3": "truncated"}
    climb = _climb(tmp_path, budget_s=5.5)  # all but 2.5 s at 8 items a second are 24 items
    assert climb.first_pass([_local("a")]) == {3: "truncated"} | dict.fromkeys(range(64, 100), NOT_REACHED)
    there = [row for row in range(64) if row != 3]
    assert np.flatnonzero(climb.features["a"].there).tolist() == there
    np.testing.assert_array_equal(climb.features["a"].values[there, 0], there)


def test_damaged_items_do_not_count_as_late(machine: Machine, tmp_path: Path) -> None:
    machine.damaged = {str(row): "truncated" for row in range(60)}
    lost = _climb(tmp_path, budget_s=60.0).first_pass([_local("a")])
    assert lost == dict.fromkeys(range(60), "truncated")
    assert machine.calls == [("a", 40)]


def test_an_item_needs_the_control_too(machine: Machine, tmp_path: Path) -> None:
    store = MemoryStore()
    machine.extract(_climb(tmp_path, 1.0).items, [_local("a")], store=store, deadline=None)
    machine.now = 0.0
    climb = _climb(tmp_path, budget_s=13.75, store=store)
    assert sorted(climb.first_pass([_local("a"), _local("pixels")])) == list(range(90, 100))


def _divided(climb: Climb) -> Climb:
    """Every item for training but two."""
    climb.divide(np.arange(len(climb.items) - 2), np.arange(len(climb.items) - 2, len(climb.items)))
    return climb


def _after_first(machine: Machine, tmp_path: Path, budget_s: float) -> Climb:
    climb = _climb(tmp_path, budget_s)
    assert climb.first_pass([_local("a")]) == {}
    return _divided(climb)


def test_a_pass_that_cannot_fit_is_not_begun(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=32.0)
    # Ten times the cost of the first, whose 100 items took 12.5 s: 1 s to load and 125 s.
    assert not climb.next_pass(_local("b", gflops=10.0))
    assert "b is left out: it needs about 126 s, and the budget leaves 17 s for it." in _said(climb)
    assert [name for name, _ in machine.calls] == ["a"]


def test_a_pass_that_fits_is_made(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=60.0)
    assert climb.next_pass(_local("b", gflops=2.0))
    assert machine.calls[-1] == ("b", 100)
    assert climb.seconds["b"] == pytest.approx(12.5)


def test_what_the_store_has_is_free_whatever_the_budget(machine: Machine, tmp_path: Path) -> None:
    store = MemoryStore()
    for name in "ab":
        machine.extract(_climb(tmp_path, 1.0).items, [_local(name)], store=store, deadline=None)
    store.remember_speed("b", 0.001, device="cpu", dtype="float32")
    machine.now = 0.0
    climb = _climb(tmp_path, budget_s=4.5, store=store)
    climb.first_pass([_local("a")])
    assert _divided(climb).next_pass(_local("b"))
    assert machine.calls[-1] == ("b", 0)


def test_a_pass_that_turns_out_too_slow_is_left_out_and_kept(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=40.0)
    machine.pace = 2.0
    assert not climb.next_pass(_local("b"))
    assert list(climb.seen) == list(climb.unseen) == ["a"]
    assert "items were still to do when its time was up; the others are kept" in _said(climb)
    assert machine.now <= 40.0 - 2.0


def test_a_backbone_that_fails_on_an_item_is_left_out(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=60.0)
    machine.damaged = {"7": "not finite"}
    assert not climb.next_pass(_local("b"))
    assert "b is left out: it gives no features for 1 items." in _said(climb)
    assert list(climb.seen) == list(climb.unseen) == ["a"]


def test_a_handful_of_items_is_no_measure_of_speed(machine: Machine, tmp_path: Path) -> None:
    climb = _climb(tmp_path, budget_s=60.0)
    climb.items = climb.items.take(range(31))
    climb.first_pass([_local("a")])
    assert climb.speeds.speed("a", device="cpu", dtype="float32") is None
    full = _after_first(machine, tmp_path, budget_s=600.0)
    assert full.speeds.speed("a", device="cpu", dtype="float32") == pytest.approx(8.0)


def _try(climb: Climb, wanted: Sequence[Proposal]) -> list[str]:
    climb.try_all(wanted, [Linear], TARGETS[:-2], FOLDS[:-2], n_classes=2, seed=0)
    return [each.proposal.layers for each in climb.candidates]


def test_heads_that_take_a_moment_are_tried_even_when_the_time_is_up(machine: Machine, tmp_path: Path) -> None:
    late = _climb(tmp_path, budget_s=1.0)
    late.first_pass([_local("a")])
    assert late.left_s < 0
    assert _try(_divided(late), proposals(_local("a").spec)) == ["last", "early", "all"]


@pytest.fixture
def no_trifles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of these tests stands while heads are fitted."""
    monkeypatch.setattr(module, "_TRIFLE_S", -math.inf)


@pytest.mark.usefixtures("no_trifles")
def test_the_first_candidate_is_tried_in_any_case_and_others_if_they_fit(machine: Machine, tmp_path: Path) -> None:
    local = _local("a")
    in_time = _after_first(machine, tmp_path, budget_s=100.0)
    assert _try(in_time, proposals(local.spec)) == ["last", "early", "all"]
    late = _climb(tmp_path, budget_s=machine.now + 1.0)
    late.first_pass([local])
    assert _try(_divided(late), proposals(local.spec)) == ["last"]
    assert "a · all is left out" in _said(late)


@pytest.mark.usefixtures("no_trifles")
def test_each_strategy_is_tried_on_each_proposal_and_named_where_it_is_left_out(
    machine: Machine, tmp_path: Path
) -> None:
    local = _local("a")
    makes = [Prototype, partial(Knn, k=3)]
    in_time = _after_first(machine, tmp_path, budget_s=100.0)
    in_time.try_all(proposals(local.spec)[:2], makes, TARGETS[:-2], FOLDS[:-2], n_classes=2, seed=0)
    assert [each.name for each in in_time.candidates] == [
        "a · last · prototype",
        "a · last · knn",
        "a · early · prototype",
        "a · early · knn",
    ]
    assert in_time.candidates[1].out_of_fold.chosen == {"k": 3}
    late = _climb(tmp_path, budget_s=machine.now + 1.0)
    late.first_pass([local])
    _divided(late).try_all(proposals(local.spec)[:1], makes, TARGETS[:-2], FOLDS[:-2], n_classes=2, seed=0)
    assert "a · last · knn is left out" in _said(late)


def _try_views(climb: Climb, makes: Sequence[MakeStrategy], layers: int = 1) -> list[str]:
    wanted = proposals(_local("a").spec)[:layers]
    climb.try_all(wanted, makes, TARGETS[:-2], FOLDS[:-2], n_classes=2, seed=0)
    return [each.strategy.name for each in climb.candidates]


def test_views_are_computed_for_training_items_alone_and_once(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=100.0)
    assert _try_views(climb, [Linear, partial(Views, n_views=3)], layers=2) == ["linear", "views"] * 2
    assert machine.calls == [("a", 100), ("a", 98), ("a", 98)]
    assert [len(view.values) for view in climb.seen["a"].views] == [98, 98]
    assert climb.unseen["a"].views == ()
    again = _climb(tmp_path, budget_s=100.0 + machine.now, store=cast("MemoryStore", climb.store))
    again.first_pass([_local("a")])
    assert _try_views(_divided(again), [partial(Views, n_views=3)]) == ["views"]
    assert machine.calls[3:] == [("a", 0)] * 3


def test_more_views_than_there_are_compute_those_that_lack(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=100.0)
    _try_views(climb, [partial(Views, n_views=2)])
    _try_views(climb, [partial(Views, n_views=3)])
    assert machine.calls[1:] == [("a", 98), ("a", 0), ("a", 98)]


def test_views_that_cannot_fit_are_not_begun(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=32.0)
    # 98 training items in two further views at 8 a second are 24.5 s, and loading takes 1 s.
    assert _try_views(climb, [Linear, partial(Views, n_views=3)]) == ["linear"]
    expected = "a · last · views is left out: it needs about 26 s, and the budget leaves 17 s for it."
    assert expected in _said(climb)
    assert len(machine.calls) == 1


def test_linear_takes_the_place_of_what_has_no_time(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=32.0)
    assert _try_views(climb, [partial(Views, n_views=3)], layers=2) == ["linear"]
    assert _said(climb).endswith("linear takes its place.")


def test_views_that_turn_out_too_slow_are_left_out_and_kept(machine: Machine, tmp_path: Path) -> None:
    climb = _after_first(machine, tmp_path, budget_s=50.0)
    machine.pace = 2.0
    assert _try_views(climb, [Linear, partial(Views, n_views=3)]) == ["linear"]
    assert "a · last · views is left out" in _said(climb)
    assert "the others are kept" in _said(climb)
    assert climb.seen["a"].views == ()
    assert machine.now <= 50.0 - 2.0


def test_going_on_with_fewer_items_keeps_rows_together(machine: Machine, tmp_path: Path) -> None:
    climb = _climb(tmp_path, budget_s=60.0)
    climb.first_pass([_local("a")])
    climb.keep(np.array([5, 2, 9]))
    assert climb.items.names == ("5", "2", "9")
    np.testing.assert_array_equal(climb.features["a"].values[:, 0], [5.0, 2.0, 9.0])
    climb.divide(np.array([2, 0]), np.array([1]))
    assert climb.next_pass(_local("b"))
    for name in "ab":
        np.testing.assert_array_equal(climb.seen[name].values[:, 0], [9.0, 5.0])
        np.testing.assert_array_equal(climb.unseen[name].values[:, 0], [2.0])


@dataclass
class _Served:
    """Fills `running` with a network for each backbone that had something to compute, as the true `extract` does."""

    machine: Machine
    forwards: list[int] = field(default_factory=list)

    def extract(self, items: Items, backbones: Sequence[Local], **how: Any) -> Extraction:
        found, running = self.machine.extract(items, backbones, **how), how["running"]
        for local, features in zip(backbones, found.features, strict=True):
            if features.n_computed and running is not None:
                running[local.spec.name] = _Network(local, self.forwards)
        return found


@dataclass
class _Network:
    local: Local
    forwards: list[int]

    @property
    def spec(self) -> BackboneSpec:
        return replace(self.local.spec, image=None)  # so that its items need not be pictures

    def forward(self, batch: Any) -> np.ndarray:
        self.forwards.append(len(batch))
        return np.zeros((len(batch), 1), np.float32)


def test_a_pass_measures_what_an_item_takes_and_it_is_remembered(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, store = _Served(machine), MemoryStore()
    monkeypatch.setattr(module, "extract", served.extract)
    climb = _climb(tmp_path, 10_000.0, store)
    assert climb.latency("a") is None
    climb.first_pass([_local("a")])
    found = climb.latency("a")
    assert found is not None
    assert found.alone_ms > 0
    assert set(served.forwards) == {1, 32}
    # Where there is nothing to compute it is remembered.
    served.forwards.clear()
    climb.first_pass([_local("a")])
    assert climb.latency("a") == found
    assert served.forwards == []


@pytest.mark.parametrize(("before_ms", "after_ms"), [(5.0, 5.0), (50.0, 20.0)])
def test_the_least_that_was_measured_counts(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, before_ms: float, after_ms: float
) -> None:
    monkeypatch.setattr(module, "extract", _Served(machine).extract)
    monkeypatch.setattr(module, "measure_latency", lambda *_, **__: Latency(20.0, None))
    climb = _climb(tmp_path, 10_000.0)
    climb.speeds.remember_speed("a alone", 1000 / before_ms, **climb.where)
    climb.first_pass([_local("a")])
    assert climb.latency("a") == Latency(pytest.approx(after_ms), None)


def test_there_is_no_measuring_beyond_the_budget(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = _Served(machine)
    monkeypatch.setattr(module, "extract", served.extract)
    climb = _climb(tmp_path, 3.0)
    climb.first_pass([_local("a")])
    assert climb.latency("a") is None
    assert served.forwards == []


def test_a_linear_head_on_more_columns_takes_longer_by_their_root_and_others_by_their_number(tmp_path: Path) -> None:
    climb = _climb(tmp_path, 60.0)
    of_linear = SimpleNamespace(
        seconds=2.0, proposal=SimpleNamespace(width=100), strategy=SimpleNamespace(name="linear")
    )
    climb.candidates.append(cast("Any", of_linear))
    assert climb._trial_s(400) == 4.0
    assert climb._trial_s(400, cast("Any", SimpleNamespace(name="mlp", n_views=1))) == 8.0
    assert climb._trial_s(50) == 2.0
