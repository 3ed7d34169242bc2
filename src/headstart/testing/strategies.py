"""The contract of a strategy on features, as checks that run over any implementation.

    @pytest.mark.parametrize("check", STRATEGY_CHECKS, ids=lambda check: check.__name__)
    def test_my_strategy(check):
        check(MyStrategy)

Each check makes strategies with `MyStrategy(parts, **settings)`, and fails with an AssertionError that says which
promise was broken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float64, Int

from headstart._randomness import generator
from headstart.adaptation.heads.forms import arrays_of
from headstart.adaptation.predictor import Ensemble, Part, Predictor
from headstart.adaptation.strategies import FoldByFold, OutOfFold, Strategy, settings_of
from headstart.adaptation.strategies.contract import MOST_VIEWS
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import open_local, write_local
from headstart.backbones.spec import BackboneSpec, Layer
from headstart.bundles import Manifest, open_bundle, write_bundle
from headstart.errors import OptionError
from headstart.evaluation.calibration import fit_temperature, softmax
from headstart.features.extract import Features

__all__ = ["STRATEGY_CHECKS", "Example", "MakeAny", "check_strategy", "example"]

MakeAny = Callable[..., Strategy]
"""The class of a strategy."""

_SAVED = 1e-5  # arrays are kept in float32
_ROUNDING = 1e-3  # sums in another order; those who search for a minimum stop elsewhere in its neighbourhood
_SPEC: BackboneSpec = replace(PIXELS, layers=(Layer("early", 6), Layer("last", 10)))
_PARTS = (Part(PIXELS.name, "early"), Part(PIXELS.name, "last"))


@dataclass(frozen=True, eq=False)
class Example:
    """Labelled features without a network: each class is a cloud of points.

    Attributes:
        features: By the name of the backbone.
        targets: The class of each item.
        folds: The fold of each.
        n_classes: The number of classes.
    """

    features: dict[str, Features]
    targets: Int[np.ndarray, " items"]
    folds: Int[np.ndarray, " items"]
    n_classes: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(f"class {number}" for number in range(self.n_classes))

    def take(self, rows: np.ndarray) -> Example:
        """These items, in this order."""
        features = {name: each.take(rows) for name, each in self.features.items()}
        return Example(features, self.targets[rows], self.folds[rows], self.n_classes)


def example(counts: tuple[int, ...] = (40, 30, 20), *, apart: float = 3.0, seed: int = 0) -> Example:
    """So many items of each class in five folds, in two layers of columns with very different scales.

    Each item comes in as many views as a strategy may ask for: its own row, a little changed.

    Args:
        counts: The number of items of each class.
        apart: How far class centres are from the origin, in standard deviations of the items of a class.
        seed: Which.
    """
    random = generator(seed, "example")
    targets = np.repeat(np.arange(len(counts)), counts)
    centres = random.normal(size=(len(counts), _SPEC.width))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    values = (centres[targets] + random.normal(size=(len(targets), _SPEC.width))) * np.geomspace(0.1, 10, _SPEC.width)
    # Each class over all folds; a class of one item is in one of them.
    folds = np.concatenate([np.arange(count) % 5 for count in counts])
    changes = generator(seed, "example views").normal(size=(MOST_VIEWS - 1, *values.shape)) * np.geomspace(
        0.03, 3, _SPEC.width
    )
    views = tuple(_seen(values + change) for change in changes)
    features = replace(_seen(values), views=views)
    whole = Example({_SPEC.name: features}, targets, folds, len(counts))
    return whole.take(random.permutation(len(targets)))


def _seen(values: np.ndarray) -> Features:
    return Features(_SPEC, values.astype(np.float32), np.ones(len(values), dtype=np.bool_))


def check_strategy(make: MakeAny) -> int:
    """Run all checks.

    Args:
        make: The class.

    Returns:
        How many checks ran.

    Raises:
        AssertionError: If the strategy breaks a promise.
    """
    for check in STRATEGY_CHECKS:
        check(make)
    return len(STRATEGY_CHECKS)


def check_it_is_a_frozen_dataclass_of_settings(make: MakeAny) -> None:
    """Its fields are what it sees and settings with a rule, and left out they are within it."""
    strategy = make(_PARTS)
    kind = getattr(strategy, "__dataclass_params__", None)
    assert kind is not None, "a strategy must be a dataclass"
    assert kind.frozen, "a strategy must be frozen"
    assert strategy.parts == _PARTS, "a strategy must keep what it sees"
    names = {each.name for each in fields(cast("Any", strategy))}
    assert names == {"parts", *settings_of(strategy)}, "each field must be what it sees or a setting"
    for name, setting in settings_of(strategy).items():
        assert setting.allows(getattr(strategy, name)), f"{name} must be within its rule when it is left out"


def check_it_says_what_it_needs(make: MakeAny) -> None:
    """Images, texts or both, and how many views; more views than that play no part."""
    strategy, given = make(_PARTS), example()
    assert set(strategy.modalities) in ({"image"}, {"text"}, {"image", "text"}), (
        "modalities must be image, text or both"
    )
    assert 1 <= strategy.n_views <= MOST_VIEWS, f"n_views must be from 1 to {MOST_VIEWS}, but is {strategy.n_views}"
    features = given.features[_SPEC.name]
    fewer = {_SPEC.name: replace(features, views=features.views[: strategy.n_views - 1])}
    same = np.array_equal(_probabilities(make, given), _probabilities(make, replace(given, features=fewer)))
    assert same, f"a strategy for {strategy.n_views} views must not look at others"


def check_settings_are_refused_outside_their_rule(make: MakeAny) -> None:
    """One sentence says what the rule is; what is within the rule, also at its ends, is taken."""
    for name, setting in settings_of(make).items():
        inside: list[Any] = list(setting.choices) if setting.kind == "word" else [_number(setting, setting.low)]
        outside: list[Any] = ["no such word"] if setting.kind == "word" else [setting.low - 1, setting.high + 1, "much"]
        for value in [*inside, *([None] if setting.auto else [])]:
            assert getattr(make(_PARTS, **{name: value}), name) == value, f"{name}={value!r} must be taken"
        for value in [*outside, True, *([] if setting.auto else [None])]:
            message = _refusal(make, {name: value})
            assert message, f"{name}={value!r} must be refused, because it must be {setting.rule}"
            assert name in message, f"the message must name {name}, but is: {message}"
            assert setting.rule in message, f"the message must say the rule of {name}, but is: {message}"


def check_it_beats_the_majority(make: MakeAny) -> None:
    """Out-of-fold and on new items, with classes that are well apart."""
    given, chosen, predictor = _fitted(make, example())
    most = float(np.bincount(given.targets).max() / len(given.targets))
    seen = float((chosen.logits.argmax(axis=1) == given.targets).mean())
    assert seen > most + 0.1, f"out-of-fold accuracy must be clearly above {most:.2f}, but is {seen:.2f}"
    new = example((200, 200, 200))
    new = Example(_drawn_around(given, new.targets), new.targets, new.folds, 3)
    right = predictor.probabilities(new.features).argmax(axis=1) == new.targets
    assert right.mean() > 0.6, f"accuracy on new items must be clearly above 0.33, but is {right.mean():.2f}"


def check_out_of_fold_answers_do_not_know_the_item(make: MakeAny) -> None:
    """Where features say nothing about targets, out-of-fold accuracy is chance: no view of an item gives it away."""
    given = example((60, 60, 60), apart=0.0)
    chosen = make(_PARTS).cross_validate(given.features, given.targets, given.folds, n_classes=3)
    right = float((chosen.logits.argmax(axis=1) == given.targets).mean())
    # Three standard deviations of the share of 180 items.
    assert right < 1 / 3 + 3 * np.sqrt(2 / 9 / 180), f"out-of-fold accuracy must be chance, but is {right:.2f}"


def check_the_temperature_fits_the_logits(make: MakeAny) -> None:
    """It is the one that makes the out-of-fold logits calibrated, before any shift that a setting asks for."""
    given, chosen, _ = _fitted(make, example())
    fitted = fit_temperature(chosen.logits, given.targets)
    assert abs(chosen.temperature - fitted) < _ROUNDING * fitted, "the temperature must be fitted out-of-fold"


def check_the_same_seed_gives_the_same_numbers(make: MakeAny) -> None:
    """Twice the same, to the last bit; another seed plays a part only where the strategy says so."""
    given = example()
    first, again, other = (_probabilities(make, given, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again), "the same seed must give the same numbers"
    changed = not np.array_equal(first, other)
    assert changed == make(_PARTS).is_random, f"another seed {'changes' if changed else 'changes no'} numbers"


def check_the_order_of_items_plays_no_part(make: MakeAny) -> None:
    """Of items, and so of folds and targets with them; where the seed plays a part, order may do so too."""
    if make(_PARTS).is_random:
        return
    given = example()
    order = generator(0, "order").permutation(len(given.targets))
    found = _probabilities(make, given)
    again = _probabilities(make, given.take(order))
    _close(again, found[order], "the order of the items must play no part", _ROUNDING)


def check_fold_by_fold_ends_with_what_cross_validation_says(make: MakeAny) -> None:
    """Whoever can judge one fold after the other says the same at the end, and nothing of items still to come."""
    strategy, given = make(_PARTS), example()
    if not isinstance(strategy, FoldByFold):
        return
    whole = strategy.cross_validate(given.features, given.targets, given.folds, n_classes=given.n_classes)
    steps = list(strategy.fold_by_fold(given.features, given.targets, given.folds, n_classes=given.n_classes))
    for number, (tested, known) in enumerate(steps, 1):
        n_folds = len(np.unique(given.folds[tested]))
        assert n_folds == number, f"after {number} folds {number} must be tested, but {n_folds} are"
        assert not known.logits[~tested].any(), "the rows of items that were not tested must be 0"
    tested, last = steps[-1]
    assert tested.all(), "at last all items must be tested"
    same = np.array_equal(last.logits, whole.logits) and last.chosen == whole.chosen
    assert same, "at last it must say what cross_validate says"


def check_what_is_given_is_not_written_to(make: MakeAny) -> None:
    """Features belong to others."""
    given = example()
    values = given.features[_SPEC.name].values.copy()
    _, chosen, _ = _fitted(make, given)
    masks = np.stack([given.folds != 0])
    make(_PARTS).fit_subsets(given.features, given.targets, masks, n_classes=3, chosen=chosen)
    assert np.array_equal(values, given.features[_SPEC.name].values), "features must stay as they were"


def check_class_names_are_kept_in_order(make: MakeAny) -> None:
    """Column and name belong together, and each row of probabilities sums to 1."""
    given, _, predictor = _fitted(make, example())
    found = predictor.probabilities(given.features)
    assert predictor.classes == given.classes, "class names must be kept"
    assert predictor.parts == _PARTS, "the predictor must see what the strategy saw"
    assert found.shape == (len(given.targets), given.n_classes), "there must be a column for each class"
    _close(found.sum(axis=1), np.ones(len(found)), "probabilities must sum to 1", 1e-9)


def check_it_knows_how_large_its_head_is(make: MakeAny) -> None:
    """Before it is fitted, so that a limit on the size of a model can be kept without fitting it."""
    for counts in ((40, 30, 20), (12, 8)):
        given, _, predictor = _fitted(make, example(counts))
        found = sum(array.size for array in arrays_of(predictor.head).values())
        width, n_items = sum(layer.width for layer in _SPEC.layers), len(given.targets)
        said = make(_PARTS).n_numbers(width=width, n_classes=given.n_classes, n_items=n_items)
        assert said == found, f"the head must have as many numbers as n_numbers says, but {said} is not {found}"


def check_a_subset_is_all_that_its_model_saw(make: MakeAny) -> None:
    """Targets outside of a subset play no part, and the model of a subset is as good as one."""
    given, chosen, _ = _fitted(make, example())
    mask = given.folds != 0
    changed = np.where(mask, given.targets, 0)
    first, second = (_subset(make, given, targets, mask, chosen) for targets in (given.targets, changed))
    _close(first, second, "targets outside of a subset must play no part", 1e-6)
    assert (first.argmax(axis=1) == given.targets)[~mask].mean() > 0.5, "the model of a subset must be of use"


def check_two_classes(make: MakeAny) -> None:
    """As with any number of them."""
    given, chosen, predictor = _fitted(make, example((30, 30)))
    right = predictor.probabilities(given.features).argmax(axis=1) == given.targets
    assert chosen.logits.shape == (60, 2), "there must be a logit for each class"
    assert right.mean() > 0.8, f"two classes must be told apart, but accuracy is {right.mean():.2f}"


def check_a_class_with_one_item(make: MakeAny) -> None:
    """Its fold is predicted by a model that lacks it: wrong, but finite."""
    given, chosen, predictor = _fitted(make, example((30, 30, 1)))
    assert np.isfinite(chosen.logits).all(), "logits must be finite"
    assert chosen.logits[given.targets == 2].argmax() != 2, "a model must not predict a class that it has not seen"
    assert np.isfinite(predictor.probabilities(given.features)).all(), "probabilities must be finite"


def check_a_class_without_items(make: MakeAny) -> None:
    """It is nobody's prediction."""
    given = example((30, 30))
    _, _, predictor = _fitted(make, replace(given, n_classes=3))
    found = predictor.probabilities(given.features)
    assert np.isfinite(found).all(), "probabilities must be finite"
    assert not (found.argmax(axis=1) == 2).any(), "a class without items must not be predicted"


