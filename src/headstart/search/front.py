"""Which candidates are worth a look when accuracy and cost both count: those that none of the others beats on both."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(accuracies: Sequence[float], costs: Sequence[float | None]) -> list[int]:
    """The positions of those that no other beats: as accurate and as cheap at least, and better in one of the two.

    Equals are on the front together. What has no known cost is not on it, and beats nothing.

    Args:
        accuracies: Higher is better.
        costs: One for each, lower is better; None where it is not known.

    Returns:
        From the cheapest to the most accurate.
    """
    both = enumerate(zip(accuracies, costs, strict=True))
    known = [(cost, -accuracy, place) for place, (accuracy, cost) in both if cost is not None]
    front: list[tuple[float, float, int]] = []
    # The cheapest first and of these the most accurate: what comes later must be more accurate than all before it.
    for each in sorted(known):
        if not front or each[1] < front[-1][1] or each[:2] == front[-1][:2]:
            front.append(each)
    return [place for _, _, place in front]
