"""The same network without its pretraining: it learns, by itself, and always the same."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart._fingerprint import sha256_file
from headstart.adaptation import scratch as module
from headstart.adaptation.epochs import Epoch
from headstart.adaptation.scratch import Scratch, from_scratch, plan
from headstart.backbones.fresh import fresh
from headstart.backbones.resolve import Local, resolve
from headstart.data.dataset import Items
from headstart.errors import BackboneError, OptionError, StoreError
from headstart.features.extract import Compute

WORDS = ("small", "red", "old", "bird", "sleeps", "under")


@dataclass
class Case:
    """A tiny backbone, and items of two classes that are easy to tell apart."""

    local: Local
    items: Items
    targets: np.ndarray
    unseen: Items
    truth: np.ndarray
    folder: Path

    def run(self, epochs: int = 2, **asked: Any) -> Scratch:
        options = {"compute": Compute(), "seed": 0, "scratch": self.folder / "scratch"} | asked
        return from_scratch(self.local, self.items, self.targets, self.unseen, n_classes=2, epochs=epochs, **options)

    def right(self, found: Scratch) -> float:
        return float((found.probabilities.argmax(axis=1) == self.truth).mean())


def _items(values: list[Any], modality: Any) -> Items:
    names = tuple(map(str, range(len(values))))
    return Items(modality, tuple(values), names, names)


def _case(local: Local, values: list[Any], targets: np.ndarray, folder: Path) -> Case:
    cut, modality = len(values) * 3 // 4, local.spec.modality
    seen, unseen = _items(values[:cut], modality), _items(values[cut:], modality)
    return Case(local, seen, targets[:cut], unseen, targets[cut:], folder)


@pytest.fixture
def images(tmp_path: Path) -> Case:
    """Stripes of one of two widths; three quarters are of the narrow kind."""
    random = np.random.default_rng(0)
    targets = (np.arange(56) % 4 == 0).astype(np.int64)
    pictures = random.integers(0, 100, size=(56, 40, 44, 3)).astype(np.uint8)
    for picture, target in zip(pictures, targets, strict=True):
        picture[:: 2 + 4 * target] += 100
    local = resolve(str(save_timm(tmp_path / "saved", "test_resnet")), tmp_path)
    assert local.spec.image is not None
    small = replace(local.spec, image=replace(local.spec.image, size_px=40))  # it takes any size
    local = replace(local, spec=small)
    return _case(local, list(pictures), targets, tmp_path)


@pytest.fixture
def texts(tmp_path: Path) -> Case:
    random = np.random.default_rng(0)
    targets = (np.arange(96) % 4 == 0).astype(np.int64)
    values = [" ".join(random.choice(WORDS[:3] if target else WORDS[3:], 4)) for target in targets]
    local = resolve(str(save_bert(tmp_path / "saved")), tmp_path)
    return _case(local, values, targets, tmp_path)


@pytest.fixture(params=["images", "texts"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(("kind", "epochs"), [("images", 8), ("texts", 24)])
def test_it_learns_more_than_the_majority(
    kind: str, epochs: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    case: Case = request.getfixturevalue(kind)
    monkeypatch.setitem(module._HIGHEST_RATE, "text", 1e-2)  # a network of 16 numbers a token learns slowly
    found = case.run(epochs)
    assert case.right(found) > max(0.9, 1 - float(case.truth.mean()))
    assert [epoch.number for epoch in found.history.epochs] == list(range(1, epochs + 1))
    assert found.history.epochs[-1].train.loss < found.history.epochs[0].train.loss


def test_probabilities_are_of_each_unseen_item_and_nothing_is_left_behind(case: Case) -> None:
    file = case.local.folder / "model.safetensors"
    before = sha256_file(file)
    found = case.run()
    assert found.probabilities.shape == (len(case.unseen), 2)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert sha256_file(file) == before
    assert not list(case.folder.glob("scratch/*"))


def test_the_pretrained_weights_play_no_part(case: Case) -> None:
    expected = case.run(1).probabilities
    file = case.local.folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-4000:] = bytes(4000)  # the last numbers in the file
    file.write_bytes(content)
    np.testing.assert_array_equal(case.run(1).probabilities, expected)


def test_the_seed_decides(case: Case) -> None:
    one, same, other = (case.run(seed=seed).probabilities for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_everything_was_trained_and_batch_norm_has_the_statistics_of_the_end(
    images: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(module, "fresh", lambda *given, **named: kept.append(fresh(*given, **named)) or kept[0])
    images.run(1)
    now, start = kept[0].network.state_dict(), fresh(images.local, seed=0).network.state_dict()
    unmoved = [name for name in start if torch.equal(now[name], start[name])]
    assert unmoved == []
    norm = next(each for each in kept[0].network.modules() if isinstance(each, torch.nn.BatchNorm2d))
    inputs: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    # One batch of 42 items is two of 21; their means are the mean of all.
    _whole(kept[0], list(images.items.values), images.local)
    mean = torch.cat(inputs).mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-3, atol=1e-4)


def _whole(made: Any, pictures: list[np.ndarray], local: Local) -> None:
    from PIL import Image

    from headstart.backbones.preprocess import prepare_image

    assert local.spec.image is not None
    with torch.no_grad():
        made.last(np.stack([prepare_image(Image.fromarray(each), local.spec.image) for each in pictures]))


def test_a_deadline_ends_it_after_one_step(images: Case) -> None:
    told: list[Epoch] = []
    found = images.run(4, deadline=time.monotonic(), on_epoch=told.append)
    assert found.history.epochs == ()
    assert told == []
    assert found.history.ended == "stopped by the deadline in epoch 1"
    assert np.isfinite(found.probabilities).all()


def test_each_epoch_is_told(texts: Case) -> None:
    told: list[Epoch] = []
    assert tuple(told) == () != texts.run(3, on_epoch=told.append).history.epochs
    assert [epoch.number for epoch in told] == [1, 2, 3]


def test_a_training_that_diverges_still_gives_numbers(images: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._HIGHEST_RATE, "image", 1e30)
    found = images.run(2)
    assert any("diverged" in note for note in found.history.notes)
    assert np.isfinite(found.probabilities).all()


def test_nothing_to_predict_is_no_error(texts: Case) -> None:
    texts.unseen = texts.unseen.take([])
    assert texts.run(1).probabilities.shape == (0, 2)


def test_no_epoch_is_the_users_mistake(texts: Case) -> None:
    with pytest.raises(OptionError, match="must be 1 or more, but got 0"):
        texts.run(0)


def test_a_folder_that_cannot_be_written_is_told(images: Case) -> None:
    (images.folder / "scratch").write_text("a file")
    with pytest.raises(StoreError, match="decoded pictures cannot be kept") as caught:
        images.run(1)
    assert "MB" in caught.value.hint


def test_a_plan_uses_the_time_and_leaves_nothing_behind(case: Case) -> None:
    def planned(seconds: float) -> module.Plan:
        return plan(
            *(case.local, case.items, len(case.unseen)),
            seconds=seconds,
            compute=Compute(),
            seed=0,
            scratch=case.folder / "scratch",
        )

    assert planned(0.0).epochs == 0
    assert planned(1e6).epochs == max(module._EPOCHS)
    some = planned(1e4)
    assert some.epoch_s > 0
    assert some.around_s > 0
    assert not list(case.folder.glob("scratch/*"))


def test_a_plan_takes_the_most_epochs_that_fit(texts: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    found = plan(*(texts.local, texts.items, 24), seconds=30.0, compute=Compute(), seed=0, scratch=texts.folder)
    # On this clock each look costs a second: one to make the network, one to open 32 items, one for each step of 16.
    assert found.epoch_s == pytest.approx(72 / 16)
    assert found.around_s == pytest.approx(1 + (72 + 24) / 32 + (72 + 24) / 16 / 3)
    assert found.epochs == 3  # of 15 s that are left after the nine that the plan itself took


@pytest.mark.parametrize("where", ["__init__", "probabilities"])
def test_too_little_memory_is_said_plainly(texts: Case, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Model, where, _no_memory)
    with pytest.raises(BackboneError, match="memory is too small for this network and a batch of items"):
        texts.run(1)
    assert not list(texts.folder.glob("scratch/*"))


def test_too_little_memory_for_the_steps_of_a_plan_is_said_plainly(
    images: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._Model, "loss", _no_memory)
    with pytest.raises(BackboneError, match="memory is too small for this network and a batch of items"):
        plan(
            *(images.local, images.items, 8), seconds=9.0, compute=Compute(), seed=0, scratch=images.folder / "scratch"
        )
    assert not list(images.folder.glob("scratch/*"))


def _no_memory(*_: Any, **__: Any) -> None:
    torch.empty(1 << 60, dtype=torch.uint8)  # as PyTorch says it
