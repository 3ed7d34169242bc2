"""The training loop: one plain function, and one for an epoch."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from headstart._randomness import generator
from headstart.adaptation.checkpoint import (
    Plan,
    Position,
    Tensors,
    assign,
    copies,
    named,
    of_kind,
    read,
    restore,
    snapshot,
    write,
)
from headstart.adaptation.epochs import CUT, CUT_OFF, DIVERGED, TIMELY, Epoch, History, Scores, scores
from headstart.adaptation.memory import Batch, Step, backward, is_too_little, said_plainly
from headstart.adaptation.monitor import lowest, remarks, watch
from headstart.adaptation.schedules import Schedule

__all__ = ["Batch", "Loop", "Step", "train"]

_LOWER = 0.1
_TIMED = 3  # steps after which the length of an epoch is known
_SHORTEST_S = 1e-6  # a coarse clock may say that an epoch took no time at all


@dataclass(frozen=True, slots=True)
class Loop:
    """What a loop is told about a training.

    Attributes:
        epochs: How many.
        schedule: How the rate goes.
        clip: The longest gradient; a longer one is shortened to it.
        worst_loss: The mean loss of an epoch above which the training has diverged.
        seed: Of dropout.
        patience: For how many epochs in a row validation loss may rise while training loss falls, before the training
            stops and goes back to the epoch with the lowest; 0 for never.
        ema: How much of their average the averaged weights keep in a step, in [0, 1); they are what is validated and
            what remains at the end. 0 for no averages.
        accumulate: In how many pieces each batch is computed, 1 or more; more of them take less memory and more time.
        stop_after: After how many epochs the training ends although the schedule is that of `epochs`; 0 for never.
    """

    epochs: int
    schedule: Schedule
    clip: float
    worst_loss: float
    seed: int
    patience: int = 0
    ema: float = 0.0
    accumulate: int = 1
    stop_after: int = 0


@said_plainly()
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
    prepare: Callable[[int], None] | None = None,
) -> History:
    """Train in place; killed at any time and started again, the end is the same to the last bit on the CPU.

    A loss that is not finite, or an epoch with a loss worse than `worst_loss`, goes back to the end of the last good
    epoch with a tenth of the rate. When that happens a second time, the training ends there.

    Where a deadline leaves no time for all epochs, the schedule comes to its end with the last one that it leaves time
    for (Li, Yumer and Ramanan, 2020): a rate that never came down leaves a network worse than it might be. A training
    that is taken up is planned anew, for the deadline of now. Where the schedule had come to its end for want of time
    and there is time again, it goes on where it would be had there been enough from the beginning.

    A step for which the memory is too small is done again in 2, 4, 8, … pieces, and so are all steps after it.

    Args:
        loop: The settings.
        weights: What is trained, by name. What asks for no gradient stays as it is.
        optimiser: Of these weights; its groups have the highest rate as `peak_lr`.
        batches: The batches of an epoch, which is counted from 0; the same at every call.
        loss: The mean loss of a batch or of a piece of one, and what was predicted. Random numbers that it takes from
            PyTorch's own generator follow from the seed.
        identity: What is trained on what and how, as hashes by name.
        file: Where the training is kept after each epoch, and taken up from; None keeps nothing.
        validate: How good the network is on items that are held out.
        deadline: When to stop, on the clock of `time.monotonic`; at least one step is made.
        on_epoch: Told of each epoch.
        prepare: Told before each epoch, which is counted from 0, that it begins: it may say which weights ask for a
            gradient. Epochs that were done before the training was taken up are not told of.

    Raises:
        OptionError: If the file has a training of something else.
        OutputError: If the file cannot be written.
        BackboneError: If the memory is too small for a single item.
    """
    position, best = Position(identity, pieces=loop.accumulate), Tensors()
    averages = copies(weights) if loop.ema else Tensors()
    if file is not None and (found := read(file, identity)) is not None:
        tensors, position = found
        restore(tensors, weights, optimiser, averages)
        position = replace(position, plan=_taken_up(loop, position, deadline))
        best = of_kind(tensors, "best")
    good, kept, ended = snapshot(weights, optimiser, averages), len(position.epochs), _ended(loop, position)
    laps: list[float] = []
    while not ended:
        begin, number = time.monotonic(), len(position.epochs)
        if prepare is not None:
            prepare(number)
        todo = batches(number)
        epoch, is_whole, plan = _epoch(loop, position, weights, averages, optimiser, todo, loss, deadline)
        if is_whole and validate is not None:
            with _averaged(weights, averages):
                epoch = replace(epoch, validation=validate())
        position = replace(position, pieces=epoch.pieces, plan=plan)
        if (bad := _diverged(epoch, loop.worst_loss)) is not None:
            restore(good, weights, optimiser, averages)
            if position.rate < 1:
                ended = f"stopped after epoch {number}: the loss {DIVERGED}"
            what = "it ended there" if ended else "from there on with a tenth of the rate"
            back = f"back to the end of epoch {number}" if number else "back to the start"
            notes = (*position.notes, f"The loss diverged in epoch {number + 1} ({bad:.3g}): {back}, and {what}.")
            position = replace(position, rate=_LOWER, notes=notes)
            continue
        kept = number + 1
        if not is_whole:
            ended = f"stopped {CUT_OFF} in epoch {number + 1}"
            continue
        position = replace(position, epochs=(*position.epochs, epoch), steps=position.steps + len(todo))
        if loop.patience and lowest(position.epochs) == kept:
            best = copies(averages or weights)
        good = snapshot(weights, optimiser, averages)
        if file is not None:
            write(file, good | named(best, "best"), position)
        if on_epoch is not None:
            on_epoch(epoch)
        laps.append(time.monotonic() - begin)
        if deadline is not None:
            position = replace(position, plan=_planned(loop, position, deadline, sum(laps) / len(laps)))
        ended = _ended(loop, position)
    is_stopped = watch(position.epochs, loop.patience) is not None
    assign(weights, best if is_stopped else averages or weights)
    kept = lowest(position.epochs) if is_stopped else kept
    return History(position.epochs, ended, kept, _notes(loop, position, is_stopped=is_stopped))


def _ended(loop: Loop, position: Position) -> str:
    """Why the training is over, or an empty string."""
    n_done, last = len(position.epochs), _plan(loop, position).last
    if stopped := watch(position.epochs, loop.patience):
        return stopped
    if n_done >= loop.epochs:
        return f"all {loop.epochs} epochs"
    if n_done >= _asked(loop):
        return f"ended after {n_done} of {loop.epochs} epochs, as was asked for"
    return f"{n_done} of {loop.epochs} epochs, {CUT}" if n_done >= last else ""


def _asked(loop: Loop) -> int:
    """How many epochs there are to be where there is time."""
    return min(loop.stop_after or loop.epochs, loop.epochs)


def _plan(loop: Loop, position: Position) -> Plan:
    return position.plan or Plan(loop.epochs)


def _taken_up(loop: Loop, position: Position, deadline: float | None) -> Plan:
    """The plan of a training that was kept, for the deadline of now: its own may have been for another."""
    plan, n_done = _plan(loop, position), len(position.epochs)
    if plan.last < loop.epochs:
        # From a schedule that is at its end no rate is left to go on with.
        plan = Plan(loop.epochs, n_done, plan.done(n_done)) if n_done < plan.last else Plan(loop.epochs)
    if deadline is None:
        return plan
    lap_s = sum(epoch.seconds for epoch in position.epochs) / len(position.epochs)
    return _planned(loop, replace(position, plan=plan), deadline, lap_s)


def _planned(loop: Loop, position: Position, deadline: float, lap_s: float) -> Plan:
    """The plan for the epochs that there is time for; the old one where that is as many as it has.

    A plan whose last epoch is done stays: its rate has come down, and epochs after it would be trained with none.
    """
    plan, n_done = _plan(loop, position), len(position.epochs)
    if n_done >= plan.last:
        return plan
    last = n_done + max(0, int(TIMELY * (deadline - time.monotonic()) / max(_SHORTEST_S, lap_s)))
    last = last if last < _asked(loop) else loop.epochs
    return plan if last == plan.last else Plan(last, n_done, plan.done(n_done))


def _foreseen(loop: Loop, deadline: float, lap_s: float, n_steps: int) -> Plan | None:
    """The plan at the third step, for as many epochs as there is time for; a part of one, if it is less.

    Without it a training that has time for one or two epochs would spend them on the warm-up of many.
    """
    fit = TIMELY * (deadline - time.monotonic()) / max(_SHORTEST_S, lap_s) + _TIMED / n_steps
    if fit >= _asked(loop):
        return None
    return Plan(int(fit) if fit >= 1 else max(fit, (_TIMED + 1) / n_steps))


def _diverged(epoch: Epoch, worst_loss: float) -> float | None:
    """The loss that is not finite or too high, or None."""
    if not epoch.train.loss <= worst_loss:
        return epoch.train.loss
    if epoch.validation is not None and not math.isfinite(epoch.validation.loss):
        return epoch.validation.loss
    return None


def _notes(loop: Loop, position: Position, *, is_stopped: bool) -> tuple[str, ...]:
    """What went wrong, and what is remarkable but is not the reason why the training ended."""
    notes, epochs = position.notes, position.epochs
    if position.pieces > loop.accumulate:
        first = next((each.number for each in epochs if each.pieces > loop.accumulate), len(epochs) + 1)
        notes += (f"Too little memory: from epoch {first} on batches were computed in up to {position.pieces} pieces.",)
    return notes if is_stopped else notes + remarks(epochs)


@contextlib.contextmanager
def _averaged(weights: Mapping[str, torch.Tensor], averages: Tensors) -> Iterator[None]:
    """The averages, where there are any, in the place of the weights."""
    raw = copies(weights) if averages else Tensors()
    assign(weights if averages else {}, averages)
    try:
        yield
    finally:
        assign(weights if averages else {}, raw)


def _epoch(
    loop: Loop,
    position: Position,
    weights: Mapping[str, torch.nn.Parameter],
    averages: Tensors,
    optimiser: torch.optim.Optimizer,
    batches: Sequence[Batch],
    loss: Callable[[Batch], Step],
    deadline: float | None,
) -> tuple[Epoch, bool, Plan | None]:
    """One epoch, up to the deadline or the first loss that is not finite; whether all of it was done, and the plan."""
    start, losses, norms, is_whole = time.monotonic(), [], [], True
    answers: list[tuple[torch.Tensor, torch.Tensor]] = []
    number, pieces, plan, warm = len(position.epochs), position.pieces, position.plan, start
    parameters, averaged = list(weights.values()), list(averages.values())
    with torch.random.fork_rng(sorted({each.get_device() for each in parameters if each.is_cuda})):
        _seed(loop, number)
        for step, batch in enumerate(batches):
            if step == 1:
                warm = time.monotonic()  # the first step is slower
            if step == _TIMED and not number and deadline is not None:
                plan = _foreseen(loop, deadline, (time.monotonic() - warm) / (_TIMED - 1) * len(batches), len(batches))
            share = loop.schedule((plan or Plan(loop.epochs)).done(number + step / len(batches)))
            for group in optimiser.param_groups:
                group["lr"] = position.rate * share * group["peak_lr"]
            while True:
                optimiser.zero_grad()
                try:
                    done = backward(loss, batch, pieces)
                    break
                except (RuntimeError, MemoryError) as error:
                    if pieces >= len(batch[0]) or not is_too_little(error):
                        raise
                pieces *= 2
                _seed(loop, number, step, pieces)  # wherever the memory ran out
            norm = torch.nn.utils.clip_grad_norm_(parameters, loop.clip)
            answers.append((done.predicted, done.targets))
            value, length = torch.stack((done.loss, norm)).tolist()  # in one go: each waits for the device
            losses.append(value if math.isfinite(length) else math.nan)
            if not math.isfinite(losses[-1]):
                break
            norms.append(length)
            optimiser.step()
            if averaged:
                _average(averaged, parameters, loop.ema, position.steps + step)
            if deadline is not None and time.monotonic() >= deadline:
                is_whole = step + 1 == len(batches)
                break
    mean = sum(losses) / len(losses)
    mean_norm = sum(norms) / max(1, len(norms))
    seconds, rates = time.monotonic() - start, [group["lr"] for group in optimiser.param_groups]
    predicted, targets = (torch.cat(each).cpu().numpy() for each in zip(*answers, strict=True))
    trained = scores(mean, predicted, targets)
    return Epoch(number + 1, trained, None, max(rates), min(rates), mean_norm, seconds, pieces), is_whole, plan


def _seed(loop: Loop, *at: int) -> None:
    torch.manual_seed(int(generator(loop.seed, "dropout", *at).integers(2**63)))


def _average(averages: list[torch.Tensor], weights: list[torch.nn.Parameter], ema: float, steps: int) -> None:
    """Move averages towards weights: the first steps count more, as the start is not yet worth keeping.

    In step t, counted from 0, an average keeps min(ema, (1 + t) / (10 + t)) of itself, as TensorFlow has it.
    """
    keeps = min(ema, (1 + steps) / (10 + steps))
    get_ema_multi_avg_fn(keeps)(averages, weights, steps)  # type: ignore[no-untyped-call]
