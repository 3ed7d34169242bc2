"""Fine-tuning: another backbone with a head, that anything else can run."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart._fingerprint import sha256_bytes
from headstart.adaptation import tuning
from headstart.adaptation._held_out import halves
from headstart.adaptation.epochs import Epoch
from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.strategies.finetune import FineTune
from headstart.adaptation.strategies.settings import settings_of, settled
from headstart.adaptation.strategies.variants import Soup
from headstart.adaptation.tuning import Tuned, keep_tuned
from headstart.backbones.resolve import Local, resolve
from headstart.data.dataset import Items
from headstart.errors import BackboneError, DataError, OptionError, OutputError
from headstart.evaluation.calibration import calibrated_loss
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore

WORDS = ["small", "red", "old", "bird", "sleeps", "under", "over", "green", "trees", "and"]
QUICK = FineTune(n_stages=1, epochs=3, learning_rate=1e-3, batch_size=8, dropout=0.1, interpolation=1.0)
BUSY = replace(QUICK, n_stages=2, unfreeze_every=1, ema=0.5, l2_sp=0.01, bss=0.01, balance=0.5, patience=2)


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
        tuned = self.unkept(settings, **options)
        keep_tuned(tuned, self.folder / "kept")
        return tuned

    def unkept(self, settings: FineTune = QUICK, **options: Any) -> Tuned:
        asked = {"held_out": self.held_out, "folder": self.folder / "tuned", "scratch": self.folder / "scratch"}
        return settings.fit(self.local, self.items, self.targets, self.head, compute=Compute(), **(asked | options))

    def right(self, logits: np.ndarray) -> float:
        return float((logits.argmax(axis=1) == self.targets[self.held_out]).mean())


def moved_by(case: Case, tuned: Tuned) -> set[str]:
    """The weights that training has changed."""
    before, after = (load_file(each.folder / "model.safetensors") for each in (case.local, tuned.local))
    return {name for name in before if not torch.equal(before[name], after[name])}


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
    moved = moved_by(images, tuned)
    assert moved
    assert all(name.startswith(("blocks.4", "conv_head", "bn2")) for name in moved)
    assert not any("running" in name for name in moved), "statistics of BatchNorm must stay"


def test_it_learns_what_the_head_alone_cannot(texts: Case) -> None:
    linear = texts.right(texts.head.logits(texts.last(texts.local))[texts.held_out])
    tuned = texts.fit(
        FineTune(n_stages=2, epochs=30, learning_rate=1e-2, batch_size=8, dropout=0.0, label_smoothing=0.0)
    )
    assert texts.right(tuned.logits[texts.held_out]) >= max(0.85, linear + 0.1)


def test_nothing_moves_when_nothing_of_the_training_is_kept(images: Case) -> None:
    tuned = images.fit(FineTune(n_stages=1, epochs=1, interpolation=0.0))
    np.testing.assert_array_equal(tuned.head.weight, images.head.weight)
    np.testing.assert_allclose(images.last(tuned.local), images.last(images.local), rtol=1e-6)


def test_the_pull_towards_the_start_holds_weights_back(images: Case) -> None:
    def distance(tuned: Tuned) -> float:
        before, after = (load_file(each.folder / "model.safetensors") for each in (images.local, tuned.local))
        return sum(float((after[name] - before[name]).float().norm()) for name in before)

    # Both are written to the same folder, so distances are read one after the other.
    held, free = (distance(images.fit(FineTune(1, 3, 1e-3, l2_sp=pull, batch_size=8))) for pull in (10.0, 0.0))
    assert held < 0.7 * free


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("images", replace(BUSY, mixup=0.5, cutmix=1.0, co_tuning=1.0, class_weights="balanced")),
        ("texts", QUICK),
        ("texts", replace(BUSY, trains="adapters", interpolation=None)),
    ],
)
def test_the_same_seed_gives_the_same_bits_also_after_a_kill(
    kind: str, settings: FineTune, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(kind)
    whole = case.fit(settings, seed=3)
    bits = (whole.local.sha256, whole.head.weight.tobytes())

    def die(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Killed

    with pytest.raises(Killed):
        case.fit(settings, seed=3, on_epoch=die)
    seen: list[int] = []
    again = case.fit(settings, seed=3, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen == [epoch.number for epoch in whole.history.epochs[2:]]
    assert (again.local.sha256, again.head.weight.tobytes()) == bits
    assert again.chosen == whole.chosen
    assert case.fit(settings, seed=4).local.sha256 != bits[0]


@pytest.mark.parametrize(
    "settings", [replace(QUICK, interpolation=None, patience=2), Soup(1, 2, 1e-3, batch_size=8, n_runs=2)]
)
def test_a_kill_before_the_result_is_kept_costs_no_epoch(texts: Case, settings: FineTune) -> None:
    once = texts.unkept(settings)
    bits, weight = once.local.sha256, once.head.weight
    assert once.states
    assert sorted(once.states) == sorted((texts.folder / "scratch").glob("*.training"))
    seen: list[Epoch] = []
    again = texts.fit(settings, on_epoch=seen.append)
    assert seen == []
    assert again.local.sha256 == bits
    np.testing.assert_array_equal(again.head.weight, weight)
    np.testing.assert_array_equal(again.logits, once.logits)
    assert (again.history, again.chosen) == (once.history, once.chosen)
    assert list((texts.folder / "scratch").glob("*.training")) == []


def test_a_disk_that_is_full_at_the_end_costs_no_epoch(texts: Case) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limit on the size of files")
    whole = texts.fit()
    bits = (whole.local.sha256, whole.head.weight.tobytes())
    n_bytes = (whole.local.folder / "model.safetensors").stat().st_size
    state, limits = texts.folder / "scratch", resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(epoch: Epoch) -> None:
        if epoch.number == 3:  # its state is kept by now
            resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes // 2, limits[1]))

    try:
        with pytest.raises(OutputError, match="tuned backbone cannot be written to") as said:
            texts.fit(on_epoch=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(said.value.__cause__, SafetensorError), "it is the weights that must not fit"
    assert len(list(state.glob("*.training"))) == 1
    seen: list[int] = []
    again = texts.fit(on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen == []
    assert (again.local.sha256, again.head.weight.tobytes()) == bits


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
    assert len(settings) == len(fields(FineTune)) == 26
    assert all(setting.allows(getattr(FineTune(), name)) for name, setting in settings.items())


def test_all_held_out_is_refused(images: Case) -> None:
    with pytest.raises(DataError, match="all are held out"):
        images.fit(held_out=np.ones(60, dtype=np.bool_))


def test_more_stages_than_there_are_is_refused(images: Case) -> None:
    with pytest.raises(OptionError, match="must be from 1 to 5, but got 9"):
        images.fit(FineTune(n_stages=9))


def test_biases_are_all_that_moves_when_asked(images: Case, texts: Case) -> None:
    moved = moved_by(images, images.fit(replace(QUICK, trains="biases")))
    assert moved
    assert all("bn" in name or name.endswith(".bias") for name in moved)
    moved = moved_by(texts, texts.fit(replace(QUICK, trains="biases")))
    assert "encoder.layer.1.output.LayerNorm.weight" in moved
    assert all("LayerNorm" in name or name.endswith(".bias") for name in moved)


def test_one_stage_is_all_that_moves_when_asked(images: Case) -> None:
    moved = moved_by(images, images.fit(replace(QUICK, n_stages=2, trains="one")))
    assert moved
    assert all(name.startswith("blocks.3") for name in moved)


def test_a_stage_that_was_never_released_keeps_its_bits(texts: Case) -> None:
    few = moved_by(texts, texts.fit(replace(QUICK, n_stages=2, epochs=2, unfreeze_every=2)))
    assert few
    assert all(name.startswith("encoder.layer.1") for name in few)
    more = moved_by(texts, texts.fit(replace(QUICK, n_stages=2, epochs=3, unfreeze_every=2)))
    assert {name.split(".")[2] for name in more} == {"0", "1"}


def test_adapters_move_linear_layers_by_a_change_of_low_rank(texts: Case) -> None:
    tuned = texts.fit(replace(QUICK, trains="adapters", rank=2))
    moved = moved_by(texts, tuned)
    assert len(moved) == 6
    assert all(name.startswith("encoder.layer.1") and name.endswith(".weight") for name in moved)
    before, after = (load_file(each.folder / "model.safetensors") for each in (texts.local, tuned.local))
    assert before.keys() == after.keys(), "the result must be an ordinary backbone"
    assert all(torch.linalg.matrix_rank(after[each] - before[each], rtol=1e-3) <= 2 for each in moved)
    logits = tuned.head.logits(texts.last(tuned.local))
    assert np.linalg.norm(logits - tuned.logits) <= 0.02 * np.linalg.norm(logits)
    held = texts.fit(replace(QUICK, trains="adapters", rank=2, l2_sp=10.0)).local
    pulled = load_file(held.folder / "model.safetensors")
    assert sum(float((pulled[each] - before[each]).norm() - (after[each] - before[each]).norm()) for each in moved) < 0


def test_adapters_beside_convolutions_are_refused_with_what_fits(images: Case) -> None:
    with pytest.raises(BackboneError, match="need linear layers to stand beside") as refused:
        images.fit(replace(QUICK, trains="adapters"))
    assert "vision transformer" in refused.value.hint


def test_texts_are_not_mixed(texts: Case) -> None:
    with pytest.raises(OptionError, match="mix images, but these are texts"):
        texts.fit(replace(QUICK, mixup=0.2))


def test_co_tuning_needs_the_classifier_of_the_pretraining(texts: Case, images: Case) -> None:
    with pytest.raises(BackboneError, match="needs the classifier"):
        texts.fit(replace(QUICK, co_tuning=1.0))
    tuned = images.fit(replace(QUICK, co_tuning=1.0))
    assert tuned.head.weight.shape == images.head.weight.shape
    # The second loss is a cross-entropy over many classes, so the sum is greater than the first alone.
    assert tuned.history.epochs[0].train.loss > images.fit().history.epochs[0].train.loss + 0.5


def test_held_out_items_choose_how_far_to_go(texts: Case) -> None:
    asked = replace(QUICK, n_stages=2, learning_rate=1e-2, batch_size=32, interpolation=None)
    tuned = texts.fit(asked)
    losses = {}
    for share in (0.25, 0.5, 0.75, 1.0):
        logits = texts.fit(replace(asked, interpolation=share)).logits[texts.held_out]
        losses[share] = calibrated_loss(logits, texts.targets[texts.held_out])
    best = min(losses, key=lambda share: losses[share])
    assert tuned.chosen == {"interpolation": best}
    assert len(set(losses.values())) == 4
    assert settled(asked, tuned.chosen) == replace(asked, interpolation=best)
    assert texts.fit(asked, held_out=None).chosen == {}


def test_a_training_that_stopped_early_says_for_how_long_to_train(texts: Case) -> None:
    texts.targets = np.where(texts.held_out, 1 - texts.targets, texts.targets)  # what is learnt is wrong there
    asked = replace(QUICK, n_stages=2, epochs=30, learning_rate=1e-2, patience=2)
    tuned = texts.fit(asked)
    assert len(tuned.history.epochs) < 30
    kept = max(1, tuned.history.kept)
    assert tuned.chosen == {"epochs": 30, "stop_after": kept}
    # What is made of all items is an epoch of the same schedule, not a whole schedule of so many epochs.
    made = texts.fit(settled(asked, tuned.chosen), held_out=None).history
    assert made.ended == f"ended after {kept} of 30 epochs, as was asked for"
    assert [each.lr for each in made.epochs] == pytest.approx(
        [each.lr for each in tuned.history.epochs[:kept]], rel=0.1
    )


def test_balance_takes_shares_out_of_the_answers(images: Case) -> None:
    rare = np.flatnonzero(images.targets == 1)[3:]
    images.held_out[rare] = True
    shares = np.bincount(images.targets[~images.held_out]) / np.count_nonzero(~images.held_out)
    still = replace(QUICK, epochs=1, learning_rate=1e-6, dropout=0.0)
    plain, shifted = (images.fit(replace(still, balance=balance)) for balance in (0.0, 0.5))
    np.testing.assert_allclose(shifted.logits - plain.logits, np.tile(-0.5 * np.log(shares), (60, 1)), atol=1e-3)
    # The loss sees what it saw before, of training items and of those that are held out.
    for kind in ("train", "validation"):
        before, after = (getattr(each.history.epochs[0], kind).loss for each in (plain, shifted))
        assert after == pytest.approx(before, rel=1e-3)


def test_each_class_counts_the_same_when_asked(images: Case) -> None:
    images.held_out[np.flatnonzero(images.targets == 1)[3:]] = True
    seen = ~images.held_out
    targets, logits = images.targets[seen], torch.from_numpy(images.head.logits(images.last(images.local)[seen]))
    still = replace(QUICK, epochs=1, learning_rate=1e-6, dropout=0.0, label_smoothing=0.0, n_views=1, batch_size=64)
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets), reduction="none").numpy()
    each = [losses[targets == target].mean() for target in (0, 1)]
    for weights, expected in (("equal", losses.mean()), ("balanced", np.mean(each))):
        found = images.fit(replace(still, class_weights=weights)).history.epochs[0].train.loss
        assert found == pytest.approx(expected, rel=0.02)  # activations are kept in bfloat16
    assert np.mean(each) != pytest.approx(losses.mean(), rel=0.1)


STILL = replace(QUICK, epochs=1, learning_rate=1e-6, dropout=0.0, label_smoothing=0.0, n_views=1, batch_size=64)
"""One step at the start with all items in it: the loss of its epoch is that of the head which training began with."""


def _log_shares_at_start(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Of the items that are not held out: the log of each class's probability, and their classes."""
    logits = torch.from_numpy(case.head.logits(case.last(case.local)[~case.held_out]))
    return logits.log_softmax(dim=1).numpy(), case.targets[~case.held_out]


