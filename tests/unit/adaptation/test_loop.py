"""The loop: what it does to weights, and that a kill at any point changes nothing of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.adaptation import checkpoint
from headstart.adaptation.epochs import Epoch, History, Scores, scores
from headstart.adaptation.loop import Batch, Loop, Step, train
from headstart.adaptation.schedules import cosine
from headstart.errors import OptionError, OutputError

EPOCHS, STEPS = 4, 6
LOOP = Loop(EPOCHS, cosine, clip=1.0, worst_loss=100.0, seed=0)


class Killed(BaseException):
    """As if the process ended here."""


@dataclass
class Problem:
    """A small network with dropout on fixed numbers; every loss may be spoilt, and every step counted."""

    lr: float = 0.05
    spoil: Callable[[int, torch.Tensor], torch.Tensor] = lambda step, loss: loss
    n_losses: int = 0

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.network = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 3))
            self.x, self.y = torch.randn(STEPS * 4, 5), torch.randint(3, (STEPS * 4,))
        self.weights = dict(self.network.named_parameters())
        groups = [{"params": list(self.weights.values()), "lr": self.lr, "peak_lr": self.lr}]
        self.optimiser = torch.optim.AdamW(groups, fused=True)

    def batches(self, epoch: int) -> Sequence[Batch]:
        order = np.random.default_rng(epoch).permutation(len(self.x))
        return [(rows,) for rows in np.split(order, STEPS)]

    def loss(self, batch: Batch) -> Step:
        self.n_losses += 1
        (rows,) = batch
        logits = self.network(self.x[rows])
        value = nn.functional.cross_entropy(logits, self.y[rows])
        return Step(self.spoil(self.n_losses, value), logits.detach().argmax(dim=1), self.y[rows])

    def train(self, loop: Loop = LOOP, **options: Any) -> History:
        identity = options.pop("identity", {"items": "a"})
        return train(loop, self.weights, self.optimiser, self.batches, self.loss, identity=identity, **options)

    def bits(self) -> bytes:
        return b"".join(weight.detach().numpy().tobytes() for weight in self.weights.values())


def numbers(history: History) -> list[Epoch]:
    return [replace(epoch, seconds=0) for epoch in history.epochs]


def test_it_does_what_a_bare_loop_does() -> None:
    ours, bare = Problem(), Problem()
    ours.network.eval()
    bare.network.eval()
    history = ours.train()
    step = 0
    for epoch in range(EPOCHS):
        losses, steps = [], []
        for rows in bare.batches(epoch):
            bare.optimiser.param_groups[0]["lr"] = 0.05 * cosine(step / (EPOCHS * STEPS))
            steps.append(bare.loss(rows))
            loss = steps[-1].loss
            bare.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(bare.network.parameters(), 1.0)
            bare.optimiser.step()
            losses.append(loss.item())
            step += 1
        predicted, targets = (torch.cat([each[index] for each in steps]).numpy() for index in (1, 2))
        assert history.epochs[epoch].train == scores(sum(losses) / STEPS, predicted, targets)
    assert ours.bits() == bare.bits() != Problem().bits()
    assert [epoch.number for epoch in history.epochs] == [1, 2, 3, 4]
    assert history.epochs[-1].train.loss < history.epochs[0].train.loss
    assert history.ended == "all 4 epochs"


def test_the_callers_random_numbers_stay() -> None:
    before = torch.get_rng_state()
    Problem().train()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("point", range(30))
def test_killed_anywhere_and_started_again_it_ends_the_same_to_the_last_bit(
    point: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty kills in a step, ten while a checkpoint is written: before, in the middle of, and after its file."""
    whole = Problem()
    expected = whole.train()
    file, choice = tmp_path / "state.training", random.Random(point)
    killed = Problem()
    if point < 20:
        at = choice.randrange(1, EPOCHS * STEPS + 1)

        def die(step: int, loss: torch.Tensor) -> torch.Tensor:
            if step == at:
                raise Killed
            return loss

        killed.spoil = die
    else:
        save, epoch = checkpoint.save_file, choice.randrange(EPOCHS)
        written: list[Path] = []

        def torn(tensors: Any, target: Path, metadata: Any) -> None:
            written.append(target)
            if len(written) == epoch + 1 and point % 3 == 0:
                raise Killed
            save(tensors, target, metadata=metadata)
            if len(written) == epoch + 1:
                if point % 3 == 1:
                    target.write_bytes(target.read_bytes()[: choice.randrange(target.stat().st_size)])
                raise Killed

        monkeypatch.setattr(checkpoint, "save_file", torn)
    with pytest.raises(Killed):
        killed.train(file=file)
    monkeypatch.undo()
    again = Problem()
    history = again.train(file=file)
    assert again.bits() == whole.bits()
    assert numbers(history) == numbers(expected)
    assert again.n_losses <= EPOCHS * STEPS


