"""From features to probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.predictor import Ensemble, Part, Predictor, side_by_side
from headstart.backbones.spec import BackboneSpec, Layer, Source
from headstart.errors import OptionError
from headstart.features.extract import Features

RNG = np.random.default_rng(0)


def _features(name: str, layers: tuple[tuple[str, int], ...], n: int = 6) -> Features:
    spec = BackboneSpec(name, "image", "timm", name, Source("folder", name), tuple(Layer(*each) for each in layers), 1)
    return Features(spec, RNG.normal(size=(n, spec.width)).astype(np.float32), np.ones(n, dtype=bool))


SEEN = {"a": _features("a", (("early", 2), ("last", 3))), "b": _features("b", (("last", 4),))}
PARTS = (Part("b", "last"), Part("a", "last"), Part("a", "early"))


def test_columns_come_in_the_order_of_the_parts() -> None:
    a, b = SEEN["a"].values, SEEN["b"].values
    np.testing.assert_array_equal(side_by_side(SEEN, PARTS), np.hstack([b, a[:, 2:], a[:, :2]]))


def test_an_unknown_layer_is_not_mistaken_for_another() -> None:
    with pytest.raises(OptionError, match="no layer 'middle'"):
        side_by_side(SEEN, [Part("a", "middle")])


def _predictor(temperature: float = 2.0) -> Predictor:
    weight, bias = RNG.normal(size=(3, 9)).astype(np.float32), np.array([0.1, -0.2, 0.3], dtype=np.float32)
    return Predictor(("x", "y", "z"), PARTS, LinearHead(weight, bias), temperature)


def test_probabilities_are_the_softmax_of_logits_over_the_temperature() -> None:
    predictor = _predictor()
    logits = (side_by_side(SEEN, PARTS).astype(np.float64) @ predictor.head.weight.T + predictor.head.bias) / 2.0
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = predictor.probabilities(SEEN)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)


def test_an_item_is_predicted_the_same_alone_and_among_others() -> None:
    predictor = _predictor()
    alone = [
        predictor.probabilities({name: each.take(np.array([row])) for name, each in SEEN.items()}) for row in range(6)
    ]
    np.testing.assert_allclose(np.vstack(alone), predictor.probabilities(SEEN), rtol=0, atol=1e-12)


def test_each_backbone_is_needed_once() -> None:
    assert _predictor().backbones == ("b", "a")


def test_an_ensemble_is_the_weighted_average_of_its_members() -> None:
    one, other = (
        _predictor(),
        replace(_predictor(0.5), parts=(Part("a", "early"), Part("b", "last"), Part("a", "last"))),
    )
    both = Ensemble(((one, 0.75), (other, 0.25)))
    expected = 0.75 * one.probabilities(SEEN) + 0.25 * other.probabilities(SEEN)
    np.testing.assert_allclose(both.probabilities(SEEN), expected, rtol=1e-12)
    assert both.classes == one.classes
    assert both.backbones == ("b", "a")
    assert both.parts == PARTS
    assert one.members == ((one, 1.0),)
