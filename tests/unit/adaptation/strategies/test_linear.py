"""The strategy `linear` on features without a network."""

from __future__ import annotations

import numpy as np

from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies import Linear, OutOfFold
from headstart.backbones.spec import BackboneSpec, Layer, Source
from headstart.evaluation.calibration import softmax
from headstart.features.extract import Features

TARGETS = np.arange(90) % 3
FOLDS = np.arange(90) // 3 % 5
SPEC = BackboneSpec("a", "image", "timm", "a", Source("folder", "a"), (Layer("early", 5), Layer("last", 7)), 1)
PARTS = (Part("a", "early"), Part("a", "last"))


def _seen(noise: float = 1.0) -> dict[str, Features]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 12))[TARGETS] + noise * rng.normal(size=(90, 12))
    # Columns of very different scale, which scaling has to bear.
    values *= np.geomspace(0.01, 100, 12)
    return {"a": Features(SPEC, values.astype(np.float32), np.ones(90, dtype=bool))}


def test_the_predictor_on_raw_features_is_the_head_on_scaled_ones() -> None:
    seen, strategy = _seen(), Linear(PARTS)
    chosen = strategy.cross_validate(seen, TARGETS, FOLDS, n_classes=3)
    predictor = strategy.fit(seen, TARGETS, classes=("x", "y", "z"), chosen=chosen)
    raw = seen["a"].values
    scaling = Scaling.fit(raw, blocks=[5, 7])
    head = logistic.fit(scaling.apply(raw), TARGETS, l2=chosen.chosen["l2"], n_classes=3)
    expected = softmax(scaling.apply(raw) @ head.weight.T + head.bias, chosen.temperature)
    np.testing.assert_allclose(predictor.probabilities(seen), expected, atol=1e-4)


def test_out_of_fold_logits_do_not_know_the_item_that_they_are_for() -> None:
    rng = np.random.default_rng(1)
    noise = Features(SPEC, rng.normal(size=(90, 12)).astype(np.float32), np.ones(90, dtype=bool))
    shuffled = rng.permutation(TARGETS)
    result = Linear(PARTS).cross_validate({"a": noise}, shuffled, FOLDS, n_classes=3)
    assert (result.logits.argmax(axis=1) == shuffled).mean() < 0.5


def test_the_temperature_is_the_one_that_its_logits_need() -> None:
    result = Linear(PARTS).cross_validate(_seen(), TARGETS, FOLDS, n_classes=3)

    def loss(temperature: float) -> float:
        return float(-np.log(softmax(result.logits, temperature)[np.arange(90), TARGETS]).mean())

    assert loss(result.temperature) <= min(loss(0.8 * result.temperature), loss(1.25 * result.temperature))


def test_a_subset_is_all_that_its_head_saw() -> None:
    seen = _seen()
    strategy = Linear(PARTS)
    mask = FOLDS != 0
    chosen = OutOfFold(np.zeros((90, 3)), {"l2": 1e-3}, 1.0)
    changed = TARGETS.copy()
    changed[~mask] = 0
    first, second = (
        strategy.fit_subsets(seen, targets, mask[None], n_classes=3, chosen=chosen) for targets in (TARGETS, changed)
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