def test_label_smoothing_takes_a_part_of_the_target_to_all_classes(images: Case) -> None:
    images.head = LinearHead(5 * images.head.weight, 5 * images.head.bias)  # sure of itself
    logs, targets = _log_shares_at_start(images)
    right, mean = logs[np.arange(len(targets)), targets].mean(), logs.mean()
    for share in (0.0, 0.3):
        found = images.fit(replace(STILL, label_smoothing=share)).history.epochs[0].train.loss
        assert found == pytest.approx(-(1 - share) * right - share * mean, rel=0.02)  # activations are in bfloat16
    assert abs(mean / right - 1) > 1, "the two must be told apart"


def test_dropout_hides_parts_of_the_last_layer_in_training_alone(images: Case) -> None:
    last, targets = images.last(images.local)[~images.held_out], images.targets[~images.held_out]
    random, losses = np.random.default_rng(0), []
    for _ in range(400):
        seen = np.where(random.random(last.shape) < 0.5, 0, last / 0.5).astype(np.float32)
        logits, wanted = torch.from_numpy(images.head.logits(seen)), torch.from_numpy(targets)
        losses.append(float(torch.nn.functional.cross_entropy(logits, wanted)))
    mean, spread = np.mean(losses), np.std(losses)
    whole, part = (images.fit(replace(STILL, dropout=dropout)).history.epochs[0] for dropout in (0.0, 0.5))
    # Without dropout it must not look like that.
    assert abs(part.train.loss - mean) < 3 * spread < abs(whole.train.loss - mean)
    assert part.validation is not None
    assert whole.validation is not None
    assert part.validation.loss == pytest.approx(whole.validation.loss, rel=1e-3)


