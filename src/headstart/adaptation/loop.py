"""The training loop: one plain function, and one for an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float

from headstart._randomness import generator
from headstart.adaptation.checkpoint import Epoch, Position, read, restore, snapshot, write
from headstart.adaptation.schedules import Schedule

Batch = TypeVar("Batch")
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


@dataclass(frozen=True, slots=True)
class History:
    """What a training did.

    Attributes:
        epochs: One record for each that was finished.
        ended: Why it ended, in a sentence.
        notes: What went wrong on the way, one sentence each.
    """

    epochs: tuple[Epoch, ...]
    ended: str
    notes: tuple[str, ...] = ()


def train(
    loop: Loop,
    weights: Mapping[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    batches: Callable[[int], Sequence[Batch]],
    loss: Callable[[Batch], Float[torch.Tensor, ""]],
    *,
    identity: dict[str, str],
    file: Path | None = None,
    validate: Callable[[], tuple[float, float]] | None = None,
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
        loss: The mean loss of a batch.
        identity: What is trained on what and how, as hashes by name.
        file: Where the training is kept after each epoch, and taken up from; None keeps nothing.
        validate: Loss and accuracy on items that are held out.
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
        if not epoch.train_loss <= loop.worst_loss:
            restore(good, weights, optimiser)
            notes = (*notes, f"The loss diverged in epoch {number + 1} ({epoch.train_loss:.3g}).")
            if position.rate < 1:
                return History(position.epochs, f"stopped after epoch {number}: the loss diverged again", notes)
            position = replace(position, rate=_LOWER)
            continue
        if not is_whole:
            return History(position.epochs, f"stopped by the deadline in epoch {number + 1}", notes)
        if validate is not None:
            validation_loss, accuracy = validate()
            epoch = replace(epoch, validation_loss=validation_loss, validation_accuracy=accuracy)
        position = replace(position, epochs=(*position.epochs, epoch))
        good = snapshot(weights, optimiser)
        if file is not None:
            write(file, good, position)
        if on_epoch is not None:
            on_epoch(epoch)
    return History(position.epochs, f"all {loop.epochs} epochs", notes)


def _epoch(
    loop: Loop,
    number: int,
    rate: float,
    weights: Mapping[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    batches: Sequence[Batch],
    loss: Callable[[Batch], Float[torch.Tensor, ""]],
    deadline: float | None,
) -> tuple[Epoch, bool]:
    """One epoch, up to the deadline or the first loss that is not finite; and whether all of it was done."""
    start, losses, norms, is_whole = time.monotonic(), [], [], True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(loop.seed, "dropout", number).integers(2**63)))
        for step, batch in enumerate(batches):
            share = loop.schedule((number + step / len(batches)) / loop.epochs)
            for group in optimiser.param_groups:
                group["lr"] = rate * share * group["peak_lr"]
            value = loss(batch)
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
    lr = rate * share * max(group["peak_lr"] for group in optimiser.param_groups)
    return Epoch(number + 1, mean, None, None, lr, mean_norm, time.monotonic() - start), is_whole
