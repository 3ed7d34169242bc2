"""Trainings that are really killed: `python -m tests.unit.adaptation.killed FOLDER POINT ...` prints how each ended.

Every training is a process of its own, forked from this one so that PyTorch is imported once. This one never computes:
what has gone through a network cannot be forked.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import torch
from tests.unit.adaptation.problem import STEPS, Problem, numbers

from headstart._records import to_json
from headstart.adaptation import checkpoint
from headstart.adaptation.epochs import Epoch

N_EPOCHS = 4
"""After which the whole training ends."""

WAYS = ("loss", "gradient", "update", "before", "torn", "written", "kept", "clock", "clock", "clock")
"""In a step before its gradient, in it, after it; around the writing of a checkpoint; and at any moment."""


def die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


def start(file: Path, out: Path, spoil: Callable[[Problem], dict[str, Any]] = lambda problem: {}) -> int:
    """Begin or go on with a training in a process of its own, and say which."""
    child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)
        problem = Problem()
        history = problem.train_with_everything(file, **spoil(problem))
        record = to_json([numbers(history), history.ended, history.kept, history.notes])
        out.write_text(f"{problem.n_losses} {sha256(problem.bits() + record.encode()).hexdigest()}")
        os._exit(0)
    finally:
        os._exit(1)


def in_step(way: str, at: int) -> Callable[[Problem], dict[str, Any]]:
    """Kill in a step, which is counted from 1."""

    def spoil(problem: Problem) -> dict[str, Any]:
        def at_loss(call: int, loss: torch.Tensor, n_items: int) -> torch.Tensor:
            if call == at and way == "loss":
                die()
            if call == at and way == "gradient":
                problem.weights["3.weight"].register_hook(die)  # the layer below has no gradient yet
            return loss

        def after_update(*_: object) -> None:
            if problem.n_losses == at and way == "update":
                die()

        problem.spoil = at_loss
        problem.optimiser.register_step_post_hook(after_update)
        return {}

    return spoil


def in_save(way: str, epoch: int, share: float) -> Callable[[Problem], dict[str, Any]]:
    """Kill while the checkpoint of an epoch is written, which is counted from 1."""

    def spoil(problem: Problem) -> dict[str, Any]:
        save = checkpoint.save_file
        n_written = 0

        def dying(tensors: Any, target: Path, metadata: Any) -> None:
            nonlocal n_written
            n_written += 1
            if n_written == epoch and way == "before":
                die()
            save(tensors, target, metadata=metadata)
            if n_written == epoch and way == "torn":
                os.truncate(target, int(share * target.stat().st_size))
                die()
            if n_written == epoch and way == "written":
                die()

        def after(done: Epoch) -> None:
            if done.number == epoch and way == "kept":
                die()

        checkpoint.save_file = dying
        return {"on_epoch": after}

    return spoil


def main(folder: Path, points: list[int]) -> None:
    Problem().optimiser.step()  # without a gradient it computes nothing, but imports what each child would import
    begun = time.monotonic()
    os.waitpid(start(folder / "whole.training", folder / "whole"), 0)
    seconds = time.monotonic() - begun
    print("whole", 0, (folder / "whole").read_text(), flush=True)
    for point in points:
        choice, way = random.Random(point), WAYS[point % len(WAYS)]
        file, out = folder / f"{point}.training", folder / str(point)
        if way == "clock":
            child = start(file, out)
            time.sleep(choice.random() * seconds)
            os.kill(child, signal.SIGKILL)
        elif way in ("loss", "gradient", "update"):
            child = start(file, out, in_step(way, choice.randint(1, N_EPOCHS * STEPS)))
        else:
            child = start(file, out, in_save(way, choice.randint(1, N_EPOCHS), choice.random()))
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended == 0:  # too late: it was done, but not yet gone
            print(way, -signal.SIGKILL, out.read_text(), flush=True)
            continue
        assert not out.exists() or way == "clock"
        os.waitpid(start(file, out), 0)
        print(way, ended, out.read_text(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(point) for point in sys.argv[2:]])
