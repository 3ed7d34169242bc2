"""The ridge classifier of the audit is the one in the textbook, and nothing that it says of an item knows its label."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from headstart.auditing.probabilities import PENALTIES, ridge_out_of_fold
from headstart.errors import DataError, OptionError
from headstart.evaluation.calibration import fit_temperature, softmax


def _data(n_items: int, width: int, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.integers(n_classes, size=n_items)
    means = random.normal(size=(n_classes, width))
    features = (random.normal(size=(n_items, width)) * 2 + means[targets] + 5).astype(np.float32)
    return features, targets, np.arange(n_items) % 4


def _brute_force(features: np.ndarray, targets: np.ndarray, folds: np.ndarray, n_classes: int) -> np.ndarray:
    """scikit-learn's ridge, refitted for each fold and penalty, at the penalty with the least squared error."""
    centred = (features - features.mean(axis=0)).astype(np.float64)
    scaled = centred / np.sqrt((centred**2).sum() / len(centred))
    onehot = np.eye(n_classes)[targets]
    tried = []
    for penalty in PENALTIES:
        scores = np.empty(onehot.shape)
        for fold in np.unique(folds):
            out = folds == fold
            scores[out] = Ridge(alpha=penalty * (~out).sum()).fit(scaled[~out], onehot[~out]).predict(scaled[out])
        tried.append((float(((scores - onehot) ** 2).mean()), scores))
    best = min(tried, key=lambda each: each[0])[1] * 10
    return softmax(best, fit_temperature(best, targets))


@pytest.mark.parametrize(("n_items", "width"), [(200, 12), (60, 150)])
def test_it_is_the_ridge_classifier_refitted_without_each_fold(n_items: int, width: int) -> None:
    features, targets, folds = _data(n_items, width)
    found = ridge_out_of_fold(features, targets, folds, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _brute_force(features, targets, folds, 3), atol=2e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_label_of_an_item_does_not_reach_its_own_scores() -> None:
    features, targets, folds = _data(300, 10)
    changed = targets.copy()
    changed[7] = (changed[7] + 1) % 3
    before, after = (ridge_out_of_fold(features, labels, folds, 3)[7] for labels in (targets, changed))
    # The temperature sees all labels and moves by a hair; the order and the ratios of the logits stay.
    ratios = [np.diff(np.log(each))[0] / np.diff(np.log(each))[1] for each in (before, after)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)


def test_scale_and_origin_of_the_features_do_not_matter() -> None:
    features, targets, folds = _data(150, 8)
    found = ridge_out_of_fold(features, targets, folds, 3)
    np.testing.assert_allclose(ridge_out_of_fold(features * 100 - 30, targets, folds, 3), found, atol=2e-3)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets, folds = _data(150, 8)
    found = ridge_out_of_fold(features, targets, folds, 3)
    monkeypatch.setattr("headstart.auditing.probabilities._ROWS", 7)
    np.testing.assert_allclose(ridge_out_of_fold(features, targets, folds, 3), found, atol=1e-4)


def test_copies_constant_features_and_absent_classes_are_no_obstacle() -> None:
    features, targets, folds = _data(40, 90)
    features[20:] = features[:20]
    assert np.isfinite(ridge_out_of_fold(features, targets, folds, 3)).all()
    constant = ridge_out_of_fold(np.ones((40, 5), np.float32), targets, folds, 5)
    assert np.isfinite(constant).all()
    assert constant[:, 3:].max() < constant[:, :3].min()


def test_half_precision_features_are_read_as_they_are() -> None:
    features, targets, folds = _data(150, 8)
    half = features.astype(np.float16)
    found = ridge_out_of_fold(half, targets, folds, 3)
    np.testing.assert_allclose(found, ridge_out_of_fold(half.astype(np.float32), targets, folds, 3), atol=1e-5)


def test_what_cannot_be_is_refused() -> None:
    features, targets, folds = _data(20, 4)
    with pytest.raises(OptionError, match="one target and one fold for each item"):
        ridge_out_of_fold(features, targets[1:], folds, 3)
    with pytest.raises(OptionError, match="two classes and two folds or more"):
        ridge_out_of_fold(features, targets, np.zeros(20, np.int64), 3)
    with pytest.raises(DataError, match="a target must be from 0 to 1"):
        ridge_out_of_fold(features, targets, folds, 2)
    features[3, 1] = np.nan
    with pytest.raises(DataError, match="those of item 3 are not"):
        ridge_out_of_fold(features, targets, folds, 3)