def check_a_handful_of_items(make: MakeAny) -> None:
    """Two items a class in two folds."""
    given = example((2, 2))
    _, _, predictor = _fitted(make, replace(given, folds=given.folds % 2))
    assert np.isfinite(predictor.probabilities(given.features)).all(), "probabilities must be finite"


def check_columns_that_say_nothing(make: MakeAny) -> None:
    """Constant columns, also when all of them are."""
    given = example()
    same = _seen(np.ones_like(given.features[_SPEC.name].values))
    flat = {_SPEC.name: replace(same, views=(same,) * (MOST_VIEWS - 1))}
    _, _, predictor = _fitted(make, replace(given, features=flat))
    assert np.isfinite(predictor.probabilities(flat)).all(), "probabilities must be finite"


def check_a_bundle_gives_the_same_probabilities(make: MakeAny) -> None:
    """Saved and loaded, to rounding in float32; alone, and as a member of an average."""
    given, _, predictor = _fitted(make, example())
    sharper = replace(predictor, temperature=predictor.temperature / 2)
    for each in (predictor, Ensemble(((predictor, 0.75), (sharper, 0.25)))):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "backbone"
            place.mkdir()
            write_local(_SPEC, place)
            manifest = Manifest(
                modality=_SPEC.modality,
                task="classification",
                classes=predictor.classes,
                parts=(),
                backbones={},
                temperature=1.0,
                precision="float32",
                version="0",
                created="2026-01-01T00:00:00+00:00",
            )
            write_bundle(
                Path(folder) / "bundle", each, {_SPEC.name: open_local(place)}, manifest=manifest, card="# A card\n"
            )
            loaded = open_bundle(Path(folder) / "bundle").predictor
        assert loaded.classes == predictor.classes, "class names must come back"
        found = loaded.probabilities(given.features)
        _close(found, each.probabilities(given.features), "a bundle must give the same probabilities", _SAVED)