@pytest.mark.parametrize("class_weights", ["equal", "balanced"])
@pytest.mark.parametrize("n_seen", [0, 1])
def test_a_class_with_one_training_item_or_none_is_trained_like_the_others(
    images: Case, n_seen: int, class_weights: Any
) -> None:
    images.held_out[np.flatnonzero(images.targets == 1)[n_seen:]] = True
    logs, targets = _log_shares_at_start(images)
    shares = np.bincount(targets, minlength=2) / len(targets)
    # The loss sees what the head says: what balance adds to logits was taken out of them before.
    losses = -logs[np.arange(len(targets)), targets]
    means = [losses[targets == target].mean() for target in np.unique(targets)]
    asked = replace(STILL, balance=1.0, class_weights=class_weights, interpolation=None)
    tuned = images.fit(asked)
    expected = losses.mean() if class_weights == "equal" else np.mean(means)
    assert tuned.history.epochs[0].train.loss == pytest.approx(expected, rel=0.02)
    assert np.isfinite(tuned.logits).all()
    # A class without items has no share that could be taken out of its answers.
    added = np.log(np.where(shares > 0, shares, 1.0))
    np.testing.assert_allclose(tuned.head.bias, images.head.bias - added, atol=1e-4)
    assert "interpolation" in tuned.chosen


