"""Passing items on: the curve, its area and the costs against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from headstart._randomness import generator
from headstart.errors import OptionError
from headstart.evaluation.abstention import COSTS, abstains, abstention


def made(n: int, *, seed: int = 0, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of three classes, rounded so that some are equal, and their targets."""
    random = generator(seed, "abstention")
    logits = 2 * random.normal(size=(n, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.minimum((probabilities.cumsum(axis=1) < random.random((n, 1))).sum(axis=1), 2)
    rounded = np.round(probabilities[:, :2], digits)
    return targets, np.column_stack([rounded, 1 - rounded.sum(axis=1)]).clip(0, 1)


@pytest.mark.parametrize("digits", [9, 1])
def test_the_curve_and_its_area_are_those_of_every_threshold(digits: int) -> None:
    targets, probabilities = made(130, digits=digits)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    found = abstention(targets, probabilities)
    for point in found.points:
        answered = confidence >= point.confidence
        assert point.accuracy.n == answered.sum() == round(point.answered * 130)
        assert point.accuracy.value == pytest.approx(right[answered].mean())
        assert point.accuracy.low <= point.accuracy.value <= point.accuracy.high
    assert found.points[-1].answered == 1.0
    risks = [(~right)[confidence >= each].mean() for each in confidence]
    assert found.area.value == pytest.approx(np.mean(risks))
    assert found.area.low <= found.area.value <= found.area.high
    assert len({point.answered for point in found.points}) == len(found.points) > (15 if digits == 9 else 3)


@pytest.mark.parametrize("ask", COSTS)
def test_costs_are_those_of_each_item(ask: float) -> None:
    targets, probabilities = made(150)
    cost = next(each for each in abstention(targets, probabilities).costs if each.ask == ask)
    paid, right, answered = 0.0, 0, 0
    for row, target in zip(probabilities, targets, strict=True):
        if row.max() < 1 - ask:
            paid += ask
        else:
            answered, right = answered + 1, right + int(row.argmax() == target)
            paid += float(row.argmax() != target)
    assert cost.expected.value == pytest.approx(paid / 150)
    assert cost.expected.low <= cost.expected.value <= cost.expected.high
    assert cost.answered.value == answered / 150
    if answered:
        assert cost.accuracy is not None
        assert (cost.accuracy.value, cost.accuracy.n) == (pytest.approx(right / answered), answered)
    assert cost.never == pytest.approx(np.mean(probabilities.argmax(axis=1) != targets))


def test_of_all_thresholds_chows_is_the_cheapest_where_probabilities_are_right() -> None:
    targets, probabilities = made(20_000)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != targets
    for ask in (0.1, 0.3):
        costs = {at: np.where(confidence < at, ask, wrong).mean() for at in np.linspace(0.35, 1, 14)}
        chows = np.where(abstains(probabilities, ask), ask, wrong).mean()
        assert chows <= min(costs.values()) + 0.002


def test_all_right_and_all_equal() -> None:
    found = abstention(np.zeros(30, dtype=np.int64), np.tile([0.96, 0.04], (30, 1)))
    (point,) = found.points
    assert (point.answered, point.accuracy.value) == (1.0, 1.0)
    assert found.area.value == 0.0 < found.area.high  # thirty right ones leave room for errors
    by_cost = {each.ask: each for each in found.costs}
    assert by_cost[0.05].expected.value == 0.0 < by_cost[0.05].expected.high
    assert by_cost[0.02].accuracy is None
    assert by_cost[0.02].answered.value == 0.0
    assert by_cost[0.02].expected.value == pytest.approx(0.02)


def test_one_item_and_a_class_that_the_model_does_not_know() -> None:
    found = abstention(np.array([2]), np.array([[0.7, 0.3]]))
    assert found.points[0].accuracy.value == 0.0
    assert found.area.value == 1.0


def test_groups_widen_the_intervals() -> None:
    targets, probabilities = made(40)
    repeated, copies = np.repeat(probabilities, 5, axis=0), np.repeat(targets, 5)
    groups = [f"g{row // 5}" for row in range(200)]
    alone, together = abstention(copies, repeated), abstention(copies, repeated, groups=groups)
    assert alone.area.value == pytest.approx(together.area.value)
    assert together.area.high - together.area.low > 1.5 * (alone.area.high - alone.area.low)
    wide, narrow = together.costs[2].expected, alone.costs[2].expected
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize("ask", [0.0, 1.0, -0.1, 3.0])
def test_a_cost_lies_between_nothing_and_an_error(ask: float) -> None:
    with pytest.raises(OptionError, match=f"must lie between 0 and 1, the cost of an error, but got {ask:g}"):
        abstains(np.array([[0.5, 0.5]]), ask)
