"""The quick learning curve: it rises to what a head reaches, and its parts are what they say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from headstart._randomness import generator
from headstart.auditing.enough import _thinned, ridge_curve
from headstart.evaluation.records import LearningCurve


def _made(
    n_items: int, *, width: int = 40, n_classes: int = 3, noise: float = 3.0, seed: int = 0
) -> tuple[np.ndarray, ...]:
    rng = generator(seed, "enough")
    targets = np.arange(n_items) % n_classes
    features = np.eye(n_classes, width)[targets] * 4 + rng.normal(0, noise, (n_items, width))
    return features.astype(np.float32), targets, rng.permutation(n_items) % 5, np.arange(n_items)


def _curve(*made: np.ndarray, n_classes: int = 3, seed: int = 0) -> LearningCurve:
    features, targets, folds, units = made
    return ridge_curve(features, targets, folds, units, n_classes=n_classes, seed=seed)


def test_the_curve_rises_from_an_eighth_to_all() -> None:
    points = _curve(*_made(600)).points
    assert [point.n_train for point in points] == [60, 120, 240, 480]
    values = [point.accuracy.value for point in points]
    assert values == sorted(values)
    assert values[-1] - values[0] > 0.05


def test_with_all_labels_it_is_a_ridge_classifier_out_of_fold() -> None:
    features, targets, folds, units = _made(400)
    right = 0
    scaled = features - features.mean(axis=0)
    scaled = scaled / np.sqrt((scaled**2).sum(axis=1).mean())
    scaled = np.column_stack([scaled, np.ones(len(scaled))])
    for fold in range(5):
        seen = folds != fold
        model = RidgeClassifier(alpha=3e-4 * seen.sum(), fit_intercept=False, solver="cholesky")
        # Targets of −1 and 1, with the constant among the columns, order the classes as 0 and 1 do.
        ridge = model.fit(scaled[seen], targets[seen])
        right += int((ridge.predict(scaled[~seen]) == targets[~seen]).sum())
    value = _curve(features, targets, folds, units).points[-1].accuracy.value
    assert value == pytest.approx(right / len(targets), abs=0.01)


def test_the_same_seed_gives_the_same_curve_and_another_one_other_draws() -> None:
    made = _made(200)
    assert _curve(*made) == _curve(*made)
    assert _curve(*made).points[0].draws != _curve(*made, seed=1).points[0].draws


def test_features_that_say_nothing_reach_chance() -> None:
    _, targets, folds, units = _made(600)
    noise = generator(1, "noise").normal(size=(600, 20)).astype(np.float32)
    assert _curve(noise, targets, folds, units).points[-1].accuracy.value == pytest.approx(1 / 3, abs=0.07)


def test_copies_are_not_counted_as_evidence() -> None:
    features, targets, folds, units = _made(120)
    four = [np.repeat(each, 4, axis=0) for each in (features, targets, folds, units)]
    alone, copied = _curve(features, targets, folds, units), _curve(*four)
    assert copied.points[-1].accuracy.n == alone.points[-1].accuracy.n == 120


@pytest.mark.parametrize("n_items", [20, 21, 40])
def test_few_items_of_wide_features_will_do(n_items: int) -> None:
    curve = _curve(*_made(n_items, width=700, n_classes=2), n_classes=2)
    assert curve.points
    assert all(np.isfinite(point.accuracy.value) for point in curve.points)


def test_features_that_are_all_the_same_will_do() -> None:
    _, targets, folds, units = _made(60)
    assert _curve(np.ones((60, 8), dtype=np.float32), targets, folds, units).points[-1].accuracy.value <= 0.5


def test_a_class_that_a_fold_lacks_will_do() -> None:
    features, targets, folds, units = _made(60)
    targets = targets.copy()
    targets[:] = np.arange(60) % 2
    targets[0] = 2
    assert _curve(features, targets, folds, units).points


def test_each_class_is_thinned_to_its_share_of_units() -> None:
    random = np.random.default_rng(0)
    units = np.repeat(np.arange(60), random.integers(1, 5, 60))
    targets = np.where(np.arange(len(units)) % 7 == 0, 2, units % 2)  # units of two classes too
    seen = random.random(len(units)) < 0.8
    kept = _thinned(seen, targets, units, 0.25, np.random.default_rng(1))
    assert not (kept & ~seen).any()
    for target in range(3):
        ours = targets == target
        n_units = len(np.unique(units[seen & ours]))
        drawn = np.unique(units[kept & ours])
        assert len(drawn) == max(1, round(0.25 * n_units))
        assert (kept == seen)[ours & np.isin(units, drawn)].all()
