"""How much better the best of several candidates looks out-of-fold than it is.

Where candidates are about equally good, the one that comes out best was lucky too, and its own number holds that luck.
Here the choice is made again without a part of the items, and what it takes is scored on that part, whose luck had no
say (cross-fitting). Of this, single fifths, tenths, halves and the bootstrap (BBC-CV: Tsamardinos, Greasidou and
Borboudakis 2018, arXiv:1708.07180) repeated random fifths were kept, by measurement: `benchmarks/optimism.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart._randomness import generator

N_PARTS = 5
N_ROUNDS = 10

Pick = Callable[[Bool[np.ndarray, " items"]], int]
"""The rule of the choice: from the items that it may look at to the position of the chosen candidate."""


def optimism(
    right: Float[np.ndarray, "candidates items"],
    tested: Bool[np.ndarray, "candidates items"],
    pick: Pick,
    *,
    chosen: int,
    units: Int[np.ndarray, " items"],
    seed: int = 0,
    n_parts: int = N_PARTS,
    n_rounds: int = N_ROUNDS,
) -> float:
    """The share of right predictions that a choice owes to luck, 0 to 1.

    The items are shared out into random parts. For each part the rule chooses on the others, and the accuracy of that
    candidate on the part is taken from the accuracy of the one that was chosen on all items, on the items that both
    were tested on. The mean of these differences is the optimism. A negative one is chance, and 0 is returned.

    Args:
        right: For each candidate how often each item was predicted right out-of-fold, 0 to 1.
        tested: For each candidate which items were predicted.
        pick: The rule; it must be able to choose on any items.
        chosen: The candidate that was chosen on all items.
        units: For each item the number of its unit: items of equal content or of one group, which stay together.
        seed: Of the parts.
        n_parts: How many parts, 2 or more; there are never more than units.
        n_rounds: How often the items are shared out.
    """
    if len(right) == 1:
        return 0.0
    names, members = np.unique(units, return_inverse=True)
    lost, n_scored = 0.0, 0
    for number in range(n_rounds):
        order = generator(seed, "selection bias", number).permutation(len(names))
        parts = (order % min(n_parts, len(names)))[members]
        for part in np.unique(parts):
            own = parts == part
            other = pick(~own)
            both = own & tested[chosen] & tested[other]
            if both.any():
                n_own = int(own.sum())
                lost += n_own * float((right[chosen, both] - right[other, both]).mean())
                n_scored += n_own
    return max(0.0, lost / n_scored) if n_scored else 0.0