def _number(setting: Any, value: float) -> int | float:
    return int(value) if setting.kind == "whole" else float(value)


def _refusal(make: MakeAny, settings: dict[str, Any]) -> str:
    """With which sentence settings are refused; empty if they are taken."""
    try:
        make(_PARTS, **settings)
    except OptionError as error:
        return str(error)
    return ""


def _fitted(make: MakeAny, given: Example, *, seed: int = 0) -> tuple[Example, OutOfFold, Predictor]:
    strategy = make(_PARTS)
    chosen = strategy.cross_validate(given.features, given.targets, given.folds, n_classes=given.n_classes, seed=seed)
    predictor = strategy.fit(given.features, given.targets, classes=given.classes, chosen=chosen, seed=seed)
    return given, chosen, predictor


def _probabilities(make: MakeAny, given: Example, *, seed: int = 0) -> Float64[np.ndarray, "items classes"]:
    """Of all items, by the model and then out-of-fold, side by side."""
    _, chosen, predictor = _fitted(make, given, seed=seed)
    return np.hstack([predictor.probabilities(given.features), softmax(chosen.logits, chosen.temperature)])


def _subset(
    make: MakeAny,
    given: Example,
    targets: Int[np.ndarray, " items"],
    mask: Bool[np.ndarray, " items"],
    chosen: OutOfFold,
) -> np.ndarray:
    (logits,) = make(_PARTS).fit_subsets(given.features, targets, mask[None], n_classes=given.n_classes, chosen=chosen)
    return np.asarray(logits)


