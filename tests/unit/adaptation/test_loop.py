"""The loop: what it does to weights, and that a kill at any point changes nothing of it."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.adaptation.problem import EPOCHS, EVERYTHING, LOOP, STEPS, Killed, Problem, numbers
from torch import nn

from headstart._records import from_json, to_json
from headstart.adaptation import checkpoint
from headstart.adaptation import loop as loop_module
from headstart.adaptation.epochs import Epoch, History, Scores, scores
from headstart.adaptation.schedules import cosine
from headstart.errors import BackboneError, OptionError, OutputError

BACK = "The loss diverged in epoch 2 ({}): back to the end of epoch 1, and from there on with a tenth of the rate."


def test_it_does_what_a_bare_loop_does() -> None:
    ours, bare = Problem(), Problem()
    ours.network.eval()
    bare.network.eval()
    history = ours.train()
    step = 0
    for epoch in range(EPOCHS):
        losses, steps = [], []
        for rows in bare.batches(epoch):
            for group in bare.optimiser.param_groups:
                group["lr"] = 0.05 * cosine(step / (EPOCHS * STEPS))
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
    expected = whole.train_with_everything()
    n_epochs = len(expected.epochs)
    assert 0 < expected.kept < n_epochs < EVERYTHING.epochs
    file, choice = tmp_path / "state.training", random.Random(point)
    killed = Problem()
    if point < 20:
        at = choice.randrange(1, n_epochs * STEPS + 1)

        def die(call: int, loss: torch.Tensor, n_items: int) -> torch.Tensor:
            if call == at:
                raise Killed
            return loss

        killed.spoil = die
    else:
        save, epoch = checkpoint.save_file, choice.randrange(n_epochs)
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
        killed.train_with_everything(file)
    monkeypatch.undo()
    again = Problem()
    history = again.train_with_everything(file)
    assert again.bits() == whole.bits()
    assert numbers(history) == numbers(expected)
    assert (history.ended, history.kept, history.notes) == (expected.ended, expected.kept, expected.notes)
    assert again.n_losses <= n_epochs * STEPS


def test_killed_after_the_epoch_that_stopped_it_no_further_step_is_made(tmp_path: Path) -> None:
    whole, killed, again = Problem(), Problem(), Problem()
    expected = whole.train_with_everything()
    file = tmp_path / "state.training"

    def die(epoch: Epoch) -> None:
        if epoch.number == len(expected.epochs):
            raise Killed

    with pytest.raises(Killed):
        killed.train_with_everything(file, on_epoch=die)
    history = again.train_with_everything(file)
    assert again.n_losses == 0
    assert again.bits() == whole.bits()
    assert (history.ended, history.kept) == (expected.ended, expected.kept)


def test_a_loss_that_is_not_finite_goes_back_once_with_a_lower_rate() -> None:
    spoilt = Problem(spoil=lambda call, loss, _: loss * float("nan") if call == STEPS + 3 else loss)
    history = spoilt.train()
    assert len(history.epochs) == EPOCHS
    assert history.notes == (BACK.format("nan"),)
    sane = Problem().train()
    assert history.epochs[0].lr == sane.epochs[0].lr
    for ours, theirs in zip(history.epochs[1:], sane.epochs[1:], strict=True):
        assert ours.lr == pytest.approx(theirs.lr / 10)
    assert all(torch.isfinite(weight).all() for weight in spoilt.weights.values())


def test_the_second_time_it_stops_with_the_last_good_weights() -> None:
    one_epoch = Problem()
    stopped = Problem(spoil=lambda call, loss, _: loss * float("inf") if call > STEPS + 2 else loss)
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


def test_where_time_is_short_the_rate_comes_down_with_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch of six steps takes a second on this clock; there is time for three of ten."""
    clock = Problem(lr=0.01)
    monkeypatch.setattr(loop_module.time, "monotonic", lambda: 100 + clock.n_losses / STEPS)
    history = clock.train(replace(LOOP, epochs=10), deadline=103.2)
    assert len(history.epochs) == history.kept == 3
    assert history.ended == "3 of 10 epochs, for want of time"
    shares = [epoch.lr / 0.01 for epoch in history.epochs]
    # After three steps it is known that there will be three epochs.
    assert shares[0] == pytest.approx(cosine((5 / 6) / 3))
    assert shares[2] == pytest.approx(cosine((2 + 5 / 6) / 3))


