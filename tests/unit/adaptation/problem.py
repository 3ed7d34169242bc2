"""A small training on fixed numbers, with everything on that has a state: for tests that kill it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.adaptation.epochs import Epoch, History, Scores
from headstart.adaptation.loop import Batch, Loop, Step, train
from headstart.adaptation.schedules import cosine, one_cycle

EPOCHS, STEPS = 4, 6
LOOP = Loop(EPOCHS, cosine, clip=1.0, worst_loss=100.0, seed=0)
EVERYTHING = Loop(6, one_cycle, clip=1.0, worst_loss=100.0, seed=0, patience=2, ema=0.9)


class Killed(BaseException):
    """As if the process ended here."""


@dataclass
class Problem:
    """A small network with dropout; every loss may be spoilt, and every step is counted.

    Attributes:
        lr: The highest rate.
        spoil: What becomes of a loss, by the number of the call and how many items it is of.
    """

    lr: float = 0.05
    spoil: Callable[[int, torch.Tensor, int], torch.Tensor] = lambda call, loss, n_items: loss
    n_losses: int = 0

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.network = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 3))
            self.x, self.y = torch.randn(STEPS * 4, 5), torch.randint(3, (STEPS * 4,))
        self.weights = dict(self.network.named_parameters())
        lower, upper = list(self.network[0].parameters()), list(self.network[3].parameters())
        groups = [
            {"params": lower, "lr": self.lr, "peak_lr": self.lr, "weight_decay": 0.0},
            {"params": upper, "lr": self.lr, "peak_lr": self.lr, "weight_decay": 0.1},
        ]
        self.optimiser = torch.optim.AdamW(groups, fused=True)

    def batches(self, epoch: int) -> Sequence[Batch]:
        order = np.random.default_rng(epoch).permutation(len(self.x))
        return [(rows,) for rows in np.split(order, STEPS)]

    def loss(self, batch: Batch) -> Step:
        self.n_losses += 1
        (rows,) = batch
        logits = self.network(self.x[rows])
        value = nn.functional.cross_entropy(logits, self.y[rows])
        return Step(self.spoil(self.n_losses, value, len(rows)), logits.detach().argmax(dim=1), self.y[rows])

    def unfreeze(self, epoch: int) -> None:
        """The lower layer moves from the second epoch on."""
        self.network[0].requires_grad_(epoch > 0)

    def validate(self) -> Scores:
        """A loss of the weights that is lowest in the second epoch of `train_with_everything`, which so ends early."""
        length = sum(float(weight.detach().abs().sum()) for weight in self.weights.values())
        return Scores(abs(length - 14.6))

    def train(self, loop: Loop = LOOP, **options: Any) -> History:
        identity = options.pop("identity", {"items": "a"})
        return train(loop, self.weights, self.optimiser, self.batches, self.loss, identity=identity, **options)

    def train_with_everything(self, file: Path | None = None, **options: Any) -> History:
        """Averages, patience, unfreezing, two groups, dropout, a schedule."""
        return self.train(EVERYTHING, file=file, validate=self.validate, prepare=self.unfreeze, **options)

    def bits(self) -> bytes:
        return b"".join(weight.detach().numpy().tobytes() for weight in self.weights.values())


def numbers(history: History) -> list[Epoch]:
    """What is not a time."""
    return [replace(epoch, seconds=0) for epoch in history.epochs]
