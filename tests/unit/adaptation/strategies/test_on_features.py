"""What each strategy on features does beside the promises of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.adaptation.heads import prototypes
from headstart.adaptation.heads.perceptron import Recipe, components, train
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies import Head2Toe, Knn, Linear, Mlp, Prototype
from headstart.evaluation.calibration import softmax
from headstart.testing.strategies import Example, example

PARTS = (Part("pixels", "early"), Part("pixels", "last"))


def _accuracy(strategy: object, given: Example) -> float:
    chosen = strategy.cross_validate(given.features, given.targets, given.folds, n_classes=given.n_classes)
    return float((chosen.logits.argmax(axis=1) == given.targets).mean())


def _with_values(given: Example, values: np.ndarray) -> Example:
    return replace(given, features={"pixels": replace(given.features["pixels"], values=values.astype(np.float32))})


def test_balance_gives_rare_classes_their_due() -> None:
    given = example((150, 15), apart=1.0)
    rare = given.targets == 1
    found = {}
    for balance in (0.0, 1.0):
        strategy = Linear(PARTS, balance=balance)
        chosen = strategy.cross_validate(given.features, given.targets, given.folds, n_classes=2)
        predictor = strategy.fit(given.features, given.targets, classes=given.classes, chosen=chosen)
        found[balance] = (chosen, predictor.probabilities(given.features))
    recall = {balance: (chosen.logits.argmax(axis=1) == 1)[rare].mean() for balance, (chosen, _) in found.items()}
    assert recall[1.0] > recall[0.0] + 0.2
    # Odds are divided by the ratio of the classes' shares, 10 to 1, in the answers of the model and out-of-fold.
    odds = {balance: np.log(p[:, 1] / p[:, 0]) for balance, (_, p) in found.items()}
    np.testing.assert_allclose(odds[1.0] - odds[0.0], np.log(10), atol=1e-3)
    calibrated = {balance: softmax(chosen.logits, chosen.temperature) for balance, (chosen, _) in found.items()}
    odds = {balance: np.log(p[:, 1] / p[:, 0]) for balance, p in calibrated.items()}
    np.testing.assert_allclose(odds[1.0] - odds[0.0], np.log(10), atol=1e-3)


def test_a_strength_that_is_set_is_the_one_that_is_used() -> None:
    given = example()
    assert Linear(PARTS, l2=0.5).cross_validate(given.features, given.targets, given.folds, n_classes=3).chosen == {
        "l2": 0.5
    }


def test_the_cosine_of_few_items_counts_for_less() -> None:
    units = np.eye(3)[[0, 0, 0, 1]]
    weight, bias = prototypes.fit(units, np.array([0, 0, 0, 1]), shrinkage=1.0, n_classes=3)
    np.testing.assert_allclose(weight, 10 * np.array([[0.75, 0, 0], [0, 0.5, 0], [0, 0, 0]]))
    np.testing.assert_array_equal(bias, [0, 0, -10])


def test_neighbours_and_the_small_network_see_what_no_plane_parts() -> None:
    random = np.random.default_rng(0)
    targets = np.arange(240) % 2
    points = random.uniform(-1, 1, size=(240, 2))
    # Two columns whose signs are equal for one class and opposite for the other.
    points[:, 1] = np.abs(points[:, 1]) * np.sign(points[:, 0]) * np.where(targets == 1, 1, -1)
    values = np.zeros((240, 16))
    values[:, [3, 9]] = points
    folds = np.arange(240) // 2 % 5
    given = _with_values(replace(example((120, 120)), targets=targets, folds=folds), values)
    assert _accuracy(Linear(PARTS), given) < 0.65
    assert _accuracy(Knn(PARTS), given) > 0.9
    assert _accuracy(Mlp(PARTS, learning_rate=0.01), given) > 0.9


def test_more_neighbours_than_items_are_all_of_them() -> None:
    given = example((4, 4))
    strategy = Knn(PARTS, k=1000)
    chosen = strategy.cross_validate(given.features, given.targets, given.folds, n_classes=2)
    predictor = strategy.fit(given.features, given.targets, classes=given.classes, chosen=chosen)
    assert int(predictor.head.k) == 8


def test_columns_that_matter_are_kept_and_others_get_no_weight() -> None:
    random = np.random.default_rng(0)
    given = example((60, 60, 60))
    values = random.normal(size=(180, 16))
    values[:, [2, 7, 12]] += 3 * np.eye(3)[given.targets]
    given = _with_values(given, values)
    strategy = Head2Toe(PARTS, share=0.2)
    chosen = strategy.cross_validate(given.features, given.targets, given.folds, n_classes=3)
    predictor = strategy.fit(given.features, given.targets, classes=given.classes, chosen=chosen)
    assert np.flatnonzero(np.abs(predictor.head.weight).sum(axis=0)).tolist() == [2, 7, 12]
    assert chosen.chosen["share"] == 0.2


def test_columns_are_selected_without_the_items_that_they_are_judged_on() -> None:
    # Of 300 columns of noise some go with the targets by chance: selected on all items, they would look good.
    random = np.random.default_rng(0)
    values = random.normal(size=(60, 300)).astype(np.float32)
    given = example((30, 30))
    backbone = replace(given.features["pixels"].backbone, layers=(replace(PIXEL_LAYER, width=300),))
    seen = {"pixels": replace(given.features["pixels"], backbone=backbone, values=values)}
    given = replace(given, features=seen)
    assert _accuracy(Head2Toe((Part("pixels", "last"),), share=0.05), given) < 0.7


PIXEL_LAYER = example().features["pixels"].backbone.layers[-1]


def test_components_keep_all_that_few_columns_say() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(50, 12)).astype(np.float32)
    features -= features.mean(axis=0)
    along, basis = components(features, seed=0)
    assert np.mean(np.square(along)) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(along, features @ basis, atol=1e-6)
    # Angles and lengths are those of the features, up to one factor.
    ratio = (along @ along.T) / (features @ features.T)
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-2)


def test_components_of_wide_features_are_the_leading_ones() -> None:
    random = np.random.default_rng(0)
    features = (random.normal(size=(400, 600)) * np.geomspace(1, 1e-3, 600)).astype(np.float32)
    along, basis = components(features, seed=0)
    spread = np.linalg.svd(features, compute_uv=False)
    ours = np.linalg.svd(along, compute_uv=False)
    assert along.shape == (400, 256)
    np.testing.assert_allclose(ours / ours[0], spread[:256] / spread[0], atol=1e-3)
    assert basis.shape == (600, 256)


def test_the_predictor_on_raw_features_is_the_layer_on_components() -> None:
    given = example()
    strategy = Mlp(PARTS, steps=40)
    chosen = strategy.cross_validate(given.features, given.targets, given.folds, n_classes=3, seed=3)
    predictor = strategy.fit(given.features, given.targets, classes=given.classes, chosen=chosen, seed=3)
    everything = np.ones((1, len(given.targets)), dtype=bool)
    (logits,) = strategy.fit_subsets(given.features, given.targets, everything, n_classes=3, chosen=chosen, seed=3)
    assert chosen.chosen == {"steps": 40}
    np.testing.assert_allclose(predictor.probabilities(given.features), softmax(logits, chosen.temperature), atol=1e-4)


def test_a_look_is_what_training_for_so_long_gives() -> None:
    given = example()
    seen, _ = components(given.features["pixels"].values, seed=0)
    recipe = Recipe(16, 0.5, 0.1, 1e-2)
    looks, layer = train(seen, given.targets, seen, recipe=recipe, steps=25, n_classes=3, seed=0)
    shorter, _ = train(seen, given.targets, seen, recipe=recipe, steps=20, n_classes=3, seed=0)
    assert len(looks) == 3
    np.testing.assert_array_equal(looks[1], shorter[-1])
    np.testing.assert_allclose(layer.logits(seen), looks[-1], atol=1e-5)


def test_shrinkage_is_chosen_among_those_that_are_tried() -> None:
    given = example((40, 40, 2))
    chosen = Prototype(PARTS).cross_validate(given.features, given.targets, given.folds, n_classes=3)
    assert chosen.chosen["shrinkage"] in prototypes.SHRINKAGES
