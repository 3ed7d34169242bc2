"""Suggestions: what is unsure and different, what is typical, beside brute force; each item once, by the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.auditing import suggestion as module
from headstart.auditing.suggestion import Picked, pick_typical, pick_unsure, unsureness
from headstart.errors import OptionError


def _rows(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)


def _clouds(sizes: list[int], *, seed: int = 0, spread: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Directions around one axis a cloud, far apart, and the cloud of each."""
    rng = np.random.default_rng(seed)
    cloud = np.repeat(np.arange(len(sizes)), sizes)
    values = np.eye(8)[cloud] + spread * rng.normal(size=(len(cloud), 8))
    order = rng.permutation(len(cloud))
    return _rows(values[order]), cloud[order]


def _pick(way: str, rows: np.ndarray, n: int, seed: int = 0) -> Picked:
    if way == "typical":
        return pick_typical(rows, n, seed=seed)
    return pick_unsure(rows, np.random.default_rng(1).random(len(rows)), n, seed=seed)


def test_unsureness_is_one_less_the_margin_of_the_two_best() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.7, 0.1], [1 / 3, 1 / 3, 1 / 3]])
    assert unsureness(probabilities) == pytest.approx([0, 1, 0.5, 1])
    rng = np.random.default_rng(0)
    many = rng.dirichlet(np.ones(5), size=50)
    ordered = np.sort(many, axis=1)
    assert unsureness(many) == pytest.approx(1 - (ordered[:, -1] - ordered[:, -2]))


def test_of_each_cloud_one_item_and_the_most_unsure_cloud_first() -> None:
    rows, cloud = _clouds([30, 30, 30])
    unsure = np.array([0.1, 0.9, 0.5])[cloud]
    picked = pick_unsure(rows, unsure, 3, seed=0)
    assert cloud[picked.rows].tolist() == [1, 2, 0]
    assert picked.n_alike.tolist() == [30, 30, 30]


def test_it_is_the_item_nearest_to_the_weighted_centre() -> None:
    rows, cloud = _clouds([20, 25], spread=0.2)
    unsure = np.random.default_rng(3).random(45)
    picked = pick_unsure(rows, unsure, 2, seed=0)
    for row in picked.rows.tolist():
        own = np.flatnonzero(cloud == cloud[row])
        centre = np.average(rows[own].astype(np.float64), axis=0, weights=unsure[own])
        assert row == own[((rows[own] - centre) ** 2).sum(axis=1).argmin()]


def test_items_of_which_the_model_is_sure_pull_no_centre() -> None:
    rng = np.random.default_rng(0)
    sure, unsure = np.eye(8)[0] + 0.01 * rng.normal(size=(200, 8)), np.eye(8)[1] + 0.3 * rng.normal(size=(20, 8))
    rows = _rows(np.vstack([sure, unsure]))
    weights = np.repeat([0.0, 1.0], [200, 20])
    picked = pick_unsure(rows, weights, 8, seed=0)
    assert (picked.rows >= 200).sum() >= 7
    assert picked.rows[0] >= 200


def test_the_typical_item_has_the_nearest_neighbours() -> None:
    rows, cloud = _clouds([40, 60, 25], spread=0.2)
    picked = pick_typical(rows, 3, seed=0)
    assert cloud[picked.rows].tolist() == [1, 0, 2]  # the largest cluster first
    assert picked.n_alike.tolist() == [60, 40, 25]
    for row in picked.rows.tolist():
        own = np.flatnonzero(cloud == cloud[row])
        apart = np.linalg.norm(rows[own][:, None].astype(np.float64) - rows[own][None], axis=2)
        mean = np.sort(apart, axis=1)[:, 1:21].mean(axis=1)
        assert mean[own.tolist().index(row)] == pytest.approx(mean.min(), abs=1e-5)


def test_an_outlier_is_not_typical() -> None:
    rows, _ = _clouds([50])
    with_outlier = np.vstack([rows, -rows[:1]])
    assert 50 not in pick_typical(with_outlier, 1, seed=0).rows


@settings(deadline=None, max_examples=30)
@given(
    way=st.sampled_from(["typical", "unsure"]),
    n_items=st.integers(1, 40),
    n=st.integers(1, 50),
    n_different=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_each_item_once_and_as_many_as_there_can_be(
    way: str, n_items: int, n: int, n_different: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # Fewer different rows than clusters leave clusters empty.
    rows = _rows(rng.normal(size=(n_different, 4)))[rng.integers(n_different, size=n_items)]
    picked = _pick(way, rows, n, seed)
    assert len(picked.rows) == len(picked.n_alike) == min(n, n_items)
    assert len(set(picked.rows.tolist())) == len(picked.rows)
    assert picked.n_alike.min() >= 1
    assert set(picked.rows.tolist()) <= set(range(n_items))


def test_items_that_differ_are_preferred_to_copies() -> None:
    rows, cloud = _clouds([1, 1, 1, 60], spread=0.0)
    assert set(cloud[pick_typical(rows, 4, seed=0).rows].tolist()) == {0, 1, 2, 3}
    unsure = np.full(len(rows), 0.7)
    assert set(cloud[pick_unsure(rows, unsure, 4, seed=0).rows].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("way", ["typical", "unsure"])
def test_the_seed_decides(way: str) -> None:
    rows = _rows(np.random.default_rng(0).normal(size=(200, 8)))
    first, again, other = (_pick(way, rows, 10, seed).rows.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_all_are_given_the_most_unsure_first_when_as_many_are_asked_for() -> None:
    rows, _ = _clouds([4])
    picked = pick_unsure(rows, np.array([0.2, 0.9, 0.1, 0.9]), 9, seed=0)
    assert picked.rows.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("way", ["typical", "unsure"])
def test_of_very_many_items_a_part_is_looked_at(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CLUSTERED", 30)
    rows, _ = _clouds([100, 100])
    unsure = np.arange(200) / 200
    picked = pick_unsure(rows, unsure, 5, seed=0) if way == "unsure" else pick_typical(rows, 5, seed=0)
    assert len(picked.rows) == 5
    assert picked.n_alike.sum() == 30
    if way == "unsure":
        assert picked.rows.min() >= 170
    # More are asked for than are looked at otherwise.
    assert len(_pick(way, rows, 40).rows) == 40


@pytest.mark.parametrize("way", ["typical", "unsure"])
@pytest.mark.parametrize("n", [0, -3])
def test_fewer_than_one_are_refused(way: str, n: int) -> None:
    with pytest.raises(OptionError, match=f"at least 1 item must be asked for, but got {n}"):
        _pick(way, _clouds([3])[0], n)
