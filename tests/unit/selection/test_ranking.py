"""Backbones in the order of what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.backbones.spec import BackboneSpec, Layer, Source
from headstart.features.extract import Features
from headstart.selection.ranking import rank

TARGETS = np.arange(120) % 3


def _features(name: str, apart: float, *, n_params: int = 10, seed: int = 0) -> Features:
    layers = (Layer("early", 3), Layer("last", 8))
    spec = BackboneSpec(name, "image", "timm", name, Source("folder", name), layers, n_params)
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(120, 11))
    # Only what the ranking must not look at tells classes apart in `early`.
    values[:, :3] += 9 * np.eye(3)[TARGETS]
    values[:, 3:6] += apart * np.eye(3)[TARGETS]
    return Features(spec, values.astype(np.float32), np.ones(120, dtype=bool))


def test_the_backbone_whose_last_layer_tells_classes_apart_comes_first() -> None:
    seen = {"weak": _features("weak", 0.0), "strong": _features("strong", 5.0)}
    first, second = rank(seen, TARGETS, seconds={"strong": 2.5})
    assert (first.backbone.name, second.backbone.name) == ("strong", "weak")
    assert first.scores["loo_accuracy"] > 0.95 > 0.6 > second.scores["loo_accuracy"]
    assert first.scores["knn_accuracy"] > second.scores["knn_accuracy"]
    assert (first.tie, second.tie) == (True, False)
    assert (first.seconds, second.seconds) == (2.5, 0.0)


def test_backbones_as_good_as_the_first_are_ties() -> None:
    seen = {name: _features(name, 3.0, seed=seed) for seed, name in enumerate("abc")}
    assert [each.tie for each in rank(seen, TARGETS, seconds={})] == [True, True, True]


def test_equal_backbones_keep_their_order_so_the_cheaper_one_is_named_first() -> None:
    seen = {name: _features(name, 3.0) for name in ("cheap", "dear")}
    assert [each.backbone.name for each in rank(seen, TARGETS, seconds={})] == ["cheap", "dear"]


def test_a_control_is_not_ranked() -> None:
    seen = {"pixels": _features("pixels", 9.0, n_params=0), "a": _features("a", 1.0)}
    assert [each.backbone.name for each in rank(seen, TARGETS, seconds={})] == ["a"]


@pytest.mark.parametrize("score", ["loo_accuracy", "knn_accuracy"])
def test_scores_on_labels_without_meaning_are_near_chance(score: str) -> None:
    shuffled = np.random.default_rng(3).permutation(TARGETS)
    (only,) = rank({"a": _features("a", 4.0)}, shuffled, seconds={})
    assert 0.15 < only.scores[score] < 0.5
