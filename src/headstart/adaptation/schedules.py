"""How the learning rate goes over a training: pure functions of how far it is, so there is no state to keep."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float], float]
"""From the share of the training that is done, in [0, 1], to the share of the highest rate, in [0, 1]."""

_WARM_UP = 0.25
_START = 1 / 25
_CUT = 0.1
_RATIO = 32


def one_cycle(done: float) -> float:
    """Up along a half cosine in the first quarter, from 1/25, then down to 0 (Smith and Topin, 2018).

    Args:
        done: Share of the training, in [0, 1].
    """
    if done < _WARM_UP:
        return _START + (1 - _START) * (1 - _half_cosine(done / _WARM_UP))
    return _half_cosine((done - _WARM_UP) / (1 - _WARM_UP))


def cosine(done: float) -> float:
    """Down along a half cosine, from 1 to 0 (Loshchilov and Hutter, 2017, without restarts).

    Args:
        done: Share of the training, in [0, 1].
    """
    return _half_cosine(done)


def slanted_triangular(done: float) -> float:
    """Straight up in the first tenth, straight down after it, never below 1/32 (Howard and Ruder, 2018).

    Args:
        done: Share of the training, in [0, 1].
    """
    height = done / _CUT if done < _CUT else (1 - done) / (1 - _CUT)
    return (1 + height * (_RATIO - 1)) / _RATIO


def _half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


SCHEDULES: dict[str, Schedule] = {"one_cycle": one_cycle, "cosine": cosine, "slanted_triangular": slanted_triangular}
"""By name."""
