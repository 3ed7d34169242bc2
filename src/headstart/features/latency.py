"""How long an item takes when a network serves it: alone, and in a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np

from headstart.backbones.backbone import Backbone, Batch
from headstart.data.dataset import Value
from headstart.features._decoder import prepare
from headstart.features._decoding import BATCH

__all__ = ["Latency", "measure_latency"]

_REPEATS = 7
# Of the time, for items that are alone, and for preparing one of them.
_ALONE_SHARE, _READY_SHARE = 0.3, 0.1


@dataclass(frozen=True, slots=True)
class Latency:
    """What one item takes from its file or text to its features: decoding and preprocessing, then the network.

    Attributes:
        alone_ms: Where it is the only one, in milliseconds.
        batch_ms: Its share where 32 go through the network together, in milliseconds; None where that would have taken
            too long to find out.
    """

    alone_ms: float
    batch_ms: float | None


def measure_latency(
    backbone: Backbone, values: Sequence[Value], *, most_s: float, clock: Callable[[], float] = time.perf_counter
) -> Latency | None:
    """Medians of up to seven repeats after a first one that does not count, on some real items in turn.

    Items are prepared one after the other in this process. What a head adds is not in it; it is a small product.

    Args:
        backbone: A network that is loaded.
        values: Items that can be decoded, one at least; texts take as long as they are long, so several are better.
        most_s: What measuring may take, in seconds. One repeat alone is made whatever it takes.
        clock: In seconds.

    Returns:
        None where there was no time for a second repeat.
    """
    begin, image = clock(), backbone.spec.image
    items = list(islice(cycle(values), BATCH))

    def ready(some: Sequence[Value]) -> Batch:
        if image is None:
            return [str(value) for value in some]
        return np.stack([prepare(cast("Path | np.ndarray", value), [image])[0] for value in some])

    turn = cycle(items)
    alone_s = _median_s(lambda: backbone.forward(ready([next(turn)])), _ALONE_SHARE * most_s, clock)
    ready_s = _median_s(lambda: ready([next(turn)]), _READY_SHARE * most_s, clock)
    left_s = begin + most_s - clock()
    if alone_s is None or ready_s is None:
        return None
    # An item of a batch takes no longer than one that is alone, and mostly about half of it.
    if BATCH * (alone_s - ready_s) / 2 > left_s:
        return Latency(1000 * alone_s, None)
    # The content of a picture does not matter to a network, so one that is ready stands for all.
    batch = ready(items) if image is None else np.repeat(ready(items[:1]), BATCH, axis=0)
    batch_s = _median_s(lambda: backbone.forward(batch), left_s, clock)
    return Latency(1000 * alone_s, None if batch_s is None else 1000 * (ready_s + batch_s / BATCH))


def _median_s(run: Callable[[], object], most_s: float, clock: Callable[[], float]) -> float | None:
    """The median of as many repeats as there is time for, in seconds, but for the first; None where it stays alone."""
    begin = before = clock()
    taken: list[float] = []
    while len(taken) <= _REPEATS:
        run()
        now = clock()
        taken.append(now - before)
        # The first one may be slow because it is the first, and says little about the next.
        if now - begin + (taken[-1] if len(taken) > 1 else 0.0) > most_s:
            break
        before = now
    return median(taken[1:]) if len(taken) > 1 else None
