"""The contract of a strategy that moves weights, as checks that run over any implementation.

    @pytest.mark.parametrize("check", MOVING_CHECKS, ids=lambda check: check.__name__)
    def test_my_strategy(check):
        check(MyStrategy)

Each check makes strategies with `MyStrategy(**settings)`, trains them on tiny networks with random weights, and fails
with an AssertionError that says which promise was broken.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from safetensors.numpy import load_file

from headstart._fingerprint import sha256_bytes, sha256_file
from headstart._randomness import generator
from headstart.adaptation.epochs import Epoch, GiveUp, OnHeldOut
from headstart.adaptation.gate import unit_blocks
from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.strategies import MovingStrategy, settings_of, settled
from headstart.adaptation.tuning import Tuned, keep_tuned
from headstart.backbones.resolve import WEIGHTS, Local, open_local, resolve
from headstart.data.dataset import Items, Modality
from headstart.errors import OptionError
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore

__all__ = ["MOVING_CHECKS", "Example", "MakeAnyMoving", "check_moving", "example"]

MakeAnyMoving = Callable[..., MovingStrategy]
"""The class of a strategy that moves weights."""

_WORDS = (("small", "red", "old", "bird"), ("sleeps", "under", "green", "trees"))
_EPOCHS, _MORE_EPOCHS = 3, 12
_SIDE_PX = 32
_ROUNDED = 0.02  # relative: training sees activations in bfloat16
_LAYERS = 4


class _Killed(BaseException):
    """As if the process ended here."""


@dataclass(frozen=True, eq=False)
class Example:
    """Items of two classes for a tiny network; every third one is held out.

    Attributes:
        local: The network.
        items: With content keys.
        targets: The class of each; the first has twice as many items.
        start: A head on the layer `last`, fitted on the items that are not held out.
        held_out: Which are.
    """

    local: Local
    items: Items
    targets: Int[np.ndarray, " items"]
    start: LinearHead
    held_out: Bool[np.ndarray, " items"]

    def logits(self, tuned: Tuned) -> Float[np.ndarray, "items classes"]:
        """Those of the network as it was written, opened again."""
        return tuned.head.logits(_last(open_local(tuned.local.folder), self.items))


@functools.cache
def example(modality: Modality) -> Example:
    """Texts whose classes have words of their own, or pictures with stripes of two widths.

    Args:
        modality: Of the items and of the network: a BERT or a vision transformer with random weights.
    """
    random, targets = generator(0, "moving"), np.array([0, 0, 1] * 15)
    if modality == "text":
        values: tuple[Any, ...] = tuple(" ".join(random.choice(_WORDS[target], size=6)) for target in targets)
        local = resolve(str(_saved_bert(_folder())), _folder())
    else:
        values = tuple(_stripes(random, 2 + 3 * int(target)) for target in targets)
        local = resolve(str(_saved_vit(_folder())), _folder())
    keys = tuple(sha256_bytes(each.encode() if isinstance(each, str) else each.tobytes()) for each in values)
    items = Items(modality, values, tuple(f"item {row}" for row in range(len(values))), keys)
    held_out, last = np.arange(len(targets)) // 3 % 3 == 0, _last(local, items)
    scaling = Scaling.fit(last[~held_out])
    head = logistic.fit(scaling.apply(last[~held_out]), targets[~held_out], l2=1.0, n_classes=2)
    return Example(local, items, targets, scaling.fold_into(head), held_out)


def check_moving(make: MakeAnyMoving) -> int:
    """Run all checks.

    Args:
        make: The class.

    Returns:
        How many checks ran.

    Raises:
        AssertionError: If the strategy breaks a promise.
    """
    for check in MOVING_CHECKS:
        check(make)
    return len(MOVING_CHECKS)


def check_it_is_a_frozen_dataclass_of_settings(make: MakeAnyMoving) -> None:
    """Its fields are settings with a rule, and left out they are within it."""
    strategy = make()
    kind = getattr(strategy, "__dataclass_params__", None)
    assert kind is not None, "a strategy must be a dataclass"
    assert kind.frozen, "a strategy must be frozen"
    assert {each.name for each in fields(cast("Any", strategy))} == set(settings_of(strategy)), (
        "each field must be a setting"
    )
    for name, setting in settings_of(strategy).items():
        assert setting.allows(getattr(strategy, name)), f"{name} must be within its rule when it is left out"
    assert strategy.modalities, "a strategy must say what it is for"
    assert set(strategy.modalities) <= {"image", "text"}, "a strategy must be for images, texts or both"


def check_settings_are_refused_outside_their_rule(make: MakeAnyMoving) -> None:
    """One sentence names the setting and says what the rule is."""
    for name, setting in settings_of(make).items():
        outside: list[Any] = ["no such word"] if setting.kind == "word" else [setting.low - 1, setting.high + 1]
        for value in outside:
            message = _refusal(make, {name: value})
            assert message, f"{name}={value!r} must be refused, because it must be {setting.rule}"
            assert name in message, f"the message must name {name}, but is: {message}"
            assert setting.rule in message, f"the message must say the rule of {name}, but is: {message}"


def check_it_beats_the_majority(make: MakeAnyMoving) -> None:
    """On items that it has not seen, with classes that are easy to tell apart, from a head that knows only shares."""
    for modality in make().modalities:
        given = _without_a_head(example(cast("Modality", modality)))
        out = given.held_out
        most = np.bincount(given.targets[out]).max() / np.count_nonzero(out)
        with _scratch() as folder:
            tuned = _fit(_quick(make, epochs=_MORE_EPOCHS, learning_rate=1e-2), given, folder)
        right = (tuned.logits.argmax(axis=1) == given.targets)[out].mean()
        assert right > most + 0.1, f"accuracy on {modality}s must be clearly above {most:.2f}, but is {right:.2f}"


def check_what_is_written_gives_the_same_logits(make: MakeAnyMoving) -> None:
    """Opened again and run by what knows nothing of training, up to the precision of what training saw."""
    for modality in make().modalities:
        given, tuned = example(cast("Modality", modality)), _trained(make, modality)[0]
        assert [layer.name for layer in tuned.local.spec.layers] == ["last"], "it must have the layer `last` alone"
        assert tuned.local.spec.source.revision == given.local.spec.source.sha256, "it must say what it came from"
        assert tuned.logits.shape == (len(given.items), 2), "there must be a logit for each item and class"
        # Where held-out items choose, those of each half are judged by what the other half chose.
        alike = ~given.held_out if tuned.chosen else np.ones_like(given.held_out)
        written, told = given.logits(tuned)[alike], tuned.logits[alike]
        differs = np.linalg.norm(written - told) / np.linalg.norm(told)
        assert differs < _ROUNDED, f"what was written must give the same logits, but they differ by {differs:.2g}"
        last = unit_blocks([_last(open_local(tuned.local.folder), given.items)])
        assert tuned.directions is not None, "the directions of the items must be there"
        cosines = np.einsum("iw,iw->i", last, tuned.directions, dtype=np.float64)
        assert cosines.min() > 1 - _ROUNDED, (
            f"directions must be those of what was written, but one is {min(cosines):.4f}"
        )


def check_weights_have_moved(make: MakeAnyMoving) -> None:
    """A strategy that leaves them as they are belongs to those on features."""
    moved = _moved(_example_of(make).local, _trained(make)[0].local)
    assert moved, "weights must move"


def check_frozen_stages_keep_their_bits(make: MakeAnyMoving) -> None:
    """With one stage above the cut all below it stay as they were."""
    if "n_stages" not in settings_of(make):
        return
    with _scratch() as folder:
        given = _example_of(make)
        tuned = _fit(_quick(make, n_stages=1), given, folder)
        moved = _moved(given.local, tuned.local)
        below = ("embed", *(f".{layer}." for layer in range(_LAYERS - 1)))
        wrong = sorted(name for name in moved if any(part in name for part in below))
        assert not wrong, f"stages below the cut must stay as they were, but {', '.join(wrong)} moved"


def check_the_same_seed_gives_the_same_bits(make: MakeAnyMoving) -> None:
    """Of the network and of the head, on the CPU."""
    with _scratch() as folder:
        again = _fit(_quick(make), _example_of(make), folder)
        assert _bits(again) == _bits(_trained(make)[0]), "the same seed must give the same weights"


def check_a_killed_training_goes_on(make: MakeAnyMoving) -> None:
    """Where its last epoch ended, to the same bits; once it is kept nothing of it is left in the scratch folder."""

    def die(epoch: Epoch) -> None:
        if epoch.number == _EPOCHS - 1:
            raise _Killed

    expected, told = _trained(make)
    with _scratch() as folder:
        try:
            _fit(_quick(make), _example_of(make), folder, on_epoch=die)
        except _Killed:
            pass
        else:
            raise AssertionError("each epoch must be told of")
        seen: list[Epoch] = []
        again = _fit(_quick(make), _example_of(make), folder, on_epoch=seen.append)
        numbers = [epoch.number for epoch in told if epoch.number >= _EPOCHS]
        assert [epoch.number for epoch in seen] == numbers, "it must go on where the last epoch ended"
        assert _bits(again) == _bits(expected), "a kill must not change the weights"
        assert again.chosen == expected.chosen, "a kill must not change what is chosen"
        keep_tuned(again, folder / "kept")
        left = [file.name for file in (folder / "scratch").rglob("*.training")]
        assert not left, f"no state may be left in the scratch folder, but {', '.join(left)} is"


def check_a_kill_before_it_is_kept_costs_no_epoch(make: MakeAnyMoving) -> None:
    """What was trained to its end, and not kept by then, is there again without training, to the same bits."""
    with _scratch() as folder:
        once = _bits(_fit(_quick(make), _example_of(make), folder))
        seen: list[Epoch] = []
        again = _fit(_quick(make), _example_of(make), folder, on_epoch=seen.append)
        assert not seen, f"no epoch may be trained again, but {len(seen)} were"
        assert _bits(again) == once, "a kill must not change the weights"
        assert again.history.epochs, "the epochs must still be told"


def check_what_is_given_up_leaves_nothing(make: MakeAnyMoving) -> None:
    """Who is told of epochs and of what held-out items lose may end the training; only what others share stays."""
    lost: list[Float[np.ndarray, " some"]] = []

    def give_up(epoch: Epoch) -> None:
        if epoch.number == _EPOCHS - 1:
            raise GiveUp

    given = _example_of(make)
    with _scratch() as folder:
        try:
            _fit(_quick(make), given, folder, on_epoch=give_up, on_held_out=lost.append)
        except GiveUp:
            pass
        else:
            raise AssertionError("what is given up must end there, and whoever gave it up must see that")
        assert len(lost) == _EPOCHS - 1, "after each epoch held-out items must be told of"
        n_most, sizes = int(given.held_out.sum()), {len(each) for each in lost}
        assert len(sizes) == 1, "after each epoch the same items must be told of"
        assert max(sizes) <= n_most, f"{n_most} items are held out, but {max(sizes)} were told of"
        assert all(np.isfinite(each).all() for each in lost), "what items lose must be finite"
        left = [file.name for file in folder.rglob("*") if file.suffix == ".training" or file.name == "tuned"]
        assert not left, f"nothing of it may be left, but {', '.join(left)} is"


def check_the_deadline_is_kept(make: MakeAnyMoving) -> None:
    """One that is over already ends the training in its first epoch, with a result that can be used."""
    with _scratch() as folder:
        given = _example_of(make)
        tuned = _fit(_quick(make), given, folder, deadline=time.monotonic())
        assert len(tuned.history.epochs) <= 1, "no epoch may begin after the deadline"
        assert "deadline" in tuned.history.ended, f"the deadline must be named, but it says: {tuned.history.ended}"
        assert np.isfinite(tuned.logits).all(), "logits must be finite"
        assert np.isfinite(given.logits(tuned)).all(), "what was written must be usable"


def check_there_is_one_record_an_epoch(make: MakeAnyMoving) -> None:
    """Told of as it ends and kept in the history, with what held-out items say."""
    tuned, told = _trained(make)
    assert tuned.history.epochs == told, "what is told must be what is kept"
    numbers = [epoch.number for epoch in told]
    assert numbers == list(range(1, len(told) + 1)), f"epochs must be counted from 1, but are {numbers}"
    assert all(epoch.validation is not None for epoch in told), "held-out items must be measured in each epoch"
    assert all(np.isfinite(epoch.train.loss) for epoch in told), "the training loss must be finite"
    assert tuned.history.ended, "it must say why it ended"


def check_what_was_chosen_needs_no_held_out_items(make: MakeAnyMoving) -> None:
    """What held-out items choose are settings, and a training on all items chooses nothing more."""
    free = {"interpolation": None} if "interpolation" in settings_of(make) else {}
    with _scratch() as folder:
        chosen = _fit(_quick(make, **free), _example_of(make), folder).chosen
    assert chosen.keys() >= free.keys(), f"held-out items must choose {', '.join(free)}, which is left to them"
    strategy = settled(_quick(make, **free), chosen)
    for name, value in chosen.items():
        assert getattr(strategy, name) == value, f"{name} must be a setting"
    with _scratch() as folder:
        tuned = _fit(strategy, _example_of(make), folder, holds_out=False)
        assert not tuned.chosen, "without held-out items nothing can be chosen"
        assert all(epoch.validation is None for epoch in tuned.history.epochs), "nothing is there to be measured"


def check_what_is_given_is_not_written_to(make: MakeAnyMoving) -> None:
    """Neither arrays, nor the files of the backbone."""
    given = _example_of(make)
    arrays = (given.targets, given.start.weight, given.start.bias, given.held_out)
    before = [each.copy() for each in arrays]
    files = {file.name: sha256_file(file) for file in sorted(given.local.folder.iterdir())}
    with _scratch() as folder:
        _fit(_quick(make), given, folder)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True)), "arrays must stay as they were"
    after = {file.name: sha256_file(file) for file in sorted(given.local.folder.iterdir())}
    assert after == files, "the files of the backbone must stay as they were"


def _refusal(make: MakeAnyMoving, settings: dict[str, Any]) -> str:
    """With which sentence settings are refused; empty if they are taken."""
    try:
        make(**settings)
    except OptionError as error:
        return str(error)
    return ""


def _quick(make: MakeAnyMoving, **settings: Any) -> MovingStrategy:
    """With settings that end soon, those of them that it has."""
    quick = {"epochs": _EPOCHS, "batch_size": 16, "learning_rate": 1e-3, "steps": 3, **settings}
    return make(**{name: value for name, value in quick.items() if name in settings_of(make)})


def _without_a_head(given: Example) -> Example:
    """With a start that says the larger class whatever it sees, so that all that is right has been learnt."""
    shares = np.bincount(given.targets[~given.held_out]) / np.count_nonzero(~given.held_out)
    bias = np.log(shares).astype(given.start.bias.dtype)
    return replace(given, start=LinearHead(np.zeros_like(given.start.weight), bias))


def _example_of(make: MakeAnyMoving) -> Example:
    """Texts where it can be used for them: they are faster."""
    return example("text" if "text" in make().modalities else "image")


def _fit(
    strategy: MovingStrategy,
    given: Example,
    folder: Path,
    *,
    holds_out: bool = True,
    deadline: float | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_held_out: OnHeldOut | None = None,
) -> Tuned:
    return strategy.fit(
        *(given.local, given.items, given.targets, given.start),
        held_out=given.held_out if holds_out else None,
        folder=folder / "tuned",
        scratch=folder / "scratch",
        compute=Compute(),
        seed=1,
        deadline=deadline,
        on_epoch=on_epoch,
        on_held_out=on_held_out,
    )


@functools.cache
def _trained(make: MakeAnyMoving, modality: str = "") -> tuple[Tuned, tuple[Epoch, ...]]:
    """One training for all checks that only look at it, and the epochs that it told of."""
    told: list[Epoch] = []
    given = example(cast("Modality", modality)) if modality else _example_of(make)
    return _fit(_quick(make), given, _folder(), on_epoch=told.append), tuple(told)


def _last(local: Local, items: Items) -> np.ndarray:
    found = extract(items, [local], store=MemoryStore(), compute=Compute())
    return found.features[0].layer("last")


def _bits(tuned: Tuned) -> tuple[str, bytes, bytes]:
    weights = sha256_file(tuned.local.folder / WEIGHTS)
    return weights, tuned.head.weight.tobytes(), tuned.head.bias.tobytes()


def _moved(before: Local, after: Local) -> set[str]:
    """The weights that differ."""
    old, new = load_file(before.folder / WEIGHTS), load_file(after.folder / WEIGHTS)
    assert old.keys() == new.keys(), "the same weights must be there"
    return {name for name in old if not np.array_equal(old[name], new[name])}


def _folder() -> Path:
    """A folder that is there until the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="headstart-testing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _stripes(random: np.random.Generator, width: int) -> np.ndarray:
    pixels = random.integers(0, 100, size=(_SIDE_PX, _SIDE_PX, 3)).astype(np.uint8)
    pixels[::width] += 120
    return pixels