def test_a_loss_that_is_not_finite_goes_back_once_with_a_lower_rate() -> None:
    spoilt = Problem(spoil=lambda step, loss: loss * float("nan") if step == STEPS + 3 else loss)
    history = spoilt.train()
    assert len(history.epochs) == EPOCHS
    assert history.notes == ("The loss diverged in epoch 2 (nan).",)
    sane = Problem().train()
    assert history.epochs[0].lr == sane.epochs[0].lr
    for ours, theirs in zip(history.epochs[1:], sane.epochs[1:], strict=True):
        assert ours.lr == pytest.approx(theirs.lr / 10)
    assert all(torch.isfinite(weight).all() for weight in spoilt.weights.values())


def test_the_second_time_it_stops_with_the_last_good_weights() -> None:
    one_epoch = Problem()
    stopped = Problem(spoil=lambda step, loss: loss * float("inf") if step > STEPS + 2 else loss)
    history = stopped.train()
    assert history.ended == "stopped after epoch 1: the loss diverged again"
    assert len(history.notes) == 2
    with pytest.raises(Killed):
        one_epoch.train(on_epoch=_die)
    assert stopped.bits() == one_epoch.bits()


def _die(epoch: Epoch) -> None:
    raise Killed


def test_a_loss_worse_than_allowed_counts_as_diverged() -> None:
    history = Problem().train(replace(LOOP, worst_loss=0.01))
    assert history.epochs == ()
    assert history.ended == "stopped after epoch 0: the loss diverged again"


def test_after_the_deadline_no_further_step_is_made() -> None:
    late = Problem()
    history = late.train(deadline=time.monotonic())
    assert late.n_losses == 1
    assert history.ended == "stopped by the deadline in epoch 1"
    assert late.bits() != Problem().bits()


def test_validation_is_in_the_record_of_each_epoch() -> None:
    seen: list[Epoch] = []
    history = Problem().train(validate=lambda: Scores(0.5, 0.75), on_epoch=seen.append)
    assert tuple(seen) == history.epochs
    assert [each.validation for each in seen] == [Scores(0.5, 0.75)] * EPOCHS


def test_a_training_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "state.training"
    Problem().train(file=file, identity={"items": "a", "settings": "b"})
    with pytest.raises(OptionError, match=r"is one with other settings$"):
        Problem().train(file=file, identity={"items": "a", "settings": "c"})
    file.write_bytes(b"torn")
    with pytest.raises(OptionError, match="cannot be read"):
        Problem().train(file=file)


def test_a_full_disk_leaves_the_last_good_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state.training"
    save = checkpoint.save_file
    written: list[Path] = []

    def full(tensors: Any, target: Path, metadata: Any) -> None:
        written.append(target)
        save(tensors, target, metadata=metadata)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputError, match="the training cannot be kept"):
        Problem().train(file=file)
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir()] == ["state.training"]
    again, whole = Problem(), Problem()
    again.train(file=file)
    whole.train()
    assert again.n_losses == 2 * STEPS
    assert again.bits() == whole.bits()
