"""The gradients of a batch in pieces, and how a library says that the memory is too small."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from headstart.errors import BackboneError

Batch = tuple[np.ndarray, ...]
"""Arrays with a row for each item."""

_TOO_LITTLE = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


class Step(NamedTuple):
    """What a batch gives.

    Attributes:
        loss: The mean over its items.
        predicted: The class that each item was put into; empty where the loss needs no classes.
        targets: The class of each.
    """

    loss: Float[torch.Tensor, ""]
    predicted: Int[torch.Tensor, " items"]
    targets: Int[torch.Tensor, " items"]


def backward(loss: Callable[[Batch], Step], batch: Batch, n_pieces: int) -> Step:
    """Add the gradients of a batch to those that are there; the graphs are freed, and the loss that is told has none.

    Each piece counts by its items, so that the loss is the mean over the batch in how many pieces soever.

    Args:
        loss: Of a batch or a piece of one.
        batch: One item at least.
        n_pieces: 1 or more; those that would be empty are left out.
    """
    n_items = len(batch[0])
    if n_pieces == 1 or n_items == 1:
        whole = loss(batch)
        whole.loss.backward()  # type: ignore[no-untyped-call]
        return whole._replace(loss=whole.loss.detach())
    done = []
    for rows in np.array_split(np.arange(n_items), min(n_pieces, n_items)):
        step = loss(tuple(each[rows] for each in batch))
        weighted = step.loss * (len(rows) / n_items)
        weighted.backward()  # type: ignore[no-untyped-call]
        done.append(step._replace(loss=weighted.detach()))
    losses, predicted, targets = zip(*done, strict=True)
    return Step(torch.stack(losses).sum(), torch.cat(predicted), torch.cat(targets))


def is_too_little(error: BaseException) -> bool:
    """Whether an error says that memory could not be had.

    Args:
        error: Of PyTorch or NumPy.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _TOO_LITTLE)


@contextlib.contextmanager
def said_plainly(what: str = "to train the backbone, even with one item at a time") -> Iterator[None]:
    """Turn an error that says that memory could not be had into one that says what to do.

    Args:
        what: For what the memory is too small.

    Raises:
        BackboneError: Instead of such an error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_too_little(error):
            raise
        raise BackboneError(
            f"the memory is too small {what}",
            hint="Train fewer stages, take a smaller backbone, or end other programs.",
        ) from error