def test_one_held_out_item_of_a_class_is_enough_to_be_judged(images: Case) -> None:
    images.held_out[:] = np.arange(60) >= 40
    only = np.flatnonzero(images.held_out & (images.targets == 1))
    images.held_out[only[1:]] = False
    tuned = images.fit(replace(QUICK, interpolation=None))
    assert tuned.chosen["interpolation"] in (0.25, 0.5, 0.75, 1.0)
    assert np.isfinite(tuned.logits).all()
    assert all(np.isfinite(epoch.validation.loss) for epoch in tuned.history.epochs if epoch.validation)


def test_the_last_soup_is_made_of_the_trainings_that_held_out_items_chose(images: Case) -> None:
    soup = Soup(n_stages=1, epochs=2, batch_size=8, n_runs=3)
    judged = images.fit(soup)
    members = judged.chosen["members"]
    assert isinstance(members, int)
    n_used = members.bit_count()
    assert judged.history.ended.startswith(f"averaged {n_used} of 3 trainings")
    whole = images.fit(settled(soup, judged.chosen), held_out=None)
    assert whole.history.ended.startswith(f"averaged {n_used} of {n_used} trainings")
    assert len(whole.history.epochs) == 2 * n_used
    with pytest.raises(OptionError, match="members=16 names none of the 3 trainings"):
        images.fit(replace(soup, members=16))


