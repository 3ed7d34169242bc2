"""Sides from one source raise no alarm, others do, and what belongs together does not give them away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.linear_model import Ridge

from headstart.auditing import shift
from headstart.auditing.shift import Side, label_shift, quantity_shifts, shift_findings, sides_apart
from headstart.errors import DataError, OptionError


def _side(name: str, n_items: int = 80, moved: float = 0.0, seed: int = 0, width: int = 10) -> Side:
    features = np.random.default_rng(seed).normal(size=(n_items, width)).astype(np.float32)
    features[:, 0] += moved
    return Side(name, [f"{name}{row}" for row in range(n_items)], features)


def _two(moved: float = 0.0, seed: int = 0, n_items: int = 80) -> tuple[Side, Side]:
    return _side("training", n_items, seed=2 * seed), _side("test", n_items, moved, seed=2 * seed + 1)


def test_the_p_value_is_uniform_without_a_shift() -> None:
    found = [sides_apart(*_two(seed=seed, n_items=40), seed=seed) for seed in range(150)]
    values = np.array([each.p_value for each in found if each is not None])
    assert len(values) == 150
    assert (values < 0.01).mean() <= 0.04
    assert (values < 0.1).mean() <= 0.17
    assert 0.4 < values.mean() < 0.6


def test_a_shift_is_told_with_its_size_and_the_items_that_show_it() -> None:
    first, second = _two(moved=3)
    (finding,) = shift_findings(first, second)
    assert (finding.kind, finding.severity) == ("shift_between_sides", "serious")
    assert "tells the training side from the test side on 9" in finding.summary
    apart = sides_apart(first, second)
    assert apart is not None
    assert apart.p_value == 1 / 500
    assert finding.examples[0].items == (second.names[apart.unlike_first[0]],)
    # Those that moved farthest come first, those of the other side that are farthest from it too.
    assert second.features[apart.unlike_first[:10], 0].mean() > second.features[:, 0].mean() + 0.5
    assert first.features[apart.unlike_second[:10], 0].mean() < first.features[:, 0].mean() - 0.5
    assert sorted(apart.unlike_first) == list(range(80))


def test_another_data_set_is_called_so() -> None:
    (finding,) = shift_findings(*_two(moved=3), against=True)
    assert finding.kind == "shift_against"
    assert "label some of it" in finding.advice


def test_severity_follows_the_size_not_the_p_value() -> None:
    small, large = (next(iter(shift_findings(*_two(moved=by, n_items=600)))) for by in (0.5, 4))
    assert (small.severity, large.severity) == ("info", "serious")


def test_scores_are_those_of_a_refitted_ridge() -> None:
    random = np.random.default_rng(0)
    features, sides = random.normal(size=(60, 7)), np.repeat([-1.0, 1.0], 30)
    folds = np.arange(60) % 5
    scaled = features - features.mean(axis=0)
    scaled /= np.sqrt((scaled**2).sum() / 60)
    expected = np.empty(60)
    for fold in range(5):
        out = folds == fold
        ridge = Ridge(alpha=shift._PENALTY * (~out).sum()).fit(scaled[~out], sides[~out])
        expected[out] = ridge.predict(scaled[out]) - ridge.predict(scaled[~out].mean(axis=0, keepdims=True))
    found = shift._smoother(features.astype(np.float32), folds) @ sides
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_groups_do_not_look_like_a_shift() -> None:
    random = np.random.default_rng(0)
    alarms = lone = 0
    for seed in range(20):
        centres = random.normal(size=(16, 10)) * 3
        sides = []
        for number, name in enumerate(("training", "test")):
            group = np.arange(80) % 8 + 8 * number
            features = (centres[group] + random.normal(size=(80, 10)) * 0.3).astype(np.float32)
            sides.append(Side(name, [str(row) for row in range(80)], features, units=[f"g{each}" for each in group]))
        grouped = sides_apart(*sides, seed=seed)
        assert grouped is None  # too few groups to say anything
        alone = sides_apart(*(replace(side, units=None) for side in sides), seed=seed)
        assert alone is not None
        lone += alone.p_value < 0.01
        many = [replace(side, units=[f"{side.name}{row // 4}" for row in range(80)]) for side in _two(seed=seed)]
        found = sides_apart(*many, seed=seed)
        assert found is not None
        alarms += found.p_value < 0.01
    assert lone >= 15
    assert alarms <= 1


def test_copies_across_the_sides_say_nothing() -> None:
    first, second = _two()
    copied = np.concatenate([first.features[:40], second.features[40:]])
    units = [f"u{row}" for row in range(80)]
    others = [f"u{row}" if row < 40 else f"v{row}" for row in range(80)]
    found = sides_apart(replace(first, units=units), replace(second, features=copied, units=others))
    assert found is not None
    assert found.p_value > 0.05
    assert sides_apart(replace(first, units=units), replace(first, name="test", units=units)) is None


def test_equal_scores_favour_neither_side() -> None:
    first, second = (replace(side, features=np.ones((80, 3), np.float32)) for side in _two())
    found = [sides_apart(first, second, seed=seed) for seed in range(20)]
    values = [each.p_value for each in found if each is not None]
    assert len(values) == 20
    assert min(values) > 0.01
    assert 0.3 < np.mean(values) < 0.7


def test_few_items_say_nothing_and_the_same_seed_the_same() -> None:
    assert sides_apart(_side("training", 80), _side("test", 12)) is None
    first, second = (sides_apart(*_two(moved=1), seed=3) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.p_value, first.accuracy) == (second.p_value, second.accuracy)


def test_large_sides_are_sampled() -> None:
    found = sides_apart(_side("training", 3000), _side("test", 700, seed=1))
    assert found is not None
    assert found.accuracy.n == 1000
    assert len(found.unlike_second) == 500
    assert found.unlike_second.max() > 600


def test_quantities_that_differ_are_named_with_their_medians() -> None:
    random = np.random.default_rng(0)
    first, second = _two()
    same = {"width": random.normal(size=80), "gap": np.full(80, np.nan)}
    first = replace(first, quantities={**same, "brightness": random.normal(size=80)})
    second = replace(second, quantities={**same, "brightness": random.normal(size=80) + 2, "only here": np.ones(80)})
    (found,) = quantity_shifts(first, second)
    assert (found.name, found.distance > 0.5) == ("brightness", True)
    (finding,) = shift_findings(first, second)
    assert finding.severity == "info"
    assert f"brightness (median {found.medians[0]:.4g} against {found.medians[1]:.4g})" in finding.summary


def test_label_shift_is_the_chi_squared_test() -> None:
    first, second = np.repeat([0, 1, 2], [50, 30, 20]), np.repeat([0, 1, 2], [20, 30, 50])
    found = label_shift(first, second, 4)
    assert found.variation == pytest.approx(0.3)
    assert found.p_value == pytest.approx(chi2_contingency([[50, 30, 20], [20, 30, 50]]).pvalue, rel=1e-9)


def test_small_counts_are_tested_exactly() -> None:
    first, second = np.array([0] * 4 + [1]), np.array([0] + [1] * 4)
    # Fisher's hypergeometric tables of five and five: those as far apart as 4/1 against 1/4, or farther.
    assert label_shift(first, second, 2).p_value == pytest.approx(52 / 252, abs=0.06)
    assert label_shift(np.zeros(5, int), np.zeros(5, int), 2).p_value == 1.0


def test_no_label_shift_is_told_for_random_sides() -> None:
    told = 0
    for seed in range(200):
        labels = np.random.default_rng(seed).choice(6, size=120, p=[0.5, 0.2, 0.1, 0.1, 0.06, 0.04])
        told += label_shift(labels[:60], labels[60:], 6, seed=seed).p_value < 0.01
    assert told <= 6


def test_a_label_shift_names_the_classes() -> None:
    first, second = _two(n_items=100)
    first = replace(first, labels=np.repeat([0, 1, 2], [60, 30, 10]))
    second = replace(second, labels=np.repeat([0, 1, 2], [10, 30, 60]))
    (finding,) = shift_findings(first, second, classes=("cat", "dog", "hen"))
    assert (finding.kind, finding.severity) == ("label_shift_between_sides", "warning")
    assert finding.items[:2] in {("cat", "hen"), ("hen", "cat")}
    assert "'cat' 10% against 60%" in finding.summary or "'cat' 60% against 10%" in finding.summary


def test_what_cannot_be_is_refused() -> None:
    first, second = _two()
    with pytest.raises(OptionError, match="of the same width"):
        list(shift_findings(first, _side("test", width=3)))
    with pytest.raises(OptionError, match="for each of the 80 items of the training side"):
        list(shift_findings(replace(first, units=["a"]), second))
    broken = replace(second, features=np.full((80, 10), np.nan, np.float32))
    with pytest.raises(DataError, match="must be finite"):
        list(shift_findings(first, broken))
