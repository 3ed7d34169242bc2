"""Model soups: several trainings from the same start, averaged (Wortsman et al. 2022, arXiv:2203.05482).

They begin at the same pretrained weights, so they end in one basin, where a mean of weights is as good as a mean of
predictions and costs nothing when it is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int

from headstart._memory import kept_memory
from headstart._randomness import generator
from headstart.adaptation.epochs import Epoch, History
from headstart.adaptation.finetuning import TOO_LARGE, Course, Job, Outcome, Weights
from headstart.adaptation.memory import said_plainly
from headstart.adaptation.strategies.finetune import FineTune
from headstart.adaptation.strategies.settings import AUTO, settings_of
from headstart.adaptation.tuning import Tuned
from headstart.errors import OptionError

if TYPE_CHECKING:
    from headstart.adaptation.strategies.variants import Soup

_OCTAVES = (0.0, -1.0, 1.0, -0.5, 0.5, -1.5, 1.5, -2.0)
"""By how many doublings the rate of each training differs from the one that was asked for."""


@said_plainly(TOO_LARGE)
@kept_memory()
def soup(settings: Soup, job: Job) -> Tuned:
    """What `Soup.fit` promises.

    Args:
        settings: How to train.
        job: What to train, on what.

    Raises:
        OptionError: If no training is left to average, or a setting does not fit the backbone.
    """
    course, made = Course(settings, job), list[Outcome]()
    wanted = [n for n in range(settings.n_runs) if settings.members is None or settings.members >> n & 1]
    if not wanted:
        raise OptionError(
            f"members={settings.members} names none of the {settings.n_runs} trainings of the soup",
            hint=f"7 are the first three; left out, it is {AUTO}.",
        )
    n_epochs = FineTune.n_epochs(settings, len(course.rows))
    for done, number in enumerate(wanted):
        if done and job.deadline is not None and time.monotonic() >= job.deadline:
            break
        made.append(
            course.train(
                _run(settings, number, course.rate(settings)),
                seed=int(generator(job.seed, "soup", number).integers(2**31)) if number else job.seed,
                deadline=_share_of(job.deadline, len(wanted) - done),
                on_epoch=_counted_on(job.on_epoch, done * n_epochs),
            )
        )
    chooses = settings.members is None and len(course.held_out) > 0

    def best(rows: Int[np.ndarray, " rows"]) -> list[int]:
        return greedy([each.weights for each in made], partial(course.loss, rows))

    used = best(course.held_out) if chooses else list(range(len(made)))
    history = History(
        tuple(_counted(epoch, n * n_epochs) for n, each in enumerate(made) for epoch in each.history.epochs),
        f"averaged {len(used)} of {len(made)} trainings: {', '.join(made[n].history.ended for n in used)}",
        max(used) * n_epochs + made[max(used)].history.kept,
        tuple(note for each in made for note in each.history.notes),
    )
    chosen = course.kept_epochs(settings, [made[n].history for n in used])
    if chooses:
        chosen |= {"members": sum(1 << wanted[n] for n in used)}

    def choose(rows: Int[np.ndarray, " rows"]) -> Weights:
        return average([made[n].weights for n in best(rows)])

    weights = average([made[n].weights for n in used])
    return course.finish(settings, weights, history, chosen, choose if chooses else None)


def greedy(made: Sequence[Weights], loss: Callable[[Weights], float]) -> list[int]:
    """Which trainings to average: from the best on, each that does not make the average worse.

    Args:
        made: What each made, one at least.
        loss: Of weights, on items that are held out.
    """
    losses = [loss(each) for each in made]
    order = sorted(range(len(made)), key=lambda n: (losses[n], n))
    used, least = order[:1], losses[order[0]]
    for n in order[1:]:
        found = loss(average([made[each] for each in (*used, n)]))
        if found <= least:
            used, least = [*used, n], found
    return used


def average(weights: Sequence[Weights]) -> Weights:
    """The mean of each weight.

    Args:
        weights: One at least, with the same names.
    """
    return {name: torch.stack([each[name] for each in weights]).mean(dim=0) for name in weights[0]}


def _run(settings: Soup, number: int, rate: float) -> Soup:
    rule = settings_of(settings)["learning_rate"]
    rate *= 2 ** _OCTAVES[number]
    return replace(settings, learning_rate=min(rule.high, max(rule.low, rate)))


def _share_of(deadline: float | None, n_left: int) -> float | None:
    now = time.monotonic()
    return None if deadline is None else now + (deadline - now) / n_left


def _counted(epoch: Epoch, before: int) -> Epoch:
    return replace(epoch, number=before + epoch.number)


def _counted_on(on_epoch: Callable[[Epoch], None] | None, before: int) -> Callable[[Epoch], None] | None:
    return None if on_epoch is None else lambda epoch: on_epoch(_counted(epoch, before))