def _drawn_around(given: Example, targets: Int[np.ndarray, " items"]) -> dict[str, Features]:
    """New items around the same centres: the mean of each class, and the spread of its items."""
    features = given.features[_SPEC.name]
    random = generator(1, "new items")
    means = np.stack([features.values[given.targets == target].mean(axis=0) for target in range(given.n_classes)])
    spread = (features.values - means[given.targets]).std(axis=0)
    values = means[targets] + spread * random.normal(size=(len(targets), _SPEC.width))
    return {_SPEC.name: _seen(values)}


def _close(found: np.ndarray, expected: np.ndarray, promise: str, tolerance: float) -> None:
    worst = float(np.abs(found - expected).max())
    assert worst <= tolerance, f"{promise}, but numbers differ by up to {worst:.2g}"


STRATEGY_CHECKS: tuple[Callable[[MakeAny], None], ...] = (
    check_it_is_a_frozen_dataclass_of_settings,
    check_it_says_what_it_needs,
    check_settings_are_refused_outside_their_rule,
    check_it_beats_the_majority,
    check_out_of_fold_answers_do_not_know_the_item,
    check_the_temperature_fits_the_logits,
    check_the_same_seed_gives_the_same_numbers,
    check_the_order_of_items_plays_no_part,
    check_fold_by_fold_ends_with_what_cross_validation_says,
    check_what_is_given_is_not_written_to,
    check_class_names_are_kept_in_order,
    check_it_knows_how_large_its_head_is,
    check_a_subset_is_all_that_its_model_saw,
    check_two_classes,
    check_a_class_with_one_item,
    check_a_class_without_items,
    check_a_handful_of_items,
    check_columns_that_say_nothing,
    check_a_bundle_gives_the_same_probabilities,
)
"""All checks, in the order in which they are worth reading."""
