"""What is said of the chosen backbone's last layer, and the scores that decide nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.backbones.source_head import SourceHead
from headstart.backbones.spec import Layer
from headstart.features.extract import Features
from headstart.recipes import nearness as module
from headstart.recipes.nearness import diagnostics_of, nearness_of
from headstart.selection.nearness import nearness
from headstart.selection.scores.registry import SCORES, all_scores
from recipes.made import local

TARGETS = np.arange(60) % 3
LOCAL = local("net")
SPEC = replace(LOCAL.spec, layers=(Layer("early", 2), Layer("last", 5)))


def _features(n: int = 60) -> Features:
    values = np.random.default_rng(0).normal(size=(n, 7)).astype(np.float32)
    values[:, :2] *= 1000  # what the early layer says must not matter
    return Features(SPEC, values, np.ones(n, dtype=bool))


@pytest.fixture
def classifier(monkeypatch: pytest.MonkeyPatch) -> SourceHead:
    """A source classifier of four classes."""
    rng = np.random.default_rng(1)
    head = SourceHead(rng.normal(size=(4, 5)).astype(np.float32), rng.normal(size=4).astype(np.float32))
    monkeypatch.setattr(module, "source_head", lambda local: head)
    return head


def test_the_last_layer_alone_is_looked_at() -> None:
    features = _features()
    record = nearness_of(LOCAL, features)
    found = nearness(features.layer("last"))
    assert record is not None
    assert (record.backbone, record.sentence) == ("net", found.sentence)
    assert record.numbers["alike"] == found.alike
    assert record.numbers["entropy_share"] is None
    assert set(record.numbers) == {
        *("n_items", "alike", "effective_rank", "rank_share", "entropy_share", "confidence", "distance"),
    }


def test_the_source_classifier_says_how_unsure_it_is(classifier: SourceHead) -> None:
    features = _features()
    last = features.layer("last")
    record = nearness_of(LOCAL, features)
    assert record is not None
    assert record.numbers["entropy_share"] == nearness(last, logits=classifier.logits(last)).entropy_share
    assert record.numbers["entropy_share"] is not None


def test_a_single_item_says_nothing() -> None:
    assert nearness_of(LOCAL, _features(1)) is None


def test_items_that_all_look_alike_make_transfer_doubtful() -> None:
    features = _features()
    features.values[:, 2:] = features.values[:, 2:] / 100 + 1
    record = nearness_of(replace(LOCAL, spec=replace(SPEC, name="efficientnet_lite0")), features)
    assert record is not None
    assert record.doubtful


def test_diagnostics_are_all_scores_but_those_that_decide() -> None:
    features = _features()
    found = diagnostics_of(LOCAL, features, TARGETS)
    assert set(found) == set(SCORES) - {"loo_accuracy", "knn_accuracy"}
    known = all_scores(features.layer("last"), TARGETS)
    assert all(found[name] == known[name] for name in found)
    assert found["leep"].value is None
    assert "no source classifier" in found["leep"].reason


def test_scores_on_the_source_classifier_are_given_its_probabilities(classifier: SourceHead) -> None:
    features = _features()
    found = diagnostics_of(LOCAL, features, TARGETS)
    logits = classifier.logits(features.layer("last"))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found["leep"].value == pytest.approx(SCORES["leep"].compute(probabilities, TARGETS), abs=1e-6)
    assert found["nce"].value is not None
