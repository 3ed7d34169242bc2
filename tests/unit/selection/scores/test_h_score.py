from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from tests.unit.selection.scores.made import made

from headstart.errors import DataError
from headstart.selection.scores.h_score import h_score


@pytest.mark.parametrize(("n_items", "width"), [(60, 8), (30, 80), (200, 40)])
def test_h_score_is_the_trace_with_scikit_learns_shrunk_covariance(n_items, width):
    features, targets = made(n_items, width, apart=0.5)
    fitted = LedoitWolf().fit(features.astype(np.float64))
    means = np.stack([features[targets == one].mean(axis=0) for one in range(3)])[targets]
    between = np.cov(means.T, bias=True)
    expected = np.trace(np.linalg.solve(fitted.covariance_, (1 - fitted.shrinkage_) * between))
    assert h_score(features, targets) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("n_items", [60, 200, 250])
def test_noise_scores_near_nothing_and_signal_below_its_bound(n_items):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((n_items, 256))
    targets = np.arange(n_items) % 10
    assert h_score(noise, targets) < 1.5  # without shrinkage it is 9 for any features
    signal = h_score(noise + 2 * rng.standard_normal((10, 256))[targets], targets)
    assert 2 * h_score(noise, targets) < signal <= 9


def test_constant_features_are_refused():
    with pytest.raises(DataError, match="features that differ between items"):
        h_score(np.ones((6, 3)), np.arange(6) % 2)
