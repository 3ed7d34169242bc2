"""Neighbours and prototypes against scikit-learn (1.9) on the same metric."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies import Knn, Prototype
from headstart.testing.strategies import Example, example

PARTS = (Part("pixels", "early"), Part("pixels", "last"))
GIVEN = example((40, 30, 20), apart=1.5)


def _scaled(given: Example) -> np.ndarray:
    raw = given.features["pixels"].values
    return Scaling.fit(raw, blocks=[6, 10]).apply(raw).astype(np.float64)


@pytest.mark.parametrize("k", [1, 4, 15])
def test_shares_of_the_vote_are_those_of_scikit_learn(k: int) -> None:
    chosen = Knn(PARTS, k=k).cross_validate(GIVEN.features, GIVEN.targets, GIVEN.folds, n_classes=3)
    # Beside the k votes there is one that is shared by all classes.
    shares = (np.exp(chosen.logits) - 1 / 3) / k
    scaled = _scaled(GIVEN)
    for fold in range(5):
        out = GIVEN.folds == fold
        theirs = KNeighborsClassifier(k, metric="cosine", weights="distance").fit(scaled[~out], GIVEN.targets[~out])
        np.testing.assert_allclose(shares[out], theirs.predict_proba(scaled[out]), atol=1e-4)


def test_the_nearest_mean_is_that_of_scikit_learn() -> None:
    strategy = Prototype(PARTS, shrinkage=0.0)
    chosen = strategy.cross_validate(GIVEN.features, GIVEN.targets, GIVEN.folds, n_classes=3)
    scaled = _scaled(GIVEN)
    units = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    for fold in range(5):
        out = GIVEN.folds == fold
        means = np.stack([units[~out & (GIVEN.targets == target)].mean(axis=0) for target in range(3)])
        theirs = KNeighborsClassifier(1, metric="cosine").fit(means, np.arange(3))
        np.testing.assert_array_equal(chosen.logits[out].argmax(axis=1), theirs.predict(units[out]))
        distances, order = theirs.kneighbors(units[out], n_neighbors=3)
        ours = 1 - np.take_along_axis(chosen.logits[out], order, axis=1) / 10
        np.testing.assert_allclose(ours, distances, atol=1e-5)
