"""Backbones in the order of what they promise."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from headstart.backbones.spec import BackboneSpec, Layer, Source
from headstart.evaluation.records import Difference
from headstart.features.extract import Features
from headstart.selection import ranking as module
from headstart.selection.prior import Prior
from headstart.selection.ranking import RACE_MARGIN, Ranking, rank

TARGETS = np.arange(120) % 3


def _features(
    name: str, last: float, *, early: float = 0.0, n_params: int = 10, gflops: float = 1.0, seed: int = 0
) -> Features:
    """Two layers that tell the classes apart by as many standard deviations."""
    layers = (Layer("early", 3), Layer("last", 8))
    spec = BackboneSpec(name, "image", "timm", name, Source("folder", name), layers, n_params=n_params, gflops=gflops)
    values = np.random.default_rng(seed).normal(size=(120, 11))
    values[:, :3] += early * np.eye(3)[TARGETS]
    values[:, 3:6] += last * np.eye(3)[TARGETS]
    return Features(spec, values.astype(np.float32), np.ones(120, dtype=bool))


def _rank(*given: Features, targets: np.ndarray = TARGETS, priors: Mapping[str, float] | None = None) -> Ranking:
    seen = {each.backbone.name: each for each in given}
    expected = {name: Prior((priors or {}).get(name, 0.0), "made up") for name in seen}
    return rank(seen, targets, seconds={"strong": 2.5}, priors=expected)


def _names(ranking: Ranking) -> list[str]:
    return [each.backbone.name for each in ranking.rows]


def _with_right(monkeypatch: pytest.MonkeyPatch, right: Mapping[float, np.ndarray]) -> None:
    """Leave-one-out that is right on these items, by the first feature."""
    monkeypatch.setattr(module, "loo_right", lambda values, _: right[float(values[0, 0])])
    monkeypatch.setattr(module, "knn_right", lambda values, _: right[float(values[0, 0])])


def _marked(name: str, mark: float, n_items: int, gflops: float = 1.0) -> Features:
    spec = BackboneSpec(name, "image", "timm", name, Source("folder", name), (Layer("last", 1),), 10, gflops=gflops)
    return Features(spec, np.full((n_items, 1), mark, dtype=np.float32), np.ones(n_items, dtype=bool))


def test_the_backbone_that_tells_classes_apart_comes_first() -> None:
    ranking = _rank(_features("weak", 0.0), _features("strong", 5.0))
    first, second = ranking.rows
    assert _names(ranking) == ["strong", "weak"]
    assert first.scores["loo_accuracy"] == first.accuracy.value > 0.95 > 0.6 > second.scores["loo_accuracy"]
    assert first.accuracy.low < first.accuracy.value
    assert first.scores["knn_accuracy"] > second.scores["knn_accuracy"]
    assert (first.tie, second.tie, ranking.chosen.name) == (True, False, "strong")
    assert (first.seconds, second.seconds) == (2.5, 0.0)
    assert first.n_items == second.n_items == 120
    assert ranking.why == "It is ahead of the other 1 on 120 items by more than chance or 2 points."


def test_a_backbone_is_judged_on_the_layer_where_it_does_best_and_of_equals_on_the_last() -> None:
    (early,) = _rank(_features("a", 0.0, early=5.0)).rows
    assert (early.layer, early.accuracy.value > 0.9) == ("early", True)
    (equal,) = _rank(_features("a", 30.0, early=30.0)).rows
    assert equal.layer == "last"


def test_of_ties_the_cheapest_to_run_is_chosen_where_as_much_is_expected_of_it() -> None:
    given = [_features(name, 3.0, gflops=gflops) for name, gflops in (("a", 3.0), ("b", 2.0), ("c", 1.0))]
    ranking = _rank(*given, priors={"a": 0.1, "b": 0.05})
    assert [each.tie for each in ranking.rows] == [True, True, True]
    assert ranking.chosen.name == "c"
    assert ranking.rows[0].backbone.name == "a"
    assert ranking.favourite.backbone.name == "a"
    assert ranking.why == (
        "All 3 are indistinguishable on 120 items; chosen is the cheapest of them to run that should lose nothing "
        "worth its price."
    )


def test_of_ties_one_of_which_more_is_expected_is_worth_its_price_until_the_items_say_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for n_items, chosen in ((50, "dear"), (20_000, "cheap")):
        right = np.arange(n_items) % 10 != 0
        _with_right(monkeypatch, {1.0: right, 2.0: right})
        given = (_marked("cheap", 1.0, n_items, gflops=1.0), _marked("dear", 2.0, n_items, gflops=2.0))
        ranking = _rank(*given, targets=np.arange(n_items) % 2, priors={"dear": 1.0})
        assert [each.tie for each in ranking.rows] == [True, True]
        assert ranking.chosen.name == chosen
    assert _rank(*given, targets=np.arange(n_items) % 2, priors={"dear": 99.0}).chosen.name == "cheap"


def test_the_expected_loss_is_the_posterior_mean_of_a_normal_difference() -> None:
    priors = {"a": Prior(1.0, ""), "b": Prior(0.0, "")}
    measured = Difference(value=0.01, low=0.01 - 1.96 * 0.03, high=0.01 + 1.96 * 0.03, n=100, p_value=0.7)
    # Measured 1 point, give or take 3; expected a tenth of the errors, give or take as much, and 2 points at most.
    for accuracy, points in ((0.9, 0.01), (0.5, 0.02)):
        losses = module._losses({"a": measured, "b": measured}, "a", priors, accuracy=accuracy)
        by_hand = (0.01 / 0.03**2 + points / points**2) / (1 / 0.03**2 + 1 / points**2)
        assert losses == {"a": 0.0, "b": pytest.approx(by_hand)}


def test_one_of_known_cost_is_preferred_and_then_the_smaller_one() -> None:
    unknown = _features("unknown", 3.0, gflops=0.0, n_params=1)
    assert _rank(unknown, _features("known", 3.0, gflops=99.0)).chosen.name == "known"
    assert _rank(_features("large", 3.0, n_params=20), _features("small", 3.0)).chosen.name == "small"


def test_a_cheaper_one_that_is_clearly_behind_is_not_chosen() -> None:
    ranking = _rank(_features("cheap", 0.0, gflops=0.1), _features("a", 5.0), _features("b", 5.0, seed=1))
    assert ranking.chosen.name in {"a", "b"}
    assert ranking.rows[-1].backbone.name == "cheap"
    assert ranking.why.startswith("2 of 3 are indistinguishable")


@pytest.mark.parametrize(("n_worse", "tie"), [(1, True), (2, True), (3, False), (12, False)])
def test_further_behind_than_two_points_is_no_tie_however_few_items_there_are(
    monkeypatch: pytest.MonkeyPatch, n_worse: int, tie: bool
) -> None:
    # Of 100 items one item is one point; errors that lie elsewhere keep the interval around zero.
    best, other = np.ones(100, dtype=bool), np.ones(100, dtype=bool)
    best[:20] = False
    other[20 : 40 + n_worse] = False
    _with_right(monkeypatch, {1.0: best, 2.0: other})
    ranking = _rank(_marked("best", 1.0, 100), _marked("other", 2.0, 100), targets=np.arange(100) % 2)
    assert RACE_MARGIN == 0.02
    assert [each.tie for each in ranking.rows] == [True, tie]


def test_within_two_points_but_beyond_chance_is_no_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    other = np.ones(2000, dtype=bool)
    other[:20] = False  # one point behind, never ahead
    _with_right(monkeypatch, {1.0: np.ones(2000, dtype=bool), 2.0: other})
    ranking = _rank(_marked("best", 1.0, 2000), _marked("other", 2.0, 2000), targets=np.arange(2000) % 2)
    assert [each.tie for each in ranking.rows] == [True, False]


def test_nothing_depends_on_the_order_of_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    # `x` and `y` are equally accurate on different items, and `z` ties with only one of them.
    rights = {name: np.ones(2000, dtype=bool) for name in "xyz"}
    rights["x"][:200] = rights["y"][200:400] = rights["z"][:220] = False
    _with_right(monkeypatch, {float(mark): rights[name] for mark, name in enumerate("xyz")})
    given = [_marked(name, float(mark), 2000) for mark, name in enumerate("xyz")]
    seen = set()
    for order in itertools.permutations(given):
        ranking = _rank(*order, targets=np.arange(2000) % 2)
        seen.add((tuple((each.backbone.name, each.tie) for each in ranking.rows), ranking.chosen.name, ranking.why))
    assert len(seen) == 1


def test_expectation_orders_those_that_score_alike() -> None:
    given = [_features(name, 3.0) for name in "abc"]
    assert _names(_rank(*given, priors={"c": 3.0, "b": 2.0, "a": 1.0})) == ["c", "b", "a"]


def test_a_control_is_not_ranked() -> None:
    ranking = _rank(_features("pixels", 9.0, n_params=0), _features("a", 1.0))
    assert _names(ranking) == ["a"]
    assert ranking.why == "It is the only backbone that was judged on 120 items."


def test_groups_widen_the_interval() -> None:
    features = {"a": _features("a", 1.0)}
    priors = {"a": Prior(0.0, "")}
    groups = [f"patient {row // 12}" for row in range(120)]
    (alone,) = rank(features, TARGETS, seconds={}, priors=priors).rows
    (grouped,) = rank(features, TARGETS, seconds={}, priors=priors, groups=groups).rows
    assert grouped.accuracy.value == alone.accuracy.value
    assert grouped.accuracy.low != alone.accuracy.low


def test_what_went_no_further_stands_below_with_what_was_found_of_it() -> None:
    final, first = _rank(_features("a", 5.0)), _rank(_features("b", 0.0))
    joined = final.followed_by(first.rows)
    assert _names(joined) == ["a", "b"]
    assert joined.rows[1] is first.rows[0]
    assert joined.why.startswith("1 of 2 promised less on a first sample and went no further. It is the only")
    assert final.followed_by([]) is final


@pytest.mark.parametrize("score", ["loo_accuracy", "knn_accuracy"])
def test_scores_on_labels_without_meaning_are_near_chance(score: str) -> None:
    shuffled = np.random.default_rng(3).permutation(TARGETS)
    (only,) = _rank(_features("a", 4.0), targets=shuffled).rows
    assert 0.15 < only.scores[score] < 0.5
