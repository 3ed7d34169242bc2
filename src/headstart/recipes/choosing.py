"""From candidates to the model: a single one, or a combination where that is better; and that fitted on all items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from jaxtyping import Int

from headstart.adaptation.predictor import Ensemble, Predictor
from headstart.data.dataset import Dataset
from headstart.evaluation.metrics import accuracy
from headstart.features.extract import Features
from headstart.recipes.limits import Limits
from headstart.recipes.move import Fitted
from headstart.search.candidates import Candidate
from headstart.search.choice import AnyCandidate, Choice, choose, offer
from headstart.search.combine import Combination, combine, networks_of
from headstart.search.moving import Moved, some
from headstart.search.preference import Preference


def fitter(seen: Mapping[str, Features], train: Dataset, *, seed: int) -> Callable[[Candidate], Predictor]:
    """What fits the head of a candidate on all training items, each once.

    Args:
        seen: Features of the training items, by the name of the backbone.
        train: These items.
        seed: Of whatever is random.
    """

    @cache
    def fit(candidate: Candidate) -> Predictor:
        return candidate.strategy.fit(
            seen, train.targets, classes=train.classes, chosen=candidate.out_of_fold, seed=seed
        )

    return fit


def choose_model(
    candidates: Sequence[AnyCandidate],
    train: Dataset,
    folds: Int[np.ndarray, " train"],
    limits: Limits,
    *,
    seed: int,
    prefer: Preference = "balanced",
) -> Choice:
    """Choose the best single candidate within the limits, and a combination instead where that wins over it.

    Where `small` is preferred, a combination may need no other networks than that candidate does.

    Args:
        candidates: At least one.
        train: The training items.
        folds: The fold of each.
        limits: What the model may cost.
        seed: Of intervals.
        prefer: How accuracy is weighed against cost.

    Raises:
        OptionError: If no candidate is within the limits.
    """
    allowed = limits.within(candidates)
    choice = choose(allowed, groups=train.groups, prefer=prefer)
    if n_over := len(candidates) - len(allowed):
        others = f"{n_over} other candidate{'s are' if n_over > 1 else ' is'}"
        choice = replace(choice, why=f"{choice.why} {others} above --max-latency or --max-size.")
    single = choice.members[0]
    if prefer == "small":
        needed = networks_of([single]).keys()
        allowed = [each for each in allowed if networks_of([each]).keys() <= needed]
    combination = combine(*(allowed, single, train.targets, folds), fits=limits.allow, seed=seed, groups=train.groups)
    return offer(choice, combination, prefer=prefer)


def fit_model(
    choice: Choice,
    train: Dataset,
    *,
    fit: Callable[[Candidate], Predictor],
    finish: Callable[[Moved], Fitted],
    seen: Mapping[str, Features],
) -> Fitted:
    """Fit what was chosen on all training items.

    Args:
        choice: What was chosen.
        train: The training items.
        fit: Fits a head.
        finish: Trains on all items where weights move.
        seen: Features of the training items, by the name of the backbone.
    """

    def fitted(member: AnyCandidate) -> Fitted:
        if isinstance(member, Moved):
            return finish(member)
        predictor = fit(member)
        on_training = predictor.probabilities(seen)
        return Fitted(
            predictor=predictor,
            training=accuracy(train.targets, on_training, groups=train.groups),
            on_training=on_training,
            fitted_on=np.ones(len(train), dtype=np.bool_),
        )

    parts = [fitted(member) for member in choice.members]
    if not isinstance(choice.winner, Combination):
        return parts[0]
    weights = [weight for _, weight in choice.winner.members]
    averaged = np.asarray(sum(weight * part.on_training for part, weight in zip(parts, weights, strict=True)))
    rows = np.logical_and.reduce([part.fitted_on for part in parts])
    members = tuple(
        (head, weight) for part, weight in zip(parts, weights, strict=True) for head, _ in part.predictor.members
    )
    return Fitted(
        predictor=Ensemble(members),
        training=accuracy(train.targets[rows], averaged[rows], groups=some(train.groups, rows)),
        on_training=averaged,
        fitted_on=rows,
        local=next((part.local for part in parts if part.local), None),
        note=" ".join(part.note for part in parts if part.note),
    )