@pytest.mark.parametrize("room_s", [1.4, 0.8])
def test_with_time_for_one_epoch_or_less_the_rate_comes_down_all_the_same(
    room_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an epoch takes is known after three steps: the warm-up of ten epochs would leave the rate at its highest."""
    clock = Problem(lr=0.01)
    monkeypatch.setattr(loop_module.time, "monotonic", lambda: 100 + clock.n_losses / STEPS)
    rates: list[float] = []
    step = clock.optimiser.step
    monkeypatch.setattr(
        clock.optimiser, "step", lambda: (rates.append(clock.optimiser.param_groups[0]["lr"]), step())[1]
    )
    history = clock.train(replace(LOOP, epochs=10), deadline=100 + room_s)
    assert len(rates) <= STEPS
    assert rates[-1] < 0.25 * max(rates)
    assert "1 of 10 epochs" in history.ended or "deadline" in history.ended


def test_with_enough_time_a_deadline_changes_nothing() -> None:
    free, bound = Problem(), Problem()
    free.train()
    history = bound.train(deadline=time.monotonic() + 3600)
    assert free.bits() == bound.bits()
    assert history.ended == "all 4 epochs"


def test_time_that_was_thought_too_short_is_used_when_it_is_there_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first epoch is slow: 2 seconds, and each later one takes one."""
    clock = Problem()
    monkeypatch.setattr(loop_module.time, "monotonic", lambda: 100 + clock.n_losses / STEPS + (clock.n_losses > 1))
    history = clock.train(replace(LOOP, epochs=8), deadline=110.0)
    assert len(history.epochs) == 8
    rates = [epoch.lr for epoch in history.epochs]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0


def test_a_schedule_that_has_come_to_its_end_is_not_drawn_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a first epoch of 5 seconds a second one is the last, and then there is time for six more of one second."""
    clock = Problem()
    monkeypatch.setattr(loop_module.time, "monotonic", lambda: 100 + clock.n_losses / STEPS + 4 * (clock.n_losses > 0))
    history = clock.train(replace(LOOP, epochs=8), deadline=113.0)
    assert [epoch.lr > 0 for epoch in history.epochs] == [True, True]
    assert history.ended == "2 of 8 epochs, for want of time"


def _killed_in_short_time(after: int, file: Path, monkeypatch: pytest.MonkeyPatch) -> Problem:
    """A training of 12 epochs of a second each, killed when there was time for 5; and one that may take it up."""

    def die(epoch: Epoch) -> None:
        if epoch.number == after:
            raise Killed

    killed, again = Problem(lr=0.01), Problem(lr=0.01)
    monkeypatch.setattr(loop_module.time, "monotonic", lambda: 100 + (killed.n_losses + again.n_losses) / STEPS)
    with pytest.raises(Killed):
        killed.train(replace(LOOP, epochs=12), file=file, deadline=105.3, on_epoch=die)
    assert killed.n_losses == after * STEPS
    return again


@pytest.mark.parametrize("deadline", [None, 1e6])
@pytest.mark.parametrize(("after", "share"), [(3, 3 / 5), (5, 5 / 12)])
def test_started_again_with_more_time_it_does_not_keep_to_the_old_deadline(
    after: int, share: float, deadline: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of its schedule it goes on from there; at its end it goes on as if there had been time before."""
    again = _killed_in_short_time(after, tmp_path / "state.training", monkeypatch)
    history = again.train(replace(LOOP, epochs=12), file=tmp_path / "state.training", deadline=deadline)
    assert history.ended == "all 12 epochs"
    for number, epoch in enumerate(history.epochs[after:]):
        done = share + (1 - share) * (number + 5 / 6) / (12 - after)
        assert epoch.lr / 0.01 == pytest.approx(cosine(done))


def test_started_again_with_some_time_the_schedule_ends_with_the_last_epoch_that_there_is_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = _killed_in_short_time(5, tmp_path / "state.training", monkeypatch)
    history = again.train(replace(LOOP, epochs=12), file=tmp_path / "state.training", deadline=107.3)
    assert history.ended == "7 of 12 epochs, for want of time"
    assert history.epochs[-1].lr / 0.01 == pytest.approx(cosine(5 / 12 + 7 / 12 * (1 + 5 / 6) / 2))


@pytest.mark.parametrize("after", [3, 5])
def test_started_again_with_no_time_it_makes_no_step(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = _killed_in_short_time(after, tmp_path / "state.training", monkeypatch)
    history = again.train(replace(LOOP, epochs=12), file=tmp_path / "state.training", deadline=0.0)
    assert history.ended == f"{after} of 12 epochs, for want of time"
    assert again.n_losses == 0


def test_killed_with_a_deadline_that_is_far_off_it_ends_the_same_to_the_last_bit(tmp_path: Path) -> None:
    whole, killed, again = Problem(), Problem(), Problem()
    whole.train()

    def die(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Killed

    with pytest.raises(Killed):
        killed.train(file=tmp_path / "state.training", deadline=time.monotonic() + 3600, on_epoch=die)
    again.train(file=tmp_path / "state.training", deadline=time.monotonic() + 7200)
    assert again.n_losses == 2 * STEPS
    assert again.bits() == whole.bits()


def test_it_ends_after_as_many_epochs_as_were_asked_for_on_the_schedule_of_all(tmp_path: Path) -> None:
    at_ends: list[bytes] = []
    whole, part, again = Problem(), Problem(), Problem()
    whole.train(on_epoch=lambda _: at_ends.append(whole.bits()))
    history = part.train(replace(LOOP, stop_after=3), file=tmp_path / "state.training")
    assert history.ended == "ended after 3 of 4 epochs, as was asked for"
    assert (len(history.epochs), history.kept) == (3, 3)
    assert part.bits() == at_ends[2]
    assert again.train(replace(LOOP, stop_after=3), file=tmp_path / "state.training").ended == history.ended
    assert again.n_losses == 0
    assert again.bits() == at_ends[2]


@pytest.mark.parametrize("stop_after", [4, 9])
def test_to_stop_after_all_epochs_is_to_do_all(stop_after: int) -> None:
    assert Problem().train(replace(LOOP, stop_after=stop_after)).ended == "all 4 epochs"


def test_time_for_what_was_asked_for_is_time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three epochs of ten were asked for and there is time for three: the schedule stays that of ten."""
    clock = Problem(lr=0.01)
    monkeypatch.setattr(loop_module.time, "monotonic", lambda: 100 + clock.n_losses / STEPS)
    history = clock.train(replace(LOOP, epochs=10, stop_after=3), deadline=103.2)
    assert history.ended == "ended after 3 of 10 epochs, as was asked for"
    assert history.epochs[2].lr / 0.01 == pytest.approx(cosine((2 + 5 / 6) / 10))


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


def test_a_gradient_that_is_not_finite_never_reaches_the_weights() -> None:
    """In the last step of all there is no further loss that would tell."""
    root = torch.zeros(1, requires_grad=True)  # the slope of a root at 0 is infinite, and times 0 it is no number

    def steep(call: int, loss: torch.Tensor, n_items: int) -> torch.Tensor:
        return loss + 0 * (loss * root).sqrt().sum() if call == EPOCHS * STEPS else loss

    spoilt = Problem(spoil=steep)
    history = spoilt.train()
    assert history.notes[0].startswith("The loss diverged in epoch 4 (nan): ")
    assert len(history.epochs) == EPOCHS
    assert all(torch.isfinite(weight).all() for weight in spoilt.weights.values())


def test_a_validation_loss_that_is_not_finite_counts_as_diverged(tmp_path: Path) -> None:
    losses = iter([0.5, float("inf"), 0.4, 0.3, 0.2])
    history = Problem().train(validate=lambda: Scores(next(losses)), file=tmp_path / "state.training")
    assert history.notes == (BACK.format("inf"),)
    assert [each.validation for each in history.epochs] == [Scores(0.5), Scores(0.4), Scores(0.3), Scores(0.2)]


def test_a_note_of_before_the_kill_is_still_there(tmp_path: Path) -> None:
    def die(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Killed

    spoilt = Problem(spoil=lambda call, loss, _: loss * float("nan") if call == STEPS + 3 else loss)
    with pytest.raises(Killed):
        spoilt.train(file=tmp_path / "state.training", on_epoch=die)
    history = Problem().train(file=tmp_path / "state.training")
    assert history.notes == (BACK.format("nan"),)


@pytest.mark.parametrize("ema", [0.15, 0.9])
def test_averages_are_those_of_a_plain_loop(ema: float) -> None:
    """What is validated and what remains; the weights that are trained on do not notice."""
    seen: list[dict[str, np.ndarray]] = []
    ours, raw = Problem(), Problem()

    def look() -> Scores:
        seen.append({name: each.detach().numpy().copy() for name, each in ours.weights.items()})
        return Scores(0.0)

    averaged = ours.train(replace(LOOP, ema=ema), validate=look)
    means = {name: each.detach().double().numpy().copy() for name, each in raw.weights.items()}
    at_ends, step = [], raw.optimiser.step

    def step_and_average() -> None:
        step()
        t = raw.n_losses - 1
        keeps = min(ema, (1 + t) / (10 + t))
        for name, each in raw.weights.items():
            means[name] = keeps * means[name] + (1 - keeps) * each.detach().double().numpy()

    raw.optimiser.step = step_and_average  # type: ignore[method-assign, assignment]
    plain = raw.train(on_epoch=lambda _: at_ends.append({name: each.copy() for name, each in means.items()}))
    assert [each.train for each in averaged.epochs] == [each.train for each in plain.epochs]
    for mine, bare in zip(seen, at_ends, strict=True):
        for name in means:
            np.testing.assert_allclose(mine[name], bare[name], rtol=0, atol=1e-6)
    for name, each in ours.weights.items():
        np.testing.assert_array_equal(each.detach().numpy(), seen[-1][name])
        assert not np.array_equal(seen[-1][name], raw.weights[name].detach().numpy())


def test_what_asks_for_no_gradient_keeps_its_bits() -> None:
    told: list[int] = []
    problem = Problem()
    frozen = problem.weights["0.weight"].detach().clone()
    moved_in: list[int] = []

    def prepare(epoch: int) -> None:
        told.append(epoch)
        assert problem.n_losses == epoch * STEPS
        problem.network[0].requires_grad_(epoch >= 2)

    def look(epoch: Epoch) -> None:
        lower = problem.weights["0.weight"]
        if not torch.equal(lower, frozen):
            moved_in.append(epoch.number)
        assert bool(problem.optimiser.state.get(lower)) is (epoch.number > 2)

    problem.train(replace(LOOP, ema=0.5), prepare=prepare, on_epoch=look)
    assert told == [0, 1, 2, 3]
    assert moved_in == [3, 4]


def test_after_a_kill_only_the_epochs_that_are_left_are_prepared(tmp_path: Path) -> None:
    def die(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Killed

    told: list[int] = []
    with pytest.raises(Killed):
        Problem().train(file=tmp_path / "state.training", on_epoch=die)
    Problem().train(file=tmp_path / "state.training", prepare=told.append)
    assert told == [3]


@pytest.mark.parametrize(
    ("validation", "patience", "n_epochs", "kept"),
    [
        ([0.9, 0.8, 0.85, 0.95], 2, 4, 2),
        ([0.9, 0.8, 0.85, 0.84], 2, 4, 4),  # no two in a row: the last weights stay, not the best
        ([0.9, 0.95, 0.85, 0.95], 1, 2, 1),
        ([0.8, 0.9, 0.85, 0.95], 3, 4, 4),
        ([0.5, 0.6, 0.7, 0.8], 3, 4, 1),
        ([0.5, 0.6, 0.7, 0.8], 0, 4, 4),
    ],
)
def test_it_stops_and_goes_back_as_a_table_made_by_hand_says(
    validation: list[float], patience: int, n_epochs: int, kept: int
) -> None:
    losses, at_ends, problem = iter(validation), [], Problem()
    history = problem.train(
        replace(LOOP, patience=patience),
        validate=lambda: Scores(next(losses)),
        on_epoch=lambda _: at_ends.append(problem.bits()),
    )
    assert len(history.epochs) == n_epochs
    assert history.kept == kept
    assert problem.bits() == at_ends[kept - 1]


def test_with_no_patience_what_was_seen_is_a_note() -> None:
    losses = iter([0.5, 0.6, 0.7, 0.8])
    history = Problem().train(validate=lambda: Scores(next(losses)))
    assert history.ended == "all 4 epochs"
    assert history.notes == (
        "Validation loss has risen for 3 epochs while training loss fell; it was lowest in epoch 1.",
    )
    assert from_json(to_json(history), History) == history


class Small:
    """A memory that holds so many items, and how many were asked of it."""

    def __init__(self, n_items: int) -> None:
        self._holds, self.asked = n_items, list[int]()

    def __call__(self, call: int, loss: torch.Tensor, n_items: int) -> torch.Tensor:
        self.asked.append(n_items)
        if n_items > self._holds:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss


@pytest.mark.parametrize("holds", [1, 2])
def test_too_little_memory_for_a_batch_gives_what_the_whole_batch_gives(holds: int) -> None:
    whole, pieces = Problem(), Problem(spoil=(small := Small(holds)))
    whole.network.eval()
    pieces.network.eval()
    expected, history = whole.train(), pieces.train()
    for name, weight in whole.weights.items():
        torch.testing.assert_close(pieces.weights[name], weight, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(history.epochs, expected.epochs, strict=True):
        assert ours.train.loss == pytest.approx(theirs.train.loss, abs=1e-5)
        assert ours.train.accuracy == theirs.train.accuracy
        assert (ours.pieces, theirs.pieces) == (4 // holds, 1)
    assert history.notes == (f"Too little memory: from epoch 1 on batches were computed in up to {4 // holds} pieces.",)
    assert [n for n in small.asked if n > holds] == [4, 2][: 3 - holds]  # tried once, and never again


def test_pieces_that_were_asked_for_count_by_their_items() -> None:
    """Four items in three pieces: two and one and one."""
    whole, pieces = Problem(), Problem(spoil=(memory := Small(4)))
    whole.network.eval()
    pieces.network.eval()
    whole.train()
    history = pieces.train(replace(LOOP, accumulate=3))
    for name, weight in whole.weights.items():
        torch.testing.assert_close(pieces.weights[name], weight, rtol=1e-4, atol=1e-5)
    assert memory.asked == [2, 1, 1] * EPOCHS * STEPS
    assert history.notes == ()


def test_too_little_memory_for_one_item_is_said() -> None:
    with pytest.raises(BackboneError, match="too small to train the backbone, even with one item at a time") as caught:
        Problem(spoil=Small(0)).train()
    assert "Train fewer stages" in caught.value.hint


def test_other_errors_are_not_taken_for_too_little_memory() -> None:
    def wrong(call: int, loss: torch.Tensor, n_items: int) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        Problem(spoil=wrong).train()


@pytest.mark.parametrize("at", [2, STEPS + 1, 2 * STEPS + 5])
def test_killed_with_too_little_memory_it_ends_the_same(at: int, tmp_path: Path) -> None:
    """Memory gets too small in the second epoch, wherever in a step that is; dropout is on."""

    def small(kill: int, burn: int) -> Problem:
        problem = Problem()

        def spoil(call: int, loss: torch.Tensor, n_items: int) -> torch.Tensor:
            if call == kill:
                raise Killed
            if problem.optimiser.param_groups[0]["lr"] != 0.05 and n_items > 2 and state["epoch"] > 0:
                torch.rand(burn)  # random numbers that were taken before the memory ran out
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return loss

        state = {"epoch": 0}
        problem.spoil = spoil
        problem.unfreeze = lambda epoch: state.update(epoch=epoch)  # type: ignore[method-assign]
        return problem

    whole, killed, again = small(0, 3), small(at, 5), small(0, 7)
    expected = whole.train(prepare=whole.unfreeze)
    with pytest.raises(Killed):
        killed.train(file=tmp_path / "state.training", prepare=killed.unfreeze)
    history = again.train(file=tmp_path / "state.training", prepare=again.unfreeze)
    assert again.bits() == whole.bits()
    assert numbers(history) == numbers(expected)
    assert [each.pieces for each in history.epochs] == [1, 2, 2, 2]
    assert history.notes == ("Too little memory: from epoch 2 on batches were computed in up to 2 pieces.",)


def test_weights_in_another_order_in_memory_are_taken_up_as_they_were(tmp_path: Path) -> None:
    """Pictures are fastest with the channels last; a file has them first, and a fused optimiser does not look."""

    def made() -> Problem:
        problem = Problem()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            problem.network = nn.Sequential(nn.Conv2d(3, 5, 2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(20, 3))
            problem.x = torch.randn(STEPS * 4, 3, 3, 3)
        problem.network.to(memory_format=torch.channels_last)
        problem.weights = dict(problem.network.named_parameters())
        groups = [{"params": list(problem.weights.values()), "lr": 0.05, "peak_lr": 0.05}]
        problem.optimiser = torch.optim.AdamW(groups, fused=True)
        return problem

    def die(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Killed

    whole, killed, again = made(), made(), made()
    assert not whole.weights["0.weight"].is_contiguous()
    loop = replace(LOOP, ema=0.9)
    whole.train(loop)
    with pytest.raises(Killed):
        killed.train(loop, file=tmp_path / "state.training", on_epoch=die)
    again.train(loop, file=tmp_path / "state.training")
    assert again.n_losses == 2 * STEPS
    assert all(torch.equal(again.weights[name], whole.weights[name]) for name in whole.weights)
