"""Candidates whose weights move: what they do out-of-fold, on as many folds as there was time for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Bool, Int

from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.strategies.contract import MovingStrategy, OutOfFold
from headstart.adaptation.strategies.linear import Linear
from headstart.evaluation.calibration import fit_temperature, softmax
from headstart.evaluation.comparison import compare_correct
from headstart.evaluation.metrics import correct, log_loss, share_right
from headstart.evaluation.records import Difference, Estimate
from headstart.features.extract import Features
from headstart.search.candidates import Candidate, Proposal

if TYPE_CHECKING:
    from headstart.adaptation.tuning import Tuned


@dataclass(frozen=True, eq=False)
class Moved:
    """A backbone whose weights were moved by a strategy, with the out-of-fold result.

    Attributes:
        start: The linear head on the layer `last` that the strategy started from.
        strategy: What moved the weights.
        out_of_fold: Logits and temperature; the rows of items that were not tested are 0.
        tested: For each training item whether a model that did not see it has predicted it.
        right: For each training item whether it was tested and its prediction is right.
        accuracy: Share of right ones among those that were tested.
        log_loss: Of the calibrated probabilities of the same items, in nats.
        difference: Accuracy minus that of `start`, on the same items.
        seconds: Time of all trainings so far.
        first: What the first training made, of the items outside its fold.
        first_out: The items that it did not see.
        final_s: About how long a training on all items takes, in seconds.
        searched: Whether its settings are those that a search found.
    """

    start: Candidate
    strategy: MovingStrategy
    out_of_fold: OutOfFold
    tested: Bool[np.ndarray, " items"]
    right: Bool[np.ndarray, " items"]
    accuracy: Estimate
    log_loss: Estimate
    difference: Difference
    seconds: float
    first: Tuned
    first_out: Bool[np.ndarray, " items"]
    final_s: float
    searched: bool = False

    @property
    def proposal(self) -> Proposal:
        """The backbone and the layer."""
        return self.start.proposal

    @property
    def rounds(self) -> Bool[np.ndarray, "repeats items"]:
        """The same as `right`, as the only repeat there is."""
        return self.right[None]

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.proposal.name} · {self.strategy.name}"


def starting_head(
    start: Candidate,
    features: Mapping[str, Features],
    targets: Int[np.ndarray, " items"],
    rows: Int[np.ndarray, " rows"],
    *,
    classes: tuple[str, ...],
) -> LinearHead:
    """The head that a training on some items starts from.

    Args:
        start: The candidate of the strategy `linear`, with the penalty that cross-validation chose.
        features: Of the training items, by the name of the backbone.
        targets: The class of each.
        rows: The items that the training sees.
        classes: The class names.
    """
    seen = {part.backbone: features[part.backbone].take(rows) for part in start.proposal.parts}
    # Without the shift of `balance`: a training has that in its own loss.
    linear = Linear(start.proposal.parts, scaling=cast("Linear", start.strategy).scaling)
    head = linear.fit(seen, targets[rows], classes=classes, chosen=start.out_of_fold).head
    return cast("LinearHead", head)


def judge_moved(
    start: Candidate,
    strategy: MovingStrategy,
    folds: Sequence[tuple[Bool[np.ndarray, " items"], Tuned]],
    targets: Int[np.ndarray, " items"],
    *,
    seconds: float,
    after_s: float = 0.0,
    seed: int,
    groups: Sequence[str] | None = None,
    searched: bool = False,
) -> Moved:
    """What trainings say about a strategy, each on the items that it did not see.

    Args:
        start: What it started from.
        strategy: What moved the weights.
        folds: For each training the items that were held out, and what it made.
        targets: The class of each training item.
        seconds: Time of all trainings.
        after_s: What comes after the last epoch of one, in seconds.
        seed: Of the intervals' bootstrap.
        groups: For each item what it belongs with; items of one group need not be independent.
        searched: Whether the settings are those that a search found.
    """
    logits = np.zeros_like(folds[0][1].logits, dtype=np.float64)
    tested = np.zeros(len(targets), dtype=np.bool_)
    for held_out, tuned in folds:
        logits[held_out] = tuned.logits[held_out]
        tested |= held_out
    temperature = fit_temperature(logits[tested], targets[tested])
    probabilities = softmax(logits[tested], temperature)
    own = some(groups, tested)
    right = np.zeros(len(targets), dtype=np.bool_)
    right[tested] = correct(targets[tested], probabilities)
    n_first = round(float(np.mean([np.count_nonzero(~held_out) for held_out, _ in folds])))
    training_s = np.mean([sum(epoch.seconds for epoch in tuned.history.epochs) for _, tuned in folds])
    return Moved(
        start=start,
        strategy=strategy,
        out_of_fold=OutOfFold(logits, folds[0][1].chosen, temperature),
        tested=tested,
        right=right,
        accuracy=share_right(right[tested], groups=own, cross_validated=len(folds) > 1),
        log_loss=log_loss(targets[tested], probabilities, seed=seed, groups=own),
        difference=compare_correct(right[tested], start.right[tested], groups=own),
        seconds=seconds,
        first=folds[0][1],
        first_out=folds[0][0],
        final_s=float(training_s * strategy.n_seen(len(targets)) / strategy.n_seen(n_first) + after_s),
        searched=searched,
    )


def some(groups: Sequence[str] | None, rows: Bool[np.ndarray, " items"]) -> tuple[str, ...] | None:
    """The groups of some items, where there are groups."""
    return None if groups is None else tuple(groups[row] for row in np.flatnonzero(rows).tolist())
