"""TransRate, GBC, PARC, SFDA, LEEP, NCE and NLEEP, each against a plain implementation of its formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from tests.unit.selection.scores.made import made, unit_scale

from headstart.errors import DataError
from headstart.selection.scores import parc as parc_module
from headstart.selection.scores.gbc import gbc
from headstart.selection.scores.leep import leep
from headstart.selection.scores.nce import nce
from headstart.selection.scores.nleep import nleep
from headstart.selection.scores.parc import parc
from headstart.selection.scores.sfda import sfda
from headstart.selection.scores.transrate import transrate


@pytest.mark.parametrize(("n_items", "width"), [(60, 8), (45, 40)])
def test_transrate_is_the_difference_of_coding_rates(n_items, width):
    features, targets = made(n_items, width)
    scaled = unit_scale(features)

    def rate(items):
        return 0.5 * np.linalg.slogdet(np.eye(width) + items.T @ items / (len(items) * 1e-4))[1]

    expected = rate(scaled) - np.mean([rate(scaled[targets == one]) for one in range(3)])
    assert transrate(features, targets) == pytest.approx(expected, rel=1e-6)


def test_transrate_is_not_defined_with_fewer_items_than_dimensions():
    with pytest.raises(DataError, match="more items than dimensions, but there are 30 and 30"):
        transrate(*made(30, 30))


@pytest.mark.parametrize(("n_items", "width"), [(60, 8), (200, 90), (20, 50)])
def test_gbc_is_minus_the_overlap_of_full_gaussians(n_items, width):
    features, targets = made(n_items, width, apart=0.2)
    items = PCA(min(64, n_items - 1, width), svd_solver="full").fit_transform(features.astype(np.float64))
    size = items.shape[1]
    overlap = 0.0
    for one, two in itertools.permutations(range(3), 2):
        of_one, of_two = items[targets == one], items[targets == two]
        covariances = [np.eye(size) * of.var(axis=0).mean() for of in (of_one, of_two)]
        middle = (covariances[0] + covariances[1]) / 2
        apart = of_one.mean(axis=0) - of_two.mean(axis=0)
        logs = [np.linalg.slogdet(covariance)[1] for covariance in (middle, *covariances)]
        distance = apart @ np.linalg.solve(middle, apart) / 8 + (logs[0] - (logs[1] + logs[2]) / 2) / 2
        overlap += np.exp(-distance)
    assert gbc(features, targets) == pytest.approx(-overlap, rel=1e-5)


def test_gbc_needs_spread_in_each_class():
    features, _ = made(10, 4)
    with pytest.raises(DataError, match="2 items or more for its variance, but 1 of 3 have fewer, the smallest 1"):
        gbc(features, np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 2]))
    features[:5] = features[0]
    with pytest.raises(DataError, match="items of 1 of 2 classes are alike"):
        gbc(features, np.arange(10) // 5)


@pytest.mark.parametrize(("n_items", "width"), [(60, 8), (50, 60)])
def test_parc_is_the_rank_correlation_of_the_distances(n_items, width):
    features, targets = made(n_items, width)
    n_components = min(32, width)
    items = PCA(n_components, whiten=True, svd_solver="full").fit_transform(features.astype(np.float64))
    # The correlation along a row depends on the signs of the axes: each axis has its largest item on the positive side.
    items *= np.sign(items[np.abs(items).argmax(axis=0), np.arange(n_components)])
    pairs = np.triu_indices(n_items, 1)
    # Rounded, because what differs by rounding only is a tie.
    distances = [(1 - np.corrcoef(rows))[pairs].round(9) for rows in (items, np.eye(3)[targets])]
    assert parc(features, targets) == pytest.approx(spearmanr(*distances).statistic, abs=1e-6)


def test_parc_of_a_sample_is_near_that_of_all(monkeypatch):
    features, targets = made(900, 40, 5)
    whole = parc(features, targets)
    monkeypatch.setattr(parc_module, "_MOST_ITEMS", 500)
    sampled = parc(features, targets)
    assert sampled != whole
    assert sampled == pytest.approx(whole, abs=0.03)
    assert whole > 0.2


def test_parc_needs_three_components():
    with pytest.raises(DataError, match="3 principal components to correlate, but these have 2"):
        parc(*made(20, 2))


@pytest.mark.parametrize(("n_items", "width", "apart"), [(60, 8, 0.5), (30, 80, 1.0), (60, 8, 0.0)])
def test_sfda_is_its_formula_with_full_matrices(n_items, width, apart):
    features, targets = made(n_items, width, apart=apart)
    items = unit_scale(features)
    shares = np.bincount(targets) / n_items

    def discriminant(items, shrinkage):
        means = np.stack([items[targets == one].mean(axis=0) for one in range(3)])
        within = sum(shares[one] * np.cov(items[targets == one].T, bias=True) for one in range(3))
        if shrinkage is None:
            shrinkage = np.exp(-5 * np.linalg.eigvalsh(within)[-1])
        shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / width * np.eye(width)
        inverse = np.linalg.inv(shrunk)
        scores = np.exp([[x @ inverse @ m - m @ inverse @ m / 2 for m in means] for x in items]) * shares
        return scores / scores.sum(axis=1, keepdims=True), means, shrinkage

    posterior, means, shrinkage = discriminant(items, None)
    mixed = np.empty_like(items)
    for item, target in enumerate(targets):
        others = np.mean([means[one] for one in range(3) if one != target], axis=0)
        mixed[item] = posterior[item, target] * items[item] + (1 - posterior[item, target]) * others
    again, _, _ = discriminant(mixed, shrinkage)
    assert sfda(features, targets) == pytest.approx(again[np.arange(n_items), targets].mean(), abs=1e-5)


def test_sfda_needs_spread_within_classes():
    with pytest.raises(DataError, match="items of one class that differ"):
        sfda(np.eye(3)[np.arange(9) % 3], np.arange(9) % 3)


def test_leep_and_nce_are_their_sums():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(6, 0.3), 40).astype(np.float32)
    probabilities[:, 4] = 0  # a source class that nothing belongs to
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    targets = np.arange(40) % 3
    joint = np.array([[probabilities[targets == y, z].sum() / 40 for z in range(6)] for y in range(3)])
    logs = [
        np.log(sum(joint[y, z] / joint[:, z].sum() * row[z] for z in range(6) if z != 4))
        for row, y in zip(probabilities.astype(np.float64), targets, strict=True)
    ]
    assert leep(probabilities, targets) == pytest.approx(np.mean(logs), abs=1e-6)
    decided = probabilities.argmax(axis=1)
    entropy = 0.0
    for z in np.unique(decided):
        shares = np.bincount(targets[decided == z]) / (decided == z).sum()
        entropy -= (decided == z).mean() * sum(share * np.log(share) for share in shares if share > 0)
    assert nce(probabilities, targets) == pytest.approx(-entropy, abs=1e-9)


def test_source_classes_that_are_the_targets_score_best_and_those_that_know_nothing_score_chance():
    targets = np.arange(30) % 3
    sure = np.eye(3, dtype=np.float32)[(targets + 1) % 3]
    for score in (leep, nce):
        assert score(sure, targets) == pytest.approx(0, abs=1e-9)
        assert score(np.full((30, 4), 0.25, np.float32), targets) == pytest.approx(-np.log(3), abs=1e-9)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full((4, 2), 0.7), r"rows from 0 to 1 that sum to 1, but the least is 0.7 and the sums go from 1.4 to 1.4"),
        (np.array([[1.5, -0.5]] * 4), r"the least is -0.5"),
    ],
)
@pytest.mark.parametrize("score", [leep, nce])
def test_source_scores_refuse_what_is_no_probability(score, rows, message):
    with pytest.raises(DataError, match=message):
        score(rows, np.arange(4) % 2)


def test_nleep_of_clusters_that_are_classes_is_nothing_and_of_noise_near_chance():
    features, targets = made(150, 6, apart=40)
    assert nleep(features, targets) == pytest.approx(0, abs=1e-6)
    noise = made(600, 6, apart=0)[0]
    score = nleep(noise, np.arange(600) % 3)
    assert -np.log(3) - 0.01 < score < -0.9
    assert nleep(noise, np.arange(600) % 3) == score
    assert nleep(noise, np.arange(600) % 3, seed=1) != score


def test_nleep_needs_items_for_its_gaussians():
    with pytest.raises(DataError, match="fits 15 Gaussians to 3 classes and needs 2 items for each, but there are 29"):
        nleep(*made(29, 4))
