"""How many letters two texts differ by; rapidfuzz is imported here and nowhere else."""

from __future__ import annotations


def edits(first: str, second: str, *, most: int) -> int:
    """Letters to insert, delete, replace or exchange with a neighbour (optimal string alignment distance).

    Args:
        first: One text.
        second: The other text.
        most: Where there are more, one more than this is the answer, which is faster.
    """
    from rapidfuzz.distance import OSA

    return int(OSA.distance(first, second, score_cutoff=most))
