"""The chosen candidate's number without the luck of having been chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.evaluation.calibration import softmax
from headstart.evaluation.comparison import would_tie
from headstart.evaluation.metrics import SMALLEST_PROBABILITY, share_right
from headstart.evaluation.records import Estimate
from headstart.evaluation.selection_bias import Pick, optimism
from headstart.search.candidates import repeated_accuracy
from headstart.search.choice import AnyCandidate, decide
from headstart.search.moving import Moved, some
from headstart.search.preference import Preference, tie_margin
from headstart.search.trials import Searched, Trial


def without_luck(
    candidates: Sequence[AnyCandidate],
    winner: AnyCandidate,
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, "repeats items"],
    *,
    units: Int[np.ndarray, " items"],
    seed: int,
    groups: Sequence[str] | None = None,
    prefer: Preference = "balanced",
    searched: Sequence[Searched] = (),
) -> Estimate:
    """The out-of-fold accuracy of the chosen candidate less what it owes to having been chosen (see `optimism`).

    The interval is of the same kind as that of the candidate itself: for as many independent items.

    Args:
        candidates: What was chosen from.
        winner: The one that was chosen among them.
        targets: The class of each training item.
        folds: The folds of each repeat.
        units: For each item the number of its unit, the items of equal content or of one group.
        seed: Of the parts that the choice is made again without.
        groups: For each item what it belongs with.
        prefer: How accuracy was weighed against cost.
        searched: The searches whose best trial is one of the candidates. The choice begins with their trials: without
            some of the items another one would have been the best.
    """
    trials = [(each, search.tested) for search in searched for each in _others(search)]
    luck = optimism(
        np.stack(
            [
                *(each.rounds.mean(axis=0) for each in candidates),
                *(_over(tested, each.right) for each, tested in trials),
            ]
        ),
        np.stack([*(each.tested for each in candidates), *(tested for _, tested in trials)]),
        chooser(candidates, targets, groups=groups, searched=searched, prefer=prefer),
        chosen=next(number for number, each in enumerate(candidates) if each is winner),
        units=units,
        seed=seed,
    )
    corrected = winner.accuracy.value - luck
    if luck == 0:
        return winner.accuracy
    if len(winner.rounds) > 1:
        return repeated_accuracy(winner.rounds, folds, groups=groups, value=corrected)
    tested = winner.tested
    return share_right(
        winner.right[tested],
        groups=some(groups, tested),
        value=corrected,
        cross_validated=not isinstance(winner, Moved),
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """A candidate as it looks on some of the items; `start` is what the head got right that a training started from."""

    number: int
    rounds: Bool[np.ndarray, "repeats items"]
    tested: Bool[np.ndarray, " items"]
    start: Bool[np.ndarray, "repeats items"] | None
    losses: Float[np.ndarray, " items"]
    width: int
    cost: tuple[float, int]

    @staticmethod
    def of(number: int, candidate: AnyCandidate, targets: Int[np.ndarray, " items"]) -> _Seen:
        start = candidate.start.rounds if isinstance(candidate, Moved) else None
        losses, proposal = _losses(candidate, targets), candidate.proposal
        return _Seen(number, candidate.rounds, candidate.tested, start, losses, proposal.width, proposal.cost)

    @staticmethod
    def of_trial(number: int, trial: Trial, tested: Bool[np.ndarray, " items"], best: _Seen) -> _Seen:
        """It would cost what the best trial of its search costs: they see the same, and start at the same head."""
        rounds, losses = _over(tested, trial.right)[None], _over(tested, trial.losses)
        return _Seen(number, rounds, tested, best.start, losses, best.width, best.cost)

    def on(self, rows: Bool[np.ndarray, " items"]) -> _Seen:
        start = None if self.start is None else self.start[:, rows]
        rounds, tested = self.rounds[:, rows], self.tested[rows]
        return _Seen(self.number, rounds, tested, start, self.losses[rows], self.width, self.cost)

    @property
    def merit(self) -> tuple[float, bool, float, int]:
        """As in `choose`, with the log loss on the same items as the accuracy."""
        is_whole = bool(self.tested.all())
        accuracy = float(self.rounds.mean())
        if self.start is not None:
            gains = (self.rounds[0].astype(np.int64) - self.start[0])[self.tested]
            accuracy = float(self.start.mean()) + (float(gains.mean()) if len(gains) else 0.0)
        return round(accuracy, 9), is_whole, -float(self.losses.mean()) if is_whole else 0.0, -self.width


def chooser(
    candidates: Sequence[AnyCandidate],
    targets: Int[np.ndarray, " items"],
    *,
    groups: Sequence[str] | None = None,
    prefer: Preference = "balanced",
    searched: Sequence[Searched] = (),
) -> Pick:
    """The rule of `choose` as a function of the items that it may look at.

    With groups the variance of a difference is found without a bootstrap, so that a close tie may be decided otherwise.

    Args:
        candidates: What is chosen from.
        targets: The class of each item.
        groups: For each item what it belongs with.
        prefer: How accuracy is weighed against cost.
        searched: The searches whose best trial is one of the candidates. First comes the trial with the lowest log
            loss of each, then the choice among these and the other candidates. The trials that are no candidates are
            numbered after the candidates, in order. Where weights moved, they are compared on the items that the
            search held out, whatever the best one was tested on later.
    """
    every = [_Seen.of(number, each, targets) for number, each in enumerate(candidates)]
    fields: list[tuple[dict[int, Float[np.ndarray, " items"]], Bool[np.ndarray, " items"]]] = []
    for search in searched:
        (place,) = (number for number, each in enumerate(candidates) if each is search.candidate)
        others = [
            _Seen.of_trial(len(every) + n, each, search.tested, every[place]) for n, each in enumerate(_others(search))
        ]
        every += others
        # As they were compared by the search: the candidate may have been judged on further folds since.
        losses = {place: _over(search.tested, search.best.losses)} | {each.number: each.losses for each in others}
        fields.append((losses, search.tested))
    clusters = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]

    def pick(rows: Bool[np.ndarray, " items"]) -> int:
        own = None if clusters is None else clusters[rows]

        def ties(best: _Seen, each: _Seen) -> bool:
            both, n = best.tested & each.tested, min(len(best.rounds), len(each.rounds))
            return (
                bool(both.any())
                and best.merit[0] - each.merit[0] <= tie_margin(len(both))
                and would_tie(
                    *(best.rounds[:n, both], each.rounds[:n, both]),
                    margin=tie_margin(int(both.sum())),
                    clusters=None if own is None else own[both],
                )
            )

        behind = {number for field, tested in fields for number in _all_but_best(field, rows & tested)}
        there = [each.on(rows) for each in every if each.number not in behind]
        _, _, taken = decide(
            there, merit=lambda each: each.merit, ties=ties, cost=lambda each: each.cost, prefer=prefer
        )
        return taken.number

    return pick


def _others(search: Searched) -> list[Trial]:
    """The trials of a search that did not become its candidate."""
    return [each for each in search.trials if each is not search.best]


def _all_but_best(field: Mapping[int, Float[np.ndarray, " items"]], rows: Bool[np.ndarray, " items"]) -> list[int]:
    best = min(field, key=lambda number: float(field[number][rows].mean())) if rows.any() else next(iter(field))
    return [number for number in field if number != best]


def _over(tested: Bool[np.ndarray, " items"], values: np.ndarray) -> np.ndarray:
    """Values of the tested items among all items; those of the others are 0."""
    whole = np.zeros(len(tested), dtype=values.dtype)
    whole[tested] = values
    return whole


def _losses(candidate: AnyCandidate, targets: Int[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
    """The negative log probability of the true class of each item, in nats; of no meaning where it was not tested."""
    probabilities = softmax(candidate.out_of_fold.logits, candidate.out_of_fold.temperature)
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], SMALLEST_PROBABILITY)))
