"""Fronts and alternatives in the record."""

from __future__ import annotations

from dataclasses import replace

import pytest
from search.synthetic import candidate, right

from headstart.recipes.tradeoffs import alternatives, with_fronts
from headstart.reports.record import CandidateRecord, CostRecord, OofRecord
from headstart.search.candidates import Candidate


def record(of: Candidate, ms: float | None, mb: float, n_params: int) -> CandidateRecord:
    """What is written of a candidate."""
    return CandidateRecord(
        *(of.proposal.backbones[0].name, "linear", {}, OofRecord(of.accuracy, of.log_loss), 1.0, n_params, ms),
        costs=CostRecord(n_params, mb, None if ms is None else 2 * ms, None),
        expected_accuracy=of.accuracy.value,
    )


TRIED = [
    candidate(right(400, 320), name="tiny"),
    candidate(right(400, 360), name="middle"),
    candidate(right(400, 340), name="old"),
    candidate(right(400, 368), name="large"),
]
RECORDS = with_fronts(
    [
        record(each, *costs)
        for each, costs in zip(TRIED, [(5.0, 4.0, 10), (10.0, 8.0, 20), (20.0, 2.0, 40), (40.0, 32.0, 80)], strict=True)
    ]
)


def test_there_is_a_front_for_each_cost() -> None:
    assert [each.fronts for each in RECORDS] == [
        ("latency", "parameters"),
        ("latency", "size", "parameters"),
        ("size",),
        ("latency", "size", "parameters"),
    ]


def test_a_time_that_one_of_them_lacks_gives_no_front() -> None:
    lacking = [replace(RECORDS[0], ms_per_item=None, costs=CostRecord(10, 4.0, None, None)), *RECORDS[1:]]
    assert not any("latency" in each.fronts for each in with_fronts(lacking))


def test_where_an_item_alone_was_not_measured_for_all_the_pace_of_passes_counts() -> None:
    costs = RECORDS[0].costs
    assert costs is not None
    lacking = [replace(RECORDS[0], costs=replace(costs, latency_ms=None)), *RECORDS[1:]]
    assert [each.fronts for each in with_fronts(lacking)] == [each.fronts for each in RECORDS]


def test_alternatives_say_what_is_lost_and_gained() -> None:
    found = alternatives(TRIED, RECORDS, chosen=1)
    assert [each.candidate for each in found] == [3, 2, 0]
    assert found[0].difference.value == pytest.approx(0.02)
    assert found[0].sentence.startswith("large · last: +2.0 points out-of-fold (+0.")
    assert found[0].sentence.endswith("), 4 times the time, 4 times the size, 4 times the parameters.")
    assert found[2].sentence.endswith("), 0.5 times the time, 0.5 times the size, 0.5 times the parameters.")


def test_nobody_is_offered_what_the_limits_forbid() -> None:
    found = alternatives(TRIED, RECORDS, chosen=1, allowed=[True, True, True, False])
    assert [each.candidate for each in found] == [2, 0]


def test_of_one_network_only_the_most_accurate_alternative_is_named() -> None:
    twins = (RECORDS[0], replace(RECORDS[0], fronts=("size",)), RECORDS[3])
    assert [each.candidate for each in alternatives([TRIED[0], TRIED[0], TRIED[3]], twins, chosen=2)] == [0]


def test_what_is_on_no_front_or_costs_the_same_is_no_alternative() -> None:
    assert alternatives(TRIED[:1] * 2, with_fronts(RECORDS[:1] * 2), chosen=0) == ()
    beaten = with_fronts([RECORDS[1], replace(RECORDS[3], expected_accuracy=0.1)])
    assert alternatives([TRIED[1], TRIED[3]], beaten, chosen=0) == ()
