"""Fine-tuning: another backbone with a head, that anything else can run."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart._fingerprint import sha256_bytes
from headstart.adaptation.epochs import Epoch
from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.strategies.finetune import FineTune
from headstart.adaptation.strategies.settings import settings_of
from headstart.adaptation.tuning import Tuned
from headstart.backbones.resolve import Local, resolve
from headstart.data.dataset import Items
from headstart.errors import DataError, OptionError
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore

WORDS = ["small", "red", "old", "bird", "sleeps", "under", "over", "green", "trees", "and"]
QUICK = FineTune(n_stages=1, epochs=3, learning_rate=1e-3, batch_size=8, dropout=0.1)


class Killed(BaseException):
    """As if the process ended here."""


class Case:
    """A tiny backbone and items of two classes, of which the last ones are held out."""

    def __init__(self, local: Local, values: tuple[Any, ...], targets: np.ndarray, folder: Path) -> None:
        keys = tuple(sha256_bytes(v.encode() if isinstance(v, str) else v.tobytes()) for v in values)
        self.items = Items(local.spec.modality, values, tuple(map(str, range(len(values)))), keys)
        self.local, self.targets, self.folder = local, targets, folder
        self.held_out = np.arange(len(values)) >= len(values) * 2 // 3
        last = self.last(local)
        scaling = Scaling.fit(last[~self.held_out])
        head = logistic.fit(scaling.apply(last[~self.held_out]), targets[~self.held_out], l2=1.0, n_classes=2)
        self.head = scaling.fold_into(head)

    def last(self, local: Local) -> np.ndarray:
        found = extract(self.items, [local], store=MemoryStore(), compute=Compute())
        return found.features[0].layer("last")

    def fit(self, settings: FineTune = QUICK, **options: Any) -> Tuned:
        asked = {"held_out": self.held_out, "folder": self.folder / "tuned", "scratch": self.folder / "scratch"}
        return settings.fit(self.local, self.items, self.targets, self.head, compute=Compute(), **(asked | options))

    def right(self, logits: np.ndarray) -> float:
        return float((logits.argmax(axis=1) == self.targets[self.held_out]).mean())


@pytest.fixture
def images(tmp_path: Path) -> Case:
    """Which half is brighter: what no pooled feature of a random network is sure to say."""
    random = np.random.default_rng(0)
    targets = random.integers(2, size=60)
    pictures = random.integers(0, 100, size=(60, 40, 40, 3)).astype(np.uint8)
    for picture, target in zip(pictures, targets, strict=True):
        picture[:: 2 + target] += 100  # stripes of one of two widths
    local = resolve(str(save_timm(tmp_path / "saved", "test_efficientnet")), tmp_path)
    return Case(local, tuple(pictures), targets, tmp_path)


@pytest.fixture
def texts(tmp_path: Path) -> Case:
    """Whether `red` comes before `bird`: an order, which a mean over words does not show."""
    random = np.random.default_rng(0)
    values, targets = [], random.integers(2, size=90)
    for target in targets:
        words = [*random.permutation([w for w in WORDS if w not in ("red", "bird")])[:4]]
        at = sorted(random.choice(5, size=2, replace=False))
        for place, word in zip(at, ("red", "bird") if target else ("bird", "red"), strict=True):
            words.insert(place, word)
        values.append(" ".join(words))
    local = resolve(str(save_bert(tmp_path / "saved")), tmp_path)
    return Case(local, tuple(values), targets, tmp_path)


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_the_result_is_a_backbone_with_a_linear_head(kind: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(kind)
    tuned = case.fit()
    assert [layer.name for layer in tuned.local.spec.layers] == ["last"]
    assert tuned.local.spec.source.origin == "tuned"
    assert tuned.local.spec.source.location == case.local.spec.name
    assert tuned.local.spec.source.revision == case.local.spec.source.sha256 != tuned.local.spec.source.sha256
    # Extraction, which knows nothing of training, sees what training saw. It saw bfloat16 at the cut.
    logits = tuned.head.logits(case.last(tuned.local))
    assert np.linalg.norm(logits - tuned.logits) <= 0.02 * np.linalg.norm(logits)
    assert len(tuned.history.epochs) == 3
    assert all(epoch.validation is not None for epoch in tuned.history.epochs)
    assert list((case.folder / "scratch").glob("*.training")) == []


def test_only_what_lies_above_the_cut_has_moved(images: Case) -> None:
    tuned = images.fit()
    before = load_file(images.local.folder / "model.safetensors")
    after = load_file(tuned.local.folder / "model.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(("blocks.4", "conv_head", "bn2")) for name in moved)
    assert not any("running" in name for name in moved), "statistics of BatchNorm must stay"


def test_it_learns_what_the_head_alone_cannot(texts: Case) -> None:
    linear = texts.right(texts.head.logits(texts.last(texts.local))[texts.held_out])
    tuned = texts.fit(
        FineTune(n_stages=2, epochs=30, learning_rate=1e-2, batch_size=8, dropout=0.0, label_smoothing=0.0)
    )
    assert texts.right(tuned.logits[texts.held_out]) >= max(0.9, linear + 0.1)


def test_nothing_moves_when_nothing_of_the_training_is_kept(images: Case) -> None:
    tuned = images.fit(FineTune(n_stages=1, epochs=1, interpolation=0.0))
    np.testing.assert_array_equal(tuned.head.weight, images.head.weight)
    np.testing.assert_allclose(images.last(tuned.local), images.last(images.local), rtol=1e-6)


def test_the_pull_towards_the_start_holds_weights_back(images: Case) -> None:
    def distance(tuned: Tuned) -> float:
        before, after = (load_file(each.folder / "model.safetensors") for each in (images.local, tuned.local))
        return sum(float((after[name] - before[name]).float().norm()) for name in before)

    # Both are written to the same folder, so distances are read one after the other.
    held, free = (distance(images.fit(FineTune(1, 3, 3e-3, l2_sp=pull))) for pull in (10.0, 0.0))
    assert held < 0.7 * free


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_the_same_seed_gives_the_same_bits_also_after_a_kill(kind: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(kind)
    whole = case.fit(seed=3)
    bits = (whole.local.sha256, whole.head.weight.tobytes())

    def die(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Killed

    with pytest.raises(Killed):
        case.fit(seed=3, on_epoch=die)
    seen: list[int] = []
    again = case.fit(seed=3, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen == [3]
    assert (again.local.sha256, again.head.weight.tobytes()) == bits
    assert case.fit(seed=4).local.sha256 != bits[0]


def test_held_out_targets_are_not_learnt_from(images: Case) -> None:
    bits = images.fit().local.sha256
    images.targets = np.where(images.held_out, 1 - images.targets, images.targets)
    assert images.fit().local.sha256 == bits


def test_without_held_out_items_all_are_trained_on(images: Case) -> None:
    tuned = images.fit(held_out=None)
    assert tuned.logits.shape == (len(images.items), 2)
    assert tuned.history.epochs[0].validation is None


def test_a_deadline_in_the_past_costs_one_step(images: Case) -> None:
    tuned = images.fit(deadline=time.monotonic())
    assert tuned.history.ended == "stopped by the deadline in epoch 1"
    assert np.isfinite(tuned.logits).all()


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("n_stages", 0, "from 1 to 64"),
        ("epochs", 0, "from 1 to 200"),
        ("learning_rate", 1.0, "from 1e-06 to 0.01"),
        ("dropout", float("nan"), "from 0 to 0.9"),
        ("schedule", "steps", "one_cycle, cosine or slanted_triangular"),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: Any, rule: str) -> None:
    with pytest.raises(OptionError, match=f"{setting}.*{rule}"):
        FineTune(**{setting: value})


def test_every_field_is_a_setting_that_its_default_satisfies() -> None:
    settings = settings_of(FineTune)
    assert len(settings) == len(fields(FineTune)) == 13
    assert all(setting.allows(getattr(FineTune(), name)) for name, setting in settings.items())


def test_all_held_out_is_refused(images: Case) -> None:
    with pytest.raises(DataError, match="all are held out"):
        images.fit(held_out=np.ones(60, dtype=np.bool_))


def test_more_stages_than_there_are_is_refused(images: Case) -> None:
    with pytest.raises(OptionError, match="must be from 1 to 5, but got 9"):
        images.fit(FineTune(n_stages=9))
