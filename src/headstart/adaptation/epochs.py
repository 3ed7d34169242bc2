"""What a training did, epoch by epoch: records that need no torch, so that a page can show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

TIMELY = 0.95
"""The share of the time that is left which a training plans its epochs for."""

OnHeldOut = Callable[[Float[np.ndarray, " some"]], None]
"""Told after an epoch, before its record is, what some of the held-out items lose: each in nats, with the best
temperature for all of them. They are the same items after each epoch, and in each training with these items and seed.
"""


class GiveUp(BaseException):
    """Raised by who is told of epochs, to end a training of which nothing is to be kept.

    It is no error, so nothing that handles errors takes it for one. Whoever trains removes what it has kept to go on
    from, and lets it pass.
    """


@dataclass(frozen=True, slots=True)
class Scores:
    """How good a network is on some items.

    Attributes:
        loss: The mean, in nats.
        accuracy: Share of right predictions; None, like the three that follow, where a loss needs no classes.
        precision: Mean over the classes that were predicted or present; a class that was never predicted counts as 0.
        recall: Mean over the same classes; a class that was not present counts as 0.
        f1: Mean over the same classes.
    """

    loss: float
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


@dataclass(frozen=True, slots=True)
class Epoch:
    """What happened in one epoch.

    Attributes:
        number: From 1.
        train: On the items that were trained on, each before its own step, with dropout, smoothing and penalties.
        validation: On items that are held out; None without such.
        lr: The highest rate in the last step: that of the head.
        lowest_lr: The lowest one in the last step: that of the lowest stage.
        gradient_norm: Mean over its steps, before clipping.
        seconds: Of its steps.
        pieces: In how many pieces each batch was computed; more than 1 after the memory was too small for it.
    """

    number: int
    train: Scores
    validation: Scores | None
    lr: float
    lowest_lr: float
    gradient_norm: float
    seconds: float
    pieces: int = 1


DIVERGED = "diverged again"
"""How a training ended whose rate was too high the second time too."""
CUT = "for want of time"
"""How one ended that had no time for all epochs."""
CUT_OFF = "by the deadline"
"""How one ended in the middle of an epoch."""


@dataclass(frozen=True, slots=True)
class History:
    """What a training did.

    Attributes:
        epochs: One record for each that was finished.
        ended: Why it ended, in a sentence.
        kept: The number of the epoch whose weights were kept; 0 for those from before the first.
        notes: What went wrong or was remarkable on the way, one sentence each.
    """

    epochs: tuple[Epoch, ...]
    ended: str
    kept: int = 0
    notes: tuple[str, ...] = ()

    @property
    def diverged(self) -> bool:
        """Whether it was given up for a loss that had diverged again."""
        return DIVERGED in self.ended

    @property
    def cut(self) -> bool:
        """Whether there was no time for all of its epochs."""
        return CUT in self.ended or CUT_OFF in self.ended


def scores(loss: float, predicted: Int[np.ndarray, " items"], targets: Int[np.ndarray, " items"]) -> Scores:
    """Accuracy, and precision, recall and F1 as means over classes.

    Args:
        loss: The mean loss, in nats.
        predicted: The class that each item was put into; empty where a loss needs no classes.
        targets: The class of each.
    """
    if not len(predicted):
        return Scores(loss)
    n_classes = int(max(predicted.max(), targets.max())) + 1
    said, there = np.bincount(predicted, minlength=n_classes), np.bincount(targets, minlength=n_classes)
    hits = np.bincount(targets[predicted == targets], minlength=n_classes)
    counts = said + there > 0
    precision, recall, f1 = (
        float(np.mean((hits / np.maximum(1, whole))[counts])) for whole in (said, there, (said + there) / 2)
    )
    return Scores(loss, float(hits.sum() / len(targets)), precision, recall, f1)
