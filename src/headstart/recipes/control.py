"""The control that is the same network without its pretraining, where the user asks for it and there is time."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from headstart.backbones.resolve import Local
from headstart.data.split import Split
from headstart.errors import BackboneError
from headstart.recipes.climb import RESERVE_S, Climb
from headstart.recipes.options import FitOptions

_PASSES_A_STEP = 3  # forward, and back, which is about twice as much


@dataclass(frozen=True, eq=False)
class Untrained:
    """What a network that began with random weights says about the test items.

    Attributes:
        name: What it is, in words.
        probabilities: Of the test items; None where it was not trained.
        note: Why not, in a sentence.
    """

    name: str
    probabilities: Float64[np.ndarray, "items classes"] | None = None
    note: str = ""


def same_network(local: Local, sides: Split, climb: Climb, *, options: FitOptions, folder: Path) -> Untrained | None:
    """Train the network of a backbone from scratch with as much time as the adaptation had: half of the budget.

    That is the allowance, not what the adaptation took of it: a head on frozen features is fitted in the time of one
    pass, in which a training from scratch does not come to the end of its first epoch.

    Args:
        local: The backbone that was chosen.
        sides: Training items with targets, and those to predict.
        climb: Knows how fast the network is, and where things are said and written down.
        options: Whether the user asks for it, the budget and the seed.
        folder: For scratch; nothing is left there.

    Returns:
        None where nobody asks.

    Raises:
        StoreError: If pictures cannot be kept meanwhile.
    """
    if options.control != "network":
        return None
    from headstart.adaptation.scratch import from_scratch, plan  # with torch, which a run from the store does without
    from headstart.backbones.fresh import can_be_fresh

    name = f"the same network ({local.spec.name}) from scratch"
    if not can_be_fresh(local):
        return _left_out(name, "its library cannot make it anew", climb)
    train, unseen, seed = sides.train, sides.test.items, options.seed
    ends = options.started + options.budget_s - max(RESERVE_S, climb.ending_s)
    seconds = min(options.adaptation_s, ends - time.monotonic())
    pace = climb.speeds.speed(local.spec.name, device=climb.compute.device, dtype=climb.compute.precision)
    least_s = _PASSES_A_STEP * len(train) / pace if pace else 0.0
    if seconds <= least_s:  # said without a look, which would take time that is not there
        return _left_out(name, _too_long(least_s, seconds), climb)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=folder) as scratch:
        try:
            planned = plan(
                *(local, train.items, len(unseen)),
                seconds=seconds,
                compute=climb.compute,
                seed=seed,
                scratch=Path(scratch),
            )
            if not planned.epochs:
                return _left_out(name, _too_long(planned.epoch_s + planned.around_s, seconds), climb)
            found = from_scratch(
                *(local, train.items, train.targets, unseen),
                n_classes=len(train.classes),
                epochs=planned.epochs,
                compute=climb.compute,
                seed=seed,
                scratch=Path(scratch),
                deadline=ends - planned.around_s,
                progress=climb.progress,
            )
        except BackboneError as error:  # such as too little memory; the model is there all the same
            return _left_out(name, str(error), climb)
    done = len(found.history.epochs)
    climb.workspace.log("control", name=name, epochs=done, planned=planned.epochs, ended=found.history.ended)
    how_many = f"{done} of {planned.epochs} epochs" if done < planned.epochs else f"{done} epoch{'s'[: done != 1]}"
    return Untrained(f"{name}, {how_many}", found.probabilities)


def _too_long(need_s: float, had_s: float) -> str:
    return f"one epoch takes about {need_s:.0f} s, and {had_s:.0f} s are left" if had_s > 0 else "the time is up"


def _left_out(name: str, why: str, climb: Climb) -> Untrained:
    note = f"The control {name} was not trained: {why}."
    climb.progress.say(note)
    climb.workspace.log("skipped", what=name, why=why)
    return Untrained(name, note=note)
