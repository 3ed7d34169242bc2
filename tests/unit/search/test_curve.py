"""The learning curve from features that are there already."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.adaptation.strategies import Linear
from headstart.evaluation.records import LearningCurve
from headstart.search import curve
from headstart.search.candidates import Proposal, try_out
from headstart.search.curve import draw_curve
from search.synthetic import features, spec


def _curve(
    targets: np.ndarray,
    folds: np.ndarray,
    *,
    apart: float = 3.0,
    width: int = 24,
    seed: int = 0,
    units: np.ndarray | None = None,
) -> LearningCurve:
    n_classes = int(targets.max()) + 1
    backbone = spec("a", layers=(("last", width),))
    seen = {"a": features(backbone, targets, apart=apart)}
    tried = try_out(Proposal("last", (backbone,)), seen, targets, folds, make=Linear, n_classes=n_classes, seed=0)
    return draw_curve(tried, seen, targets, folds, n_classes=n_classes, seed=seed, units=units)


def test_more_items_are_better_and_the_last_point_is_the_candidate_itself() -> None:
    targets, folds = np.arange(240) % 3, np.arange(240) // 3 % 5
    drawn = _curve(targets, folds)
    assert [point.n_train for point in drawn.points] == [24, 48, 96, 192]
    assert drawn.points[0].accuracy.value < drawn.points[-1].accuracy.value
    assert [len(point.draws) for point in drawn.points] == [4, 4, 4, 1]
    assert drawn.points[-1].accuracy.n == 240


def test_the_seed_decides_the_draws() -> None:
    targets, folds = np.arange(120) % 3, np.arange(120) // 3 % 5
    first, again, other = (_curve(targets, folds, apart=1.5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.points[0].draws != other.points[0].draws


@pytest.mark.parametrize("n", [4, 6, 10])
def test_a_handful_of_items_gives_fewer_sizes_and_no_claim(n: int) -> None:
    targets, folds = np.arange(n) % 2, np.arange(n) // 2 % 2
    drawn = _curve(targets, folds, width=3)
    sizes = [point.n_train for point in drawn.points]
    assert sizes == sorted(set(sizes))
    assert drawn.gain_of_doubling is None


def test_a_class_of_one_item_does_no_harm() -> None:
    targets = np.append(np.arange(60) % 2, 2)
    folds = np.append(np.arange(60) // 2 % 5, 0)
    assert len(_curve(targets, folds).points) == 4


def test_wide_features_are_measured_on_fewer_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, folds = np.arange(120) % 3, np.arange(120) // 3 % 5
    monkeypatch.setattr(curve, "_MAX_WORK", 1.0)
    drawn = _curve(targets, folds)
    assert {point.accuracy.n for point in drawn.points} == {48}  # two of five folds, whatever it costs


def test_whole_units_are_left_out() -> None:
    targets = np.arange(240) // 10 % 3  # 24 units of 10 items of one class
    units = np.arange(240) // 10
    mask = units // 3 % 4 != 0
    thin = [curve._thinned(mask, targets, units, 0.5, np.random.default_rng(seed)) for seed in range(5)]
    for kept in thin:
        assert set(np.bincount(units[kept], minlength=24)) == {0, 10}
        assert not (kept & ~mask).any()
        assert np.bincount(targets[kept]).tolist() == [30, 30, 30]
    assert any((kept != thin[0]).any() for kept in thin)
    folds = units // 3 % 4
    drawn = _curve(targets, folds, units=units)
    assert [point.n_train for point in drawn.points] == [30, 60, 90, 180]  # 6 units a class: 1, 2, 3 and all
    assert {point.accuracy.n for point in drawn.points} == {24}  # as many as there are units


def test_a_unit_of_several_classes_counts_for_each() -> None:
    targets, units = np.arange(120) % 2, np.arange(120) // 4
    kept = curve._thinned(np.ones(120, dtype=bool), targets, units, 0.5, np.random.default_rng(0))
    assert np.bincount(units[kept]).max() == 4
    assert kept.sum() == 60


def test_copies_do_not_flatten_the_curve() -> None:
    targets, folds = np.arange(60) % 3, np.arange(60) // 3 % 5
    units = np.arange(60).repeat(4)
    drawn = _curve(targets.repeat(4), folds.repeat(4), units=units)
    assert all(point.n_train % 4 == 0 for point in drawn.points)
