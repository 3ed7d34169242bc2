"""The gate: distances by brute force, what passes, and what is flagged."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.search.synthetic import spec

from headstart._randomness import generator
from headstart.adaptation.gate import (
    NEIGHBOURS,
    PASSES,
    Gate,
    directions,
    distances,
    held_out_distances,
    thin,
    unit_blocks,
)
from headstart.evaluation.conformal import HeldOut
from headstart.features.extract import Features

WIDTH = 12


def around(n: int, *, seed: int, n_centres: int = 3, far: bool = False) -> np.ndarray:
    """Items around a few centres; the far ones around others."""
    centres = 4 * generator(0, "centres", int(far)).normal(size=(n_centres, WIDTH))
    return centres[np.arange(n) % n_centres] + generator(seed, "around", int(far)).normal(size=(n, WIDTH))


def units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fitted(rows: np.ndarray, folds: np.ndarray) -> Gate:
    held_out = held_out_distances(rows, folds)
    return Gate(("a",), rows, HeldOut.of(held_out).bound(PASSES))


def features(last: np.ndarray) -> dict[str, Features]:
    early = np.full((len(last), 2), 7.0)
    values = np.concatenate([early, last], axis=1).astype(np.float32)
    return {"a": Features(spec("a", layers=(("early", 2), ("last", WIDTH))), values, np.ones(len(last), dtype=bool))}


@pytest.mark.parametrize("n_nearest", [1, 5, 40])
def test_distances_are_the_mean_to_the_nearest(n_nearest: int) -> None:
    rows, known = (units(around(n, seed=n)) for n in (17, 30))
    expected = [np.sort([1 - row @ other for other in known])[:n_nearest].mean() for row in rows]
    np.testing.assert_allclose(distances(rows, known, n_nearest=n_nearest), expected, atol=1e-6)


def test_held_out_distances_are_to_items_of_other_folds() -> None:
    rows = units(around(24, seed=1))
    rows[1] = rows[0]  # a copy, in the same fold
    folds = np.arange(24) // 2 % 3
    found = held_out_distances(rows, folds)
    for row, fold, distance in zip(rows, folds, found, strict=True):
        nearest = np.sort([1 - row @ other for other in rows[folds != fold]])[:NEIGHBOURS]
        assert distance == pytest.approx(nearest.mean(), abs=1e-6)
    assert found[0] > 0.01


def test_each_backbone_has_the_same_say() -> None:
    large, small = 100 * around(9, seed=2), 0.1 * around(9, seed=3)
    rows = unit_blocks([large, small]).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(rows[:, :WIDTH], axis=1), np.sqrt(0.5), atol=1e-3)


def test_only_the_last_layer_is_looked_at() -> None:
    last = around(6, seed=4)
    np.testing.assert_array_equal(directions(features(last), ["a"]), unit_blocks([last.astype(np.float32)]))


def test_new_items_pass_as_often_as_held_out_ones_and_far_ones_do_not() -> None:
    passed = []
    for seed in range(40):
        rows = unit_blocks([around(200, seed=seed)])
        gate = fitted(rows, np.arange(200) // 3 % 5)
        unusual = gate.unusual(features(around(150, seed=1000 + seed)))
        passed.append(1 - unusual.mean())
        assert gate.unusual(features(around(60, seed=seed, far=True))).mean() > 0.9
    # A fifth more references than out-of-fold make new items look a little nearer.
    assert 0.94 <= np.mean(passed) <= 0.985
    low, _ = HeldOut.of(np.arange(200) / 200).band(PASSES, 150)
    assert np.mean(np.array(passed) >= low) >= 0.9


def test_half_precision_and_thinning_change_little() -> None:
    last, targets = around(3000, seed=5), np.arange(3000) % 3
    folds, new = np.arange(3000) // 3 % 5, around(1000, seed=6)
    whole = fitted(unit_blocks([last]), folds)
    fine = distances(units(new), units(last))
    np.testing.assert_allclose(whole.distances(features(new)), fine, atol=2e-3 * whole.threshold)
    some = thin(targets, n_most=1000)
    thinned = fitted(unit_blocks([last[some]]), folds[some])
    assert len(thinned.references) == 1000
    assert np.mean(thinned.unusual(features(new)) == whole.unusual(features(new))) > 0.97
    assert np.mean(thinned.unusual(features(new))) == pytest.approx(0.05, abs=0.02)


def test_thinning_keeps_the_shares_of_classes_and_depends_on_the_seed_alone() -> None:
    targets = np.repeat([0, 1, 2], [600, 300, 100])
    some = thin(targets, n_most=100, seed=3)
    assert np.bincount(targets[some]).tolist() == [60, 30, 10]
    assert np.all(np.diff(some) > 0)
    np.testing.assert_array_equal(some, thin(targets, n_most=100, seed=3))
    assert not np.array_equal(some, thin(targets, n_most=100, seed=4))
    np.testing.assert_array_equal(thin(targets, n_most=5000), np.arange(1000))
