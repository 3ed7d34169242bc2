"""The front of accuracy against cost."""

from __future__ import annotations

import numpy as np

from headstart.search.front import pareto_front


def _by_definition(accuracies: list[float], costs: list[float | None]) -> set[int]:
    """Compares each with each."""
    both = [(-accuracy, cost) for accuracy, cost in zip(accuracies, costs, strict=True)]

    def beats(one: tuple[float, float | None], other: tuple[float, float | None]) -> bool:
        if one[1] is None or other[1] is None:
            return False
        return one[0] <= other[0] and one[1] <= other[1] and one != other

    return {
        place
        for place, each in enumerate(both)
        if each[1] is not None and not any(beats(other, each) for other in both)
    }


def test_it_is_what_the_definition_says_with_equals_and_unknown_costs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        n = int(rng.integers(1, 12))
        accuracies = rng.integers(0, 5, n).tolist()
        costs = [None if rng.random() < 0.2 else int(cost) for cost in rng.integers(0, 5, n)]
        found = pareto_front(accuracies, costs)
        assert len(set(found)) == len(found)
        assert set(found) == _by_definition(accuracies, costs)


def test_it_goes_from_the_cheapest_to_the_most_accurate() -> None:
    assert pareto_front([0.9, 0.8, 0.85, 0.7], [30.0, 10.0, 20.0, 15.0]) == [1, 2, 0]
    assert pareto_front([], []) == []
