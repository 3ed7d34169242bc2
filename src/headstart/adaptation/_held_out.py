"""How held-out items can choose without being judged by their own choice."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from headstart._randomness import generator

SHARES = (1.0, 0.75, 0.5, 0.25)
"""How far from the start, 0, to where training ended, 1, a result may lie."""

_FEWEST = 2  # items of a half


def halves(targets: Int[np.ndarray, " items"], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions of items that choose, and of those that are judged by the choice: each half is once either.

    Args:
        targets: The class of each item; both halves have as many of each, but for one.
        seed: Of the division.

    Returns:
        Two pairs, or none where a half would have a single item.
    """
    order = generator(seed, "halves").permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    one, other = np.sort(order[::2]), np.sort(order[1::2])
    return [(one, other), (other, one)] if len(other) >= _FEWEST else []
