"""The linear head against scikit-learn's LogisticRegression (1.9): the same objective, with C = 1 / l2."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from headstart.adaptation.heads.logistic import cross_validate, fit


def overlapping(n_items: int, width: int, n_classes: int):
    rng = np.random.default_rng(0)
    targets = rng.permutation(np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n_items - n_classes)]))
    features = 0.7 * rng.standard_normal((n_classes, width))[targets] + rng.standard_normal((n_items, width))
    return (features / np.sqrt(width)).astype(np.float32), targets


@pytest.mark.parametrize(("n_items", "width", "n_classes"), [(150, 12, 2), (150, 12, 5), (60, 120, 2), (60, 120, 5)])
@pytest.mark.parametrize("l2", [5.0, 0.1, 0.003])
def test_probabilities_are_those_of_scikit_learn(n_items, width, n_classes, l2):
    features, targets = overlapping(n_items, width, n_classes)
    theirs = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=10_000).fit(features.astype(np.float64), targets)
    ours = softmax(fit(features, targets, l2=l2, n_classes=n_classes).logits(features), axis=1)
    np.testing.assert_allclose(ours, theirs.predict_proba(features), atol=1e-4)


def test_weights_are_those_of_scikit_learn():
    features, targets = overlapping(150, 12, 4)
    weights = np.random.default_rng(1).uniform(0, 2, 150)
    model = LogisticRegression(C=2.0, tol=1e-8, max_iter=10_000)
    theirs = model.fit(features.astype(np.float64), targets, sample_weight=weights).predict_proba(features)
    ours = softmax(fit(features, targets, l2=0.5, n_classes=4, weights=weights).logits(features), axis=1)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(("n_items", "width", "n_classes"), [(200, 10, 2), (90, 150, 6)])
def test_out_of_fold_log_loss_is_that_of_scikit_learn(n_items, width, n_classes):
    features, targets = overlapping(n_items, width, n_classes)
    folds = np.arange(n_items) % 4
    path = cross_validate(features, targets, folds, n_classes=n_classes, strengths=[3.0, 0.3, 0.03])
    for l2, loss in zip(path.strengths, path.log_loss, strict=True):
        probabilities = np.empty((n_items, n_classes))
        for fold in range(4):
            model = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=10_000)
            model.fit(features[folds != fold].astype(np.float64), targets[folds != fold])
            probabilities[folds == fold] = model.predict_proba(features[folds == fold])
        theirs = -np.log(probabilities[np.arange(n_items), targets]).mean()
        # Solved to a gain of 1e-5 per item, and out-of-fold loss is as smooth as the training loss: a few 1e-3.
        assert loss == pytest.approx(theirs, rel=5e-3)
