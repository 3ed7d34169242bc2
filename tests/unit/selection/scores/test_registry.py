"""What holds for every score."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.selection.scores.made import made

from headstart.errors import DataError, OptionError
from headstart.selection.scores.components import decompose
from headstart.selection.scores.registry import SCORES, Scored, all_scores

OF_FEATURES = [name for name, score in SCORES.items() if score.needs != "source probabilities"]


def source(n_items: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(12, 0.3), n_items).astype(np.float32)


def test_all_scores_are_those_of_the_functions_and_higher_for_better_features():
    good, targets = made(120, 20, apart=1.0)
    poor, _ = made(120, 20, apart=0.1)
    aligned = 0.5 * source(120) + 0.5 * np.eye(12, dtype=np.float32)[targets]
    of_good, of_poor = all_scores(good, targets, probabilities=aligned), all_scores(poor, targets)
    assert list(of_good) == list(SCORES)
    assert len(OF_FEATURES) == 9
    for name, score in SCORES.items():
        given = aligned if score.needs == "source probabilities" else good
        assert of_good[name] == Scored(pytest.approx(score.compute(given, targets)))
        if name in OF_FEATURES:
            assert of_good[name].value > of_poor[name].value
        else:
            assert of_good[name].value > score.compute(source(120), targets)
            assert of_poor[name] == Scored(None, "the backbone has no source classifier")
        assert score.meaning


@pytest.mark.parametrize("name", OF_FEATURES)
@pytest.mark.parametrize("width", [12, 40])
def test_order_rotation_scale_and_offset_do_not_matter_and_inputs_are_left_alone(name, width):
    features, targets = made(90, width, apart=0.5)
    copies = features.copy(), targets.copy()
    rng = np.random.default_rng(5)
    order = rng.permutation(90)
    rotation = np.linalg.qr(rng.standard_normal((width, width)))[0]
    compute = SCORES[name].compute
    score = compute(features, targets)
    assert compute(features[order], targets[order]) == pytest.approx(score, abs=1e-6)
    assert compute(100 * features.astype(np.float64) @ rotation + 3, targets) == pytest.approx(score, abs=1e-4)
    assert compute(features, (targets + 1) % 3) == pytest.approx(score, abs=1e-6)  # classes have no order either
    np.testing.assert_array_equal(features, copies[0])
    np.testing.assert_array_equal(targets, copies[1])


@pytest.mark.parametrize("name", ["leep", "nce"])
def test_the_order_of_items_and_source_classes_does_not_matter(name):
    probabilities, targets = source(50), np.arange(50) % 3
    order = np.random.default_rng(1).permutation(50)
    copy = probabilities.copy()
    compute = SCORES[name].compute
    score = compute(probabilities, targets)
    assert compute(probabilities[order][:, ::-1], targets[order]) == pytest.approx(score, abs=1e-9)
    np.testing.assert_array_equal(probabilities, copy)


def test_one_item_a_class_leaves_every_score_undefined_and_says_why():
    features, _ = made(12, 5)
    found = all_scores(features, np.arange(12), probabilities=source(12))
    assert len(found) == 11
    for scored in found.values():
        assert scored.value is None
        assert "each of the 12 classes has a single item" in scored.reason


def test_one_item_in_some_classes_leaves_some_scores_undefined():
    features, _ = made(20, 5)
    found = all_scores(features, np.minimum(np.arange(20), 8), probabilities=source(20))
    undefined = {name: scored.reason for name, scored in found.items() if scored.value is None}
    assert set(undefined) == {"gbc", "nleep"}
    assert "2 items or more for its variance, but 8 of 9 have fewer" in undefined["gbc"]
    assert "needs 2 items for each, but there are 20" in undefined["nleep"]


def test_values_have_the_evidence_only():
    features, _ = made(30, 5)
    found = all_scores(features, features[:, 0].astype(np.float64))
    assert [name for name, scored in found.items() if scored.value is not None] == ["logme"]
    assert found["loo_accuracy"].reason == "it is defined for classes, not for values"


def test_features_that_are_the_same_for_all_items_are_not_ranked_by_diagnostics():
    found = all_scores(np.ones((30, 4), np.float32), np.arange(30) % 3)
    assert {name for name, scored in found.items() if scored.value is not None} == {"loo_accuracy", "knn_accuracy"}


def test_classes_may_be_missing():
    features, targets = made(60, 8)
    for name in OF_FEATURES:
        compute = SCORES[name].compute
        assert compute(features, 2 * targets + 1) == pytest.approx(compute(features, targets))


def test_components_are_as_good_as_features():
    features, targets = made(60, 8)
    names = [name for name, score in SCORES.items() if score.needs == "components"]
    assert len(names) == 8
    for name in names:
        assert SCORES[name].compute(decompose(features), targets) == SCORES[name].compute(features, targets)


def test_what_is_wrong_with_the_call_is_raised():
    features, targets = made(20, 4)
    with pytest.raises(OptionError, match=r"one class, 0 or greater, for each of the 20 items"):
        all_scores(features, targets[:5])
    with pytest.raises(OptionError, match=r"one class, 0 or greater"):
        all_scores(features, targets - 1)
    with pytest.raises(DataError, match="must be finite numbers"):
        all_scores(np.full((4, 2), np.nan), np.arange(4) % 2)
