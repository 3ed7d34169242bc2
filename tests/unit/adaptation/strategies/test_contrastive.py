"""Contrastive tuning: another encoder with a head, that anything else can run."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart._fingerprint import sha256_bytes
from headstart.adaptation import tuning
from headstart.adaptation._held_out import halves
from headstart.adaptation.contrasting import LOSSES
from headstart.adaptation.epochs import Epoch
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.strategies import MOVING
from headstart.adaptation.strategies.contrastive import Contrastive
from headstart.adaptation.strategies.settings import settings_of
from headstart.adaptation.tuning import Tuned, keep_tuned
from headstart.backbones.resolve import Local, resolve
from headstart.data.dataset import Items
from headstart.errors import BackboneError, DataError, OptionError
from headstart.evaluation.calibration import calibrated_loss
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore

WORDS = ["small", "old", "sleeps", "under", "over", "green", "trees", "and"]
QUICK = Contrastive(n_stages=1, epochs=3, steps=2, learning_rate=1e-3)
N = 90


class Killed(BaseException):
    """As if the process ended here."""


class Case:
    """A tiny encoder, and texts in which `red` comes before `bird` or after: an order, which a mean does not show."""

    def __init__(self, folder: Path, n: int = N) -> None:
        random = np.random.default_rng(0)
        self.targets = random.integers(2, size=n)
        values = []
        for target in self.targets:
            words = [*random.permutation(WORDS)[:4]]
            at = sorted(random.choice(5, size=2, replace=False))
            for place, word in zip(at, ("red", "bird") if target else ("bird", "red"), strict=True):
                words.insert(place, word)
            values.append(" ".join(words))
        keys = tuple(sha256_bytes(value.encode()) for value in values)
        self.items = Items("text", tuple(values), tuple(map(str, range(n))), keys)
        self.local = resolve(str(save_bert(folder / "saved")), folder)
        self.folder, self.held_out = folder, np.arange(n) >= n * 2 // 3
        self.start = LinearHead(np.zeros((2, self.local.spec.layers[-1].width), np.float32), np.zeros(2, np.float32))

    def last(self, local: Local) -> np.ndarray:
        found = extract(self.items, [local], store=MemoryStore(), compute=Compute())
        return found.features[0].layer("last")

    def fit(self, settings: Contrastive = QUICK, **options: Any) -> Tuned:
        asked: dict[str, Any] = {
            "held_out": self.held_out,
            "folder": self.folder / "tuned",
            "scratch": self.folder / "scratch",
        }
        given = (self.local, self.items, self.targets, self.start)
        tuned = settings.fit(*given, compute=Compute(), **(asked | options))
        keep_tuned(tuned, self.folder / "kept")
        return tuned

    def right(self, tuned: Tuned) -> float:
        return float((tuned.logits.argmax(axis=1) == self.targets)[self.held_out].mean())


@pytest.fixture
def texts(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_the_result_is_a_backbone_with_a_linear_head(texts: Case) -> None:
    tuned = texts.fit()
    assert [layer.name for layer in tuned.local.spec.layers] == ["last"]
    assert tuned.local.spec.name == f"{texts.local.spec.name}+contrastive"
    assert tuned.local.spec.source.revision == texts.local.spec.source.sha256 != tuned.local.spec.source.sha256
    # Extraction, which knows nothing of training, sees what training saw. It saw bfloat16 at the cut.
    logits = tuned.head.logits(texts.last(tuned.local))
    assert np.linalg.norm(logits - tuned.logits) <= 0.02 * np.linalg.norm(logits)
    assert len(tuned.history.epochs) == 3
    for epoch in tuned.history.epochs:
        assert epoch.train.accuracy is None, "the loss puts no text into a class"
        assert epoch.validation is not None
        assert epoch.validation.accuracy is not None
    assert list((texts.folder / "scratch").glob("*.training")) == []


@pytest.mark.parametrize("loss", ["pairs", "ranks"])
def test_it_learns_what_the_head_alone_cannot(tmp_path: Path, loss: Any) -> None:
    texts = Case(tmp_path, 240)
    asked: dict[str, Any] = {"n_stages": 2, "loss": loss, "temperature": 0.3, "learning_rate": 1e-2, "batch_size": 16}
    before = texts.right(texts.fit(Contrastive(**asked, epochs=1, steps=1, interpolation=0.0)))
    after = texts.right(texts.fit(Contrastive(**asked, epochs=3, steps=40, interpolation=1.0)))
    assert after >= max(0.8, before + 0.1)


def test_nothing_moves_when_nothing_of_the_training_is_kept(texts: Case) -> None:
    tuned = texts.fit(Contrastive(n_stages=1, epochs=1, steps=2, interpolation=0.0))
    np.testing.assert_allclose(texts.last(tuned.local), texts.last(texts.local), rtol=1e-6)
    assert tuned.chosen == {}


def test_held_out_texts_choose_how_far_to_go(texts: Case) -> None:
    tuned = texts.fit(Contrastive(1, epochs=3, steps=2, learning_rate=1e-3, interpolation=None))
    assert tuned.chosen["interpolation"] in (0.25, 0.5, 0.75, 1.0)
    asked = texts.fit(
        Contrastive(1, epochs=3, steps=2, learning_rate=1e-3, interpolation=tuned.chosen["interpolation"])
    )
    assert asked.chosen == {}
    assert asked.local.sha256 == tuned.local.sha256
    np.testing.assert_array_equal(asked.logits[~texts.held_out], tuned.logits[~texts.held_out])


def test_held_out_texts_choose_for_the_other_half_of_them(texts: Case) -> None:
    asked = Contrastive(1, epochs=3, steps=2, learning_rate=1e-3, interpolation=None)
    judged, targets = texts.fit(asked), texts.targets
    shares = {share: texts.fit(replace(asked, interpolation=share)).logits for share in (1.0, 0.75, 0.5, 0.25)}
    for some, others in halves(targets[texts.held_out], 0):
        seen, judging = (np.flatnonzero(texts.held_out)[rows] for rows in (some, others))
        best = min(shares, key=lambda share: calibrated_loss(shares[share][seen], targets[seen]))
        np.testing.assert_allclose(judged.logits[judging], shares[best][judging], rtol=1e-4, atol=1e-5)


def test_too_little_memory_is_said_plainly(texts: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(tuning, "keep_boundary", fail)
    with pytest.raises(BackboneError, match="memory is too small for this backbone and its activations"):
        texts.fit()


def test_batches_that_lie_apart_by_chance_do_not_make_others_look_diverged(
    texts: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = itertools.count()

    def lucky(cosines: torch.Tensor, *_: Any) -> torch.Tensor:
        return cosines.sum() * 0 + (0.01 if next(called) < 2 else 2.7)  # log 15 is what guessing loses

    monkeypatch.setitem(LOSSES, "groups", lucky)
    tuned = texts.fit()
    assert len(tuned.history.epochs) == 3
    assert not any("diverged" in note for note in tuned.history.notes)


def test_the_same_seed_gives_the_same_bits_also_after_a_kill(texts: Case) -> None:
    whole = texts.fit(seed=3)
    bits = (whole.local.sha256, whole.head.weight.tobytes())

    def die(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Killed

    with pytest.raises(Killed):
        texts.fit(seed=3, on_epoch=die)
    seen: list[int] = []
    again = texts.fit(seed=3, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen == [3]
    assert (again.local.sha256, again.head.weight.tobytes()) == bits
    assert texts.fit(seed=4).local.sha256 != bits[0]


def test_held_out_targets_are_not_learnt_from(texts: Case) -> None:
    settings = Contrastive(n_stages=1, epochs=1, steps=3, interpolation=1.0)
    bits = texts.fit(settings).local.sha256
    texts.targets = np.where(texts.held_out, 1 - texts.targets, texts.targets)
    assert texts.fit(settings).local.sha256 == bits


def test_without_held_out_texts_all_are_trained_on_to_the_end(texts: Case) -> None:
    tuned = texts.fit(held_out=None)
    assert tuned.logits.shape == (N, 2)
    assert tuned.chosen == {}
    assert tuned.history.epochs[0].validation is None


def test_classes_with_one_text_and_with_none(texts: Case) -> None:
    texts.targets = np.where(np.arange(N) == 0, 2, texts.targets)
    width = texts.local.spec.layers[-1].width
    texts.start = LinearHead(np.zeros((4, width), np.float32), np.zeros(4, np.float32))
    tuned = texts.fit()
    assert np.isfinite(tuned.logits).all()
    assert not (tuned.logits.argmax(axis=1) == 3).any(), "a class without texts must not be predicted"


def test_a_deadline_in_the_past_costs_one_step(texts: Case) -> None:
    tuned = texts.fit(deadline=time.monotonic())
    assert tuned.history.ended == "stopped by the deadline in epoch 1"
    assert np.isfinite(tuned.logits).all()


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("n_stages", 0, "from 1 to 64"),
        ("loss", "triplets", "groups, pairs or ranks"),
        ("temperature", 0.0, "from 0.01 to 1"),
        ("batch_size", 1, "from 2 to 1024"),
        ("l2", float("nan"), "from 1e-05 to 1000"),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: Any, rule: str) -> None:
    with pytest.raises(OptionError, match=f"{setting}.*{rule}"):
        Contrastive(**{setting: value})


def test_every_field_is_a_setting_that_its_default_satisfies() -> None:
    settings = settings_of(Contrastive)
    assert len(settings) == len(fields(Contrastive)) == 13
    assert all(setting.allows(getattr(Contrastive(), name)) for name, setting in settings.items())


def test_all_held_out_is_refused(texts: Case) -> None:
    with pytest.raises(DataError, match="all are held out"):
        texts.fit(held_out=np.ones(N, dtype=np.bool_))


def test_images_are_refused(texts: Case) -> None:
    texts.local = resolve(str(save_timm(texts.folder / "images", "test_efficientnet")), texts.folder)
    with pytest.raises(OptionError, match=r"contrastive tuning is for texts.*sees images") as caught:
        texts.fit()
    assert caught.value.hint == "For images take finetune."


def test_it_is_registered_and_listing_it_loads_no_torch() -> None:
    assert MOVING["contrastive"] is Contrastive
    code = "import sys; from headstart.adaptation.strategies import MOVING; assert 'torch' not in sys.modules, MOVING"
    subprocess.run([sys.executable, "-c", code], check=True)