def test_held_out_items_choose_how_far_to_go_for_the_other_half_of_them(texts: Case) -> None:
    asked = replace(QUICK, n_stages=2, learning_rate=1e-2, batch_size=32, interpolation=None)
    given = {share: texts.fit(replace(asked, interpolation=share)).logits for share in (1.0, 0.75, 0.5, 0.25)}
    judged = texts.fit(asked)
    for some, others in halves(texts.targets[texts.held_out], 0):
        seen, rest = (np.flatnonzero(texts.held_out)[rows] for rows in (some, others))
        best = min(given, key=lambda share: calibrated_loss(given[share][seen], texts.targets[seen]))
        np.testing.assert_allclose(judged.logits[rest], given[best][rest], rtol=1e-4, atol=1e-5)
    # What is written, and what other items are given, is what all held-out items chose.
    written = texts.fit(settled(asked, judged.chosen))
    assert written.local.sha256 == judged.local.sha256
    np.testing.assert_array_equal(written.logits[~texts.held_out], judged.logits[~texts.held_out])


def test_held_out_items_choose_what_is_averaged_for_the_other_half_of_them(texts: Case) -> None:
    asked = Soup(n_stages=2, epochs=2, learning_rate=5e-3, batch_size=32, n_runs=2)
    given = {members: texts.fit(replace(asked, members=members)).logits for members in (1, 2, 3)}
    judged = texts.fit(asked)
    for some, others in halves(texts.targets[texts.held_out], 0):
        seen, rest = (np.flatnonzero(texts.held_out)[rows] for rows in (some, others))
        losses = {members: calibrated_loss(each[seen], texts.targets[seen]) for members, each in given.items()}
        best = min(losses, key=lambda members: (losses[members], members != 3))
        np.testing.assert_allclose(judged.logits[rest], given[best][rest], rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_item_has_no_spread_to_shrink(images: Case) -> None:
    images.held_out[:] = np.arange(60) > 0
    still = replace(QUICK, epochs=1, learning_rate=1e-6, dropout=0.0)
    one = [images.fit(replace(still, bss=bss)).history.epochs[0].train.loss for bss in (0.0, 10.0)]
    assert one[0] == one[1]
    images.held_out[:] = np.arange(60) > 1
    two = [images.fit(replace(still, bss=bss)).history.epochs[0].train.loss for bss in (0.0, 10.0)]
    assert two[1] > two[0]


@pytest.mark.parametrize("where", ["keep_boundary", "cut", "features"])
def test_too_little_memory_is_said_plainly_wherever_it_ends(
    images: Case, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(tuning.Body if where == "features" else tuning, where, fail)
    with pytest.raises(BackboneError, match="memory is too small for this backbone and its activations"):
        images.fit()


def test_the_start_is_measured_in_as_many_pieces_as_the_memory_has_room_for(
    images: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tuning.Body.run

    def tight(body: Any, activations: torch.Tensor, lengths: Any) -> torch.Tensor:
        if body.parts.network.training and len(activations) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return run(body, activations, lengths)

    monkeypatch.setattr(tuning.Body, "run", tight)
    assert {epoch.pieces for epoch in images.fit().history.epochs} == {4}


def test_batches_in_pieces_make_the_same_steps(images: Case) -> None:
    whole, pieces = (
        images.fit(replace(QUICK, dropout=0.0, accumulate=pieces), folder=images.folder / f"in {pieces}")
        for pieces in (1, 4)
    )
    assert {epoch.pieces for epoch in pieces.history.epochs} == {4}
    np.testing.assert_allclose(pieces.logits, whole.logits, rtol=1e-3, atol=1e-3)


def test_a_training_is_not_taken_up_in_another_precision(texts: Case) -> None:
    def die(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Killed

    with pytest.raises(Killed):
        texts.fit(on_epoch=die)
    seen: list[int] = []
    compute = Compute(precision="bfloat16")
    asked: dict[str, Any] = {"folder": texts.folder / "tuned", "scratch": texts.folder / "scratch"}
    asked |= {"held_out": texts.held_out, "on_epoch": lambda epoch: seen.append(epoch.number)}
    QUICK.fit(texts.local, texts.items, texts.targets, texts.head, compute=compute, **asked)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    ("n_items", "epochs"), [(1, 30), (80, 30), (160, 20), (600, 6), (2000, 6), (3000, 5), (6920, 2), (10**6, 2)]
)
def test_few_items_are_seen_more_often_and_many_less(n_items: int, epochs: int) -> None:
    assert FineTune().n_epochs(n_items) == epochs
    assert Soup(n_runs=4).n_epochs(n_items) == 4 * epochs
    assert Soup(n_runs=4, members=5).n_epochs(n_items) == 2 * epochs
    assert FineTune(epochs=9).n_epochs(n_items) == 9
    assert FineTune(epochs=9, stop_after=4).n_epochs(n_items) == 4
    assert FineTune(epochs=9, stop_after=4).planned_epochs(n_items) == 9
    assert FineTune(epochs=9, stop_after=40).n_epochs(n_items) == 9
