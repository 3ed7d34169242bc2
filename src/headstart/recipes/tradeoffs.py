"""Accuracy against cost: which candidates are on a front, and what the others there would bring and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headstart.reports.record import COSTS, AlternativeRecord, CandidateRecord, serving_ms
from headstart.search.choice import AnyCandidate, ahead_of, names
from headstart.search.combine import Combination
from headstart.search.front import pareto_front

_MOST_SHOWN = 4
_AS_MUCH = 0.05  # a ratio nearer to 1 than this is not worth a word


def with_fronts(candidates: Sequence[CandidateRecord]) -> tuple[CandidateRecord, ...]:
    """Candidates with the fronts on which each is.

    Args:
        candidates: With costs and expected accuracy, one at least.
    """
    accuracies = [0.0 if each.expected_accuracy is None else each.expected_accuracy for each in candidates]
    by_cost: dict[str, Sequence[float | None]] = {
        "latency": serving_ms(candidates) or [None for _ in candidates],
        "size": [None if each.costs is None else each.costs.size_mb for each in candidates],
        "parameters": [None if each.costs is None else each.costs.n_params for each in candidates],
    }
    fronts = {name: set(pareto_front(accuracies, by_cost[name])) for name in COSTS}
    return tuple(
        replace(each, fronts=tuple(name for name in COSTS if place in fronts[name]))
        for place, each in enumerate(candidates)
    )


def alternatives(
    tried: Sequence[AnyCandidate | Combination],
    candidates: Sequence[CandidateRecord],
    *,
    chosen: int,
    allowed: Sequence[bool] | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[AlternativeRecord, ...]:
    """What else is on a front, at another cost: the four that come nearest to the chosen one in accuracy.

    Of those on the same networks there is only the most accurate one.

    Args:
        tried: The candidates.
        candidates: Their records, with fronts, in the same order.
        chosen: The position of the one that became the model.
        allowed: Which of them the user's limits and strategies allow; None for all. Nobody is offered the others.
        groups: For each item what it belongs with.

    Returns:
        The most accurate first.
    """
    single = [each for each in tried if not isinstance(each, Combination)]
    found = []
    for place, (each, record) in enumerate(zip(tried, candidates, strict=True)):
        if place == chosen or not record.fronts or (allowed is not None and not allowed[place]):
            continue
        called = each.name if isinstance(each, Combination) else names([each], single)[0]
        if words := _against(record, candidates[chosen]):
            difference = ahead_of(each, tried[chosen], groups)
            points = f"{100 * difference.value:+.1f} points out-of-fold"
            within = f"({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
            sentence = f"{called}: {points} {within}, {', '.join(words)}."
            found.append(AlternativeRecord(place, difference, sentence))
    best: dict[str, AlternativeRecord] = {}
    for alternative in sorted(found, key=lambda each: -each.difference.value):
        best.setdefault(candidates[alternative.candidate].backbone, alternative)
    nearest = sorted(best.values(), key=lambda each: abs(each.difference.value))[:_MOST_SHOWN]
    return tuple(sorted(nearest, key=lambda each: -each.difference.value))


def _against(record: CandidateRecord, chosen: CandidateRecord) -> list[str]:
    """How many times what the chosen one costs, for each cost in which they differ."""
    times = serving_ms([record, chosen])
    pairs: list[tuple[str, float, float]] = [("the time", times[0], times[1])] if times else []
    if record.costs is not None and chosen.costs is not None:
        pairs += [
            ("the size", record.costs.size_mb, chosen.costs.size_mb),
            ("the parameters", record.costs.n_params, chosen.costs.n_params),
        ]
    ratios = [(what, own / other) for what, own, other in pairs if other > 0]
    return [f"{ratio:.2g} times {what}" for what, ratio in ratios if abs(ratio - 1) >= _AS_MUCH]
