"""Moving weights within a budget: which folds are trained, and what becomes the model, on a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import save_file
from search.synthetic import features, spec

from headstart.adaptation.epochs import Epoch, History, Scores
from headstart.adaptation.strategies import FineTune, Lora, Views
from headstart.adaptation.strategies.linear import Linear
from headstart.adaptation.tuning import Tuned
from headstart.backbones.resolve import WEIGHTS, Local
from headstart.data.dataset import Dataset, Items
from headstart.errors import BackboneError, OptionError
from headstart.evaluation.metrics import share_right
from headstart.features.extract import Compute, Features
from headstart.features.memory import MemoryStore
from headstart.recipes import move as module
from headstart.recipes.climb import Climb
from headstart.recipes.move import Move, check_backbones, check_modality
from headstart.recipes.watch import Watch
from headstart.recipes.workspace import Clock, NoLog
from headstart.search.candidates import Proposal, try_out
from recipes.test_climb import Said

N = 100
TARGETS = np.arange(N) % 2
FOLDS = np.arange(N) // 2 % 5
BACKBONE = spec("a", layers=(("early", 3), ("last", 4)))
LOCAL = Local(BACKBONE, Path(), {})


@dataclass(frozen=True)
class Training:
    """A strategy that takes so long on a clock, and predicts a given share of all items right."""

    clock: Turned
    share: float = 1.0
    seconds: float = 10.0
    epochs: int = 2
    calls: list[dict[str, Any]] = field(default_factory=list)
    name: ClassVar[str] = "training"
    modalities: ClassVar[tuple[str, ...]] = ("image",)

    def n_epochs(self, n_items: int) -> int:
        return self.epochs

    def n_seen(self, n_items: int) -> int:
        return self.epochs * n_items

    def fit(self, local: Local, items: Items, targets: np.ndarray, start: Any, **options: Any) -> Tuned:
        held_out = options["held_out"]
        self.calls.append(
            {
                "at": self.clock.now,
                "n_held_out": 0 if held_out is None else int(held_out.sum()),
                "start": start,
                **options,
            }
        )
        n = len(items) - self.calls[-1]["n_held_out"]
        self.clock.now += self.seconds * n / 80
        is_right = np.arange(N) % 20 < 20 * self.share
        logits = np.zeros((N, 2), dtype=np.float32)
        logits[np.arange(N), np.where(is_right, targets, 1 - targets)] = 1.0
        lap = self.seconds * n / 80 / self.epochs
        done = tuple(Epoch(number + 1, Scores(1.0), None, 1e-3, 1e-3, 1.0, lap) for number in range(self.epochs))
        for epoch in done:
            options["on_epoch"](epoch)
        tuned = replace(local, spec=replace(local.spec, name="a+training"))
        return Tuned(tuned, start, logits, History(done, "all", self.epochs))


@dataclass
class Turned:
    """A clock."""

    now: float = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Turned:
    turned = Turned()
    monkeypatch.setattr("time.monotonic", lambda: turned.now)
    return turned


def made(tmp_path: Path, *, budget_s: float, pace: float = 1000.0, apart: float = 1.0) -> tuple[Move, Said]:
    """Features of which a linear head gets most right, and the budget."""
    names = tuple(map(str, range(N)))
    items = Items("image", tuple(np.zeros((2, 2, 3), np.uint8) for _ in range(N)), names, names)
    train = Dataset(items, TARGETS, ("x", "y"), source="here")
    store, said = MemoryStore(), Said()
    store.remember_speed("a", pace, device="cpu", dtype="float32")
    climb = Climb(items, store, store, Compute(), Clock(0.0, budget_s), NoLog(), said)
    climb.seen["a"] = features(BACKBONE, TARGETS, apart=apart)
    for layers in ("last", "all"):
        proposal = Proposal(layers, (BACKBONE,))
        climb.candidates.append(try_out(proposal, climb.seen, TARGETS, FOLDS, make=Linear, n_classes=2, seed=0))
    return Move(climb, train, FOLDS, items.take(range(7)), 0, tmp_path, Watch(NoLog(), said)), said


def test_with_time_all_folds_are_trained_and_then_all_items(
    clock: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, _ = made(tmp_path, budget_s=1000, apart=3.0)  # the head hardly errs, so it stays open whether moving helps
    training = Training(clock)
    move.try_all([lambda: training], [LOCAL], needed=True)
    assert len(training.calls) == 1
    move.go_on()
    (*_, moved) = move.climb.candidates
    assert [call["n_held_out"] for call in training.calls] == [20] * 5
    assert moved.tested.all()
    assert moved.start.proposal.layers == "last"
    monkeypatch.setattr(module, "extract", lambda items, locals_, **_: _Found(len(items)))
    fitted = move.finish(moved, LOCAL)
    assert training.calls[-1]["n_held_out"] == 0
    assert fitted.note == ""
    assert fitted.training.value == 1.0
    assert fitted.predictor.parts[0].backbone == fitted.local.spec.name == "a+training"
    assert len(move.climb.unseen["a+training"].values) == 7
    assert sorted(each.fold for each in move.watch.trainings[:-1] if each.fold is not None) == [0, 1, 2, 3, 4]
    assert move.watch.trainings[-1].fold is None


class _Found:
    def __init__(self, n: int) -> None:
        self.features = [Features(spec("a+training"), np.zeros((n, 4), np.float32), np.ones(n, dtype=bool))]


def test_time_for_a_training_on_all_items_is_kept(clock: Turned, tmp_path: Path) -> None:
    move, _ = made(tmp_path, budget_s=60, apart=3.0)
    training = Training(clock)
    move.try_all([lambda: training], [LOCAL], needed=True)
    move.go_on()
    # A fold takes 10 s, all items 12.5: after three folds there is no time for a fourth and for all.
    assert len(training.calls) == 3
    assert move.climb.candidates[-1].accuracy.n == 60
    assert clock.now + 12.5 <= 60


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_where_it_is_settled_whether_moving_helps_there_are_no_further_folds(
    clock: Turned, tmp_path: Path, share: float
) -> None:
    move, _ = made(tmp_path, budget_s=1000, apart=0.1)
    training = Training(clock, share=share)
    move.try_all([lambda: training], [LOCAL], needed=True)
    move.go_on()
    assert len(training.calls) < 5
    difference = move.climb.candidates[-1].difference
    assert difference.high < 0 if share < 1 else difference.low > 0


def test_what_looks_as_if_it_helped_reserves_the_time_of_its_last_training(clock: Turned, tmp_path: Path) -> None:
    for share, expected in ((1.0, 12.5), (0.1, 0.0)):
        move, _ = made(tmp_path, budget_s=1000)
        move.try_all([lambda share=share: Training(clock, share=share)], [LOCAL], needed=True)  # type: ignore[misc]
        assert move.climb.reserved_s == pytest.approx(expected, abs=1.1)  # and a pass over 7 test items


def test_the_first_training_leaves_out_the_fold_that_is_most_like_all(clock: Turned, tmp_path: Path) -> None:
    """Of 20 items in each fold the head gets 4, 0, 1, 2 and 3 wrong: 2 are usual."""
    move, _ = made(tmp_path, budget_s=1000)
    within = np.array([np.count_nonzero(FOLDS[:row] == FOLDS[row]) for row in range(N)])
    right = within >= np.array([4, 0, 1, 2, 3])[FOLDS]
    move.climb.candidates[:] = [
        replace(each, right=right, accuracy=share_right(right)) for each in move.climb.candidates
    ]
    move.try_all([lambda: Training(clock)], [LOCAL], needed=True)
    (*_, moved) = move.climb.candidates
    assert np.unique(FOLDS[moved.first_out]).tolist() == [3]
    assert moved.tested.tolist() == moved.first_out.tolist()


def test_what_a_training_costs_is_known_after_the_first(clock: Turned, tmp_path: Path) -> None:
    move, _ = made(tmp_path, budget_s=1000, pace=50.0)
    training = Training(clock, seconds=40.0)
    before = move.cost(training, LOCAL)
    # 2 epochs of 100 items, each taken for three passes, as all stages may move: 12 s. Then a pass over all items.
    assert before.final_s == pytest.approx(12 + 3 + 1 + 7 / 50)
    move.try_all([lambda: training], [LOCAL], needed=True)
    after = move.cost(training, LOCAL)
    assert after.final_s - before.final_s == pytest.approx(50 - 12)  # 40 s were for 80 items
    assert before.least_s < before.first_s + before.final_s


def test_nothing_is_trained_in_a_hurry(clock: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move, _ = made(tmp_path, budget_s=1000)
    training = Training(clock)
    move.try_all([lambda: training], [LOCAL], needed=True)
    monkeypatch.setattr(module, "extract", lambda items, locals_, **_: _Found(len(items)))
    fitted = move.finish(move.climb.candidates[-1], LOCAL, hurry=True)
    assert len(training.calls) == 1
    assert "trained on 80 of 100 training items" in fitted.note


def test_without_time_for_all_items_the_first_training_is_the_model_and_that_is_said(
    clock: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, said = made(tmp_path, budget_s=20)
    training = Training(clock)
    move.try_all([lambda: training], [LOCAL], needed=True)
    monkeypatch.setattr(module, "extract", lambda items, locals_, **_: _Found(len(items)))
    fitted = move.finish(move.climb.candidates[-1], LOCAL)
    assert len(training.calls) == 1
    assert "trained on 80 of 100 training items" in fitted.note
    assert fitted.training.n == 80
    assert fitted.note in said.messages


def test_without_time_for_the_activations_nothing_is_trained(clock: Turned, tmp_path: Path) -> None:
    move, said = made(tmp_path, budget_s=20, pace=1.0)
    training = Training(clock)
    move.try_all([lambda: training], [LOCAL], needed=True)
    assert training.calls == []
    assert said.messages == ["a · last · training is left out: it needs about 40 s, and the budget leaves 8 s for it."]


def test_each_strategy_is_tried_once_before_one_is_tried_again(clock: Turned, tmp_path: Path) -> None:
    move, _ = made(tmp_path, budget_s=1000, apart=3.0)
    first, second = Training(clock), Training(clock)
    move.try_all([lambda: first, lambda: second], [LOCAL], needed=True)
    move.go_on()
    assert [call["at"] for call in first.calls] == [0.0, 20.0, 40.0, 60.0, 80.0]
    assert [call["at"] for call in second.calls] == [10.0, 30.0, 50.0, 70.0, 90.0]
    # The first trainings share the time with each other and with the last one, on all items.
    assert first.calls[0]["deadline"] < 1000 / 3 < second.calls[0]["deadline"] < 1000 / 2
    # Later ones may have all but the time of that last one.
    assert all(900 < call["deadline"] < 1000 - 12.5 for call in first.calls[1:])


@dataclass(frozen=True)
class Late(Training):
    """Its time is up before an epoch has ended."""

    def fit(self, *args: Any, **options: Any) -> Tuned:
        tuned = super().fit(*args, **options | {"on_epoch": lambda _: None})
        return replace(tuned, history=History((), "stopped by the deadline in epoch 1", 1))


def test_a_training_without_an_epoch_is_no_candidate(clock: Turned, tmp_path: Path) -> None:
    move, said = made(tmp_path, budget_s=1000)
    before = len(move.climb.candidates)
    assert move.try_one(Late(clock), move.start(), LOCAL) == ()
    assert len(move.climb.candidates) == before
    assert "training is left out: its time was up before the first epoch had ended." in "\n".join(said.messages)


@dataclass(frozen=True)
class Failing(Training):
    """A strategy that cannot be used with this network."""

    def fit(self, *_: Any, **__: Any) -> Tuned:
        raise BackboneError("adapters need linear layers, but a has none", hint="Take finetune.")


@dataclass(frozen=True)
class FailingLater(Training):
    """A strategy whose first training goes well, and no other."""

    def fit(self, *arguments: Any, **options: Any) -> Tuned:
        if self.calls:
            raise BackboneError("there is no memory left", hint="Close something.")
        return super().fit(*arguments, **options)


def test_a_training_that_fails_later_leaves_what_was_judged(
    clock: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, said = made(tmp_path, budget_s=1000, apart=3.0)
    move.try_all([lambda: FailingLater(clock)], [LOCAL], needed=True)
    moved = move.climb.candidates[-1]
    move.go_on()
    assert move.climb.candidates[-1] is moved
    assert said.messages == ["a · last · training goes no further: there is no memory left."]
    monkeypatch.setattr(module, "extract", lambda items, locals_, **_: _Found(len(items)))
    fitted = move.finish(moved, LOCAL)
    assert fitted.note == (
        "The weights were trained on 80 of 100 training items: another training on all of them failed, as there is no "
        "memory left."
    )


def test_a_strategy_that_cannot_be_trained_is_left_out_where_there_is_another(clock: Turned, tmp_path: Path) -> None:
    move, said = made(tmp_path, budget_s=1000)
    move.try_all([lambda: Failing(clock), lambda: Training(clock)], [LOCAL], needed=True)
    assert [each.strategy.name for each in move.climb.candidates] == ["linear", "linear", "training"]
    assert "a · last · training is left out: adapters need linear layers" in said.messages[0]
    move, said = made(tmp_path, budget_s=1000)
    move.try_all([lambda: Failing(clock)], [LOCAL], needed=False)
    assert [each.strategy.name for each in move.climb.candidates] == ["linear", "linear"]
    with pytest.raises(BackboneError, match="adapters need linear layers"):
        move.try_all([lambda: Failing(clock)], [LOCAL], needed=True)


def test_a_backbone_whose_last_layer_was_not_tried_is_no_start(clock: Turned, tmp_path: Path) -> None:
    """Its other layers may have won, in less time."""
    move, _ = made(tmp_path, budget_s=1000)
    other = spec("b", layers=(("early", 3), ("last", 4)))
    move.climb.seen["b"] = features(other, TARGETS, apart=9.0)
    proposal = Proposal("early", (other,))
    move.climb.candidates.append(try_out(proposal, move.climb.seen, TARGETS, FOLDS, make=Linear, n_classes=2, seed=0))
    move.try_all([lambda: Training(clock)], [LOCAL, Local(other, Path(), {})], needed=True)
    assert move.climb.candidates[-1].start.proposal.backbones == (BACKBONE,)


def test_strategies_are_refused_for_items_that_they_are_not_for(clock: Turned) -> None:
    check_modality([FineTune(), Views(())], "image")
    with pytest.raises(OptionError, match="the strategy 'views' is for images, but the data holds texts") as caught:
        check_modality([FineTune(), Views(())], "text")
    assert "finetune" in str(caught.value.hint)


def test_adapters_are_refused_where_no_network_has_linear_layers(tmp_path: Path) -> None:
    for name, weight in (("conv", np.zeros((4, 3, 3, 3))), ("vit", np.zeros((4, 4)))):
        (tmp_path / name).mkdir()
        tensors = {
            "stem.weight": np.zeros((4, 3, 3, 3)),
            "embeddings.words.weight": np.zeros((9, 4)),
            "a.weight": weight,
        }
        save_file(tensors, tmp_path / name / WEIGHTS)
    conv, vit = (Local(spec(name), tmp_path / name, {}) for name in ("conv", "vit"))
    check_backbones([FineTune(), Lora()], [conv, vit])
    check_backbones([FineTune()], [conv])
    for asked in (Lora(), FineTune(trains="adapters")):
        with pytest.raises(
            OptionError, match="trains adapters beside linear layers, but there are none below the head of conv"
        ):
            check_backbones([asked], [conv])


def test_networks_whose_weights_cannot_be_moved_are_refused_at_once() -> None:
    timm, torchvision, tower, text = (
        Local(replace(spec(name), loader=loader, modality=modality), Path(), {})
        for name, loader, modality in (
            ("a", "timm", "image"),
            ("b", "torchvision", "image"),
            ("c", "transformers", "image"),
            ("d", "transformers", "text"),
        )
    )
    check_backbones([FineTune()], [torchvision, timm])
    check_backbones([FineTune()], [text])
    check_backbones([], [torchvision])
    with pytest.raises(OptionError, match="moves weights, but those of b and c cannot be moved"):
        check_backbones([FineTune()], [torchvision, tower])
