"""The training loop: one plain function, and one for an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from headstart._randomness import generator
from headstart.adaptation.checkpoint import Position, read, restore, snapshot, write
from headstart.adaptation.epochs import Epoch, History, Scores, scores
from headstart.adaptation.schedules import Schedule

Batch = tuple[np.ndarray, ...]
"""Arrays with a row for each item."""

_LOWER = 0.1


@dataclass(frozen=True, slots=True)
class Loop:
    """What a loop is told about a training.

    Attributes:
        epochs: How many.
        schedule: How the rate goes.
        clip: The longest gradient; a longer one is shortened to it.
        worst_loss: The mean loss of an epoch above which the training has diverged.
        seed: Of dropout.
    """

    epochs: int
    schedule: Schedule
    clip: float
    worst_loss: float
    seed: int


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


def train(
    loop: Loop,
    weights: Mapping[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    batches: Callable[[int], Sequence[Batch]],
    loss: Callable[[Batch], Step],
    *,
    identity: dict[str, str],
    file: Path | None = None,
    validate: Callable[[], Scores] | None = None,
    deadline: float | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train in place; killed at any time and started again, the end is the same to the last bit on the CPU.

    A loss that is not finite, or an epoch with a loss worse than `worst_loss`, goes back to the end of the last good
    epoch with a tenth of the rate. When that happens a second time, the training ends there.

    Args:
        loop: The settings.
        weights: What is trained, by name.
        optimiser: Of these weights; its groups have the highest rate as `peak_lr`.
        batches: The batches of an epoch, which is counted from 0; the same at every call.
        loss: The mean loss of a batch, and what was predicted.
        identity: What is trained on what and how, as hashes by name.
        file: Where the training is kept after each epoch, and taken up from; None keeps nothing.
        validate: How good the network is on items that are held out.
        deadline: When to stop, on the clock of `time.monotonic`; at least one step is made.
        on_epoch: Told of each epoch.

    Raises:
        OptionError: If the file has a training of something else.
        OutputError: If the file cannot be written.
    """
    position = Position(identity)
    notes: tuple[str, ...] = ()
    if file is not None and (kept := read(file, identity)) is not None:
        restore(kept[0], weights, optimiser)
        position = kept[1]
    good = snapshot(weights, optimiser)
    while (number := len(position.epochs)) < loop.epochs:
        epoch, is_whole = _epoch(loop, number, position.rate, weights, optimiser, batches(number), loss, deadline)
        if not epoch.train.loss <= loop.worst_loss:
            restore(good, weights, optimiser)
            notes = (*notes, f"The loss diverged in epoch {number + 1} ({epoch.train.loss:.3g}).")
            if position.rate < 1:
                return History(position.epochs, f"stopped after epoch {number}: the loss diverged again", number, notes)
            position = replace(position, rate=_LOWER)
            continue
        if not is_whole:
            return History(position.epochs, f"stopped by the deadline in epoch {number + 1}", number + 1, notes)
        if validate is not None:
            epoch = replace(epoch, validation=validate())
        position = replace(position, epochs=(*position.epochs, epoch))
        good = snapshot(weights, optimiser)
        if file is not None:
            write(file, good, position)
        if on_epoch is not None:
            on_epoch(epoch)
    return History(position.epochs, f"all {loop.epochs} epochs", loop.epochs, notes)


def _epoch(
    loop: Loop,
    number: int,
    rate: float,
    weights: Mapping[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    batches: Sequence[Batch],
    loss: Callable[[Batch], Step],
    deadline: float | None,
) -> tuple[Epoch, bool]:
    """One epoch, up to the deadline or the first loss that is not finite; and whether all of it was done."""
    start, losses, norms, is_whole = time.monotonic(), [], [], True
    answers: list[tuple[torch.Tensor, torch.Tensor]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(loop.seed, "dropout", number).integers(2**63)))
        for step, batch in enumerate(batches):
            share = loop.schedule((number + step / len(batches)) / loop.epochs)
            for group in optimiser.param_groups:
                group["lr"] = rate * share * group["peak_lr"]
            value, *answer = loss(batch)
            answers.append((answer[0], answer[1]))
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                break
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            norms.append(float(torch.nn.utils.clip_grad_norm_(list(weights.values()), loop.clip)))
            optimiser.step()
            if deadline is not None and time.monotonic() >= deadline:
                is_whole = step + 1 == len(batches)
                break
    mean = sum(losses) / len(losses)
    mean_norm = sum(norms) / max(1, len(norms))
    seconds, rates = time.monotonic() - start, [group["lr"] for group in optimiser.param_groups]
    predicted, targets = (torch.cat(each).cpu().numpy() for each in zip(*answers, strict=True))
    trained = scores(mean, predicted, targets)
    return Epoch(number + 1, trained, None, max(rates), min(rates), mean_norm, seconds), is_whole
