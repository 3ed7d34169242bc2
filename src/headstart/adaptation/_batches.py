"""Batches of items, and what they lose before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Int

from headstart.adaptation.memory import Batch, Step, is_too_little

_POOL = 16  # batches


def evenly(rows: Int[np.ndarray, " rows"], most: int) -> list[Int[np.ndarray, " batch"]]:
    """Batches of almost equal size: a last one of a single item has no spread, and BatchNorm fails on it.

    Args:
        rows: Positions of items, in their order.
        most: The greatest size.
    """
    return list(np.array_split(rows, math.ceil(len(rows) / most))) if len(rows) else []


def of_like_length(
    lengths: Int[np.ndarray, " items"], most: int, random: np.random.Generator
) -> list[Int[np.ndarray, " batch"]]:
    """Batches of items in random order that need little padding, in random order.

    Items are sorted within pools of some batches: on sst2 and agnews padding then adds a tenth to the tokens of
    batches of 16, and eight to nine tenths without.

    Args:
        lengths: The tokens of each item, in the random order.
        most: The greatest size of a batch.
        random: For the order of the batches.
    """
    batches = evenly(np.arange(len(lengths)), most)
    found = list[Int[np.ndarray, " batch"]]()
    for first in range(0, len(batches), _POOL):
        sizes = [len(each) for each in batches[first : first + _POOL]]
        pool = np.concatenate(batches[first : first + _POOL])
        found += np.split(pool[np.argsort(lengths[pool], kind="stable")], np.cumsum(sizes)[:-1])
    return [found[place] for place in random.permutation(len(found))]


def losses_now(loss: Callable[[Batch], Step], batches: Sequence[Batch], device: torch.device) -> list[float]:
    """The loss of each batch with the present weights, in as many pieces as the memory asks for.

    Args:
        loss: Of a batch or a piece of one. Its random numbers are the same at every call, and not the caller's.
        batches: Of one item each at least.
        device: Where the loss is computed.

    Raises:
        RuntimeError: If the memory is too small for a single item.
        MemoryError: Likewise.
    """
    found, n_pieces = list[float](), 1
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for batch in batches:
            n_items = len(batch[0])
            while True:
                try:
                    found.append(_mean(loss, batch, min(n_pieces, n_items)))
                    break
                except (RuntimeError, MemoryError) as error:
                    if n_pieces >= n_items or not is_too_little(error):
                        raise
                n_pieces *= 2
    return found


def _mean(loss: Callable[[Batch], Step], batch: Batch, n_pieces: int) -> float:
    pieces = np.array_split(np.arange(len(batch[0])), n_pieces)
    each = [len(rows) * float(loss(tuple(part[rows] for part in batch)).loss) for rows in pieces]
    return sum(each) / len(batch[0])
