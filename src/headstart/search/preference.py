"""What `prefer` means: how much accuracy is given up for a model that is cheaper to run.

The numbers are explained in docs/decisions/0017-accuracy-against-size.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Preference = Literal["small", "balanced", "accurate"]
PREFERENCES: tuple[Preference, ...] = ("balanced", "small", "accurate")

LEAST_SHARE = 0.01
"""The share of the errors that each doubling of the operations must take away; less is no gain for what it costs."""
MOST_LOSS = 0.03
"""The accuracy that `small` gives up at most."""
MOST_ERRORS = 1.5
"""How many times the errors of the most accurate one `small` accepts."""

_TIE_MARGIN = 0.005
"""Whoever is further behind the most accurate one, and by more than one item, is no tie."""

_FEWEST_ERRORS = 1e-6  # so that the logarithm of none is a number
_ROUNDING = 1e-9


def tie_margin(n_items: int) -> float:
    """How far behind the most accurate one a tie may be, in accuracy (docs/decisions/0008-what-a-tie-is.md).

    Args:
        n_items: That the two are compared on; one of them is no evidence.
    """
    return max(_TIE_MARGIN, 1 / n_items) + _ROUNDING


def doublings(gflops: float, instead_of: float) -> float:
    """How often operations must be doubled to be so many; 0 where they need not, or either number is unknown.

    Args:
        gflops: Billions of multiply–adds for an item; 0 when unknown.
        instead_of: Likewise.
    """
    return math.log2(gflops / instead_of) if gflops > instead_of > 0 else 0.0


def pays(loss: float, instead_of: float, n_doublings: float) -> bool:
    """Whether a smaller loss is worth its operations: each doubling takes away `LEAST_SHARE` of it.

    Args:
        loss: Of what costs more: a share of errors, or nats; 0 or greater.
        instead_of: Of what costs less.
        n_doublings: How often the operations are doubled.
    """
    most: float = instead_of * (1 - LEAST_SHARE) ** n_doublings
    return loss <= most + _ROUNDING


def most_worthwhile(accuracies: Sequence[float], gflops: Sequence[float]) -> int:
    """The one from which no other leads away that pays: neither by more accuracy nor by fewer operations.

    Errors count by their logarithm, and operations by theirs: this is one order for all, so that it does not matter who
    is compared with whom.

    Args:
        accuracies: 0 to 1, of one at least.
        gflops: Billions of multiply–adds for an item; where one of them is unknown, which is 0, they do not count.

    Returns:
        Its position; of equals the first.
    """
    price = -math.log(1 - LEAST_SHARE) if min(gflops) > 0 else 0.0
    losses = [
        math.log(max(1 - accuracy, _FEWEST_ERRORS)) + (price * math.log2(operations) if price else 0.0)
        for accuracy, operations in zip(accuracies, gflops, strict=True)
    ]
    return min(range(len(losses)), key=lambda place: losses[place])


def is_small_loss(accuracy: float, best: float) -> bool:
    """Whether `small` gives up the accuracy of the best one: not too many points, and not too many times the errors.

    Args:
        accuracy: 0 to 1.
        best: The highest of all.
    """
    few_points = best - accuracy <= MOST_LOSS + _ROUNDING
    return few_points and 1 - accuracy <= MOST_ERRORS * (1 - best) + _ROUNDING