def _saved_bert(folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *_WORDS[0], *_WORDS[1]]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, words[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=_LAYERS,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
            initializer_range=0.3,
        )
        BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _saved_vit(folder: Path) -> Path:
    import timm
    import torch
    from timm.models import save_for_hf

    size: dict[str, Any] = {"img_size": _SIDE_PX, "depth": _LAYERS, "embed_dim": 32, "num_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("test_vit", pretrained=False, **size)
    save_for_hf(network, str(folder), model_args=size, safe_serialization=True)
    return folder


MOVING_CHECKS: tuple[Callable[[MakeAnyMoving], None], ...] = (
    check_it_is_a_frozen_dataclass_of_settings,
    check_settings_are_refused_outside_their_rule,
    check_it_beats_the_majority,
    check_what_is_written_gives_the_same_logits,
    check_weights_have_moved,
    check_frozen_stages_keep_their_bits,
    check_the_same_seed_gives_the_same_bits,
    check_a_killed_training_goes_on,
    check_a_kill_before_it_is_kept_costs_no_epoch,
    check_what_is_given_up_leaves_nothing,
    check_the_deadline_is_kept,
    check_there_is_one_record_an_epoch,
    check_what_was_chosen_needs_no_held_out_items,
    check_what_is_given_is_not_written_to,
)
"""All checks, in the order in which they are worth reading."""
