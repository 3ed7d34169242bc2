"""Cross-validation again on other folds, as often as was asked for and the budget allows, and what the choice adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from headstart._checks import listed
from headstart.data._units import units_of
from headstart.data.dataset import Dataset
from headstart.data.folds import folds as make_folds
from headstart.data.folds import folds_with
from headstart.recipes.climb import Climb
from headstart.recipes.options import FitOptions
from headstart.recipes.sentences import selection_sentence
from headstart.reports.record import SelectionRecord, ValidationRecord
from headstart.search.candidates import Candidate, try_out, with_repeats
from headstart.search.choice import AnyCandidate
from headstart.search.luck import without_luck
from headstart.search.moving import Moved
from headstart.search.preference import Preference
from headstart.search.trials import Searched

USUAL = (1, 5)
"""One repeat of five folds."""
_SHOWN = 3  # classes that a note names


@dataclass(frozen=True, eq=False)
class Validation:
    """The folds that candidates on features were judged on.

    Attributes:
        folds: For each repeat the fold of each training item; the first is that of every comparison with moved weights.
        record: What is said about them.
    """

    folds: Int[np.ndarray, "repeats train"]
    record: ValidationRecord


def without_repeats(train: Dataset, folds: Int[np.ndarray, " train"], options: FitOptions) -> Validation:
    """The folds as they are before any repeat.

    Args:
        train: The training items.
        folds: The fold of each.
        options: How many repeats and folds are wanted.
    """
    n_wanted, n_folds = options.cv
    record = ValidationRecord(len(np.unique(folds)), 1, n_wanted, tuple(_notes(train, folds, n_folds)))
    return Validation(folds[None], record)


def repeat(climb: Climb, train: Dataset, validation: Validation, options: FitOptions) -> Validation:
    """Cross-validate every candidate on features again, all of them on the same folds.

    A repeat is begun when there is time for all candidates, so that all have as many and every comparison is paired.

    Args:
        climb: Has the candidates; those with repeats take their place.
        train: The training items.
        validation: The folds that they were cross-validated on, and what is said about them.
        options: How many repeats and folds are wanted, and the seed.
    """
    rounds, notes, n_wanted = list(validation.folds), list(validation.record.notes), options.cv[0]
    if n_wanted > 1:
        further, needed_s = _repeat_all(climb, train, validation.folds[0], options)
        rounds += further
        if len(rounds) < n_wanted:
            notes.append(
                f"The budget allowed {len(rounds)} of {n_wanted} repeats of the cross-validation: "
                f"another takes about {needed_s:.1f} s."
            )
    if options.cv != USUAL:
        for note in notes:
            climb.progress.say(note)
    return Validation(np.stack(rounds), replace(validation.record, n_repeats=len(rounds), notes=tuple(notes)))


def _repeat_all(
    climb: Climb, train: Dataset, first: Int[np.ndarray, " train"], options: FitOptions
) -> tuple[list[Int[np.ndarray, " train"]], float]:
    """Every candidate on features on further folds: these folds, and how long it takes once more."""
    (n_wanted, n_folds), seed = options.cv, options.seed
    on_features = {place: each for place, each in enumerate(climb.candidates) if isinstance(each, Candidate)}
    done: dict[int, list[Candidate]] = {place: [] for place in on_features}
    further: list[Int[np.ndarray, " train"]] = []
    needed_s = sum(each.seconds for each in on_features.values())
    with climb.progress.task("Cross-validating again", n_wanted - 1) as task:
        while len(further) < n_wanted - 1 and needed_s <= climb.left_s:
            folds = make_folds(train, n_folds=n_folds, seed=seed, repeat=len(further) + 1)
            for place, each in on_features.items():
                done[place].append(_again(climb, each, train, folds, seed))
            further.append(folds)
            needed_s = sum(each[-1].seconds for each in done.values())
            task.advance()
    if further:
        folds = np.stack([first, *further])
        repeated = {
            id(each): with_repeats(each, done[place], folds, groups=train.groups) for place, each in on_features.items()
        }
        climb.candidates[:] = [
            replace(each, start=repeated.get(id(each.start), each.start))
            if isinstance(each, Moved)
            else repeated[id(each)]
            for each in climb.candidates
        ]
    climb.workspace.log("repeats", done=1 + len(further), wanted=n_wanted, seconds_each=round(needed_s, 3))
    return further, needed_s


def selection_of(
    considered: Sequence[AnyCandidate],
    winner: AnyCandidate,
    train: Dataset,
    validation: Validation,
    *,
    seed: int,
    prefer: Preference = "balanced",
    searched: Sequence[Searched] = (),
) -> SelectionRecord:
    """What the chosen candidate's out-of-fold accuracy owes to having been chosen.

    Args:
        considered: What was chosen from.
        winner: The one that was chosen among them.
        train: The training items.
        validation: Their folds.
        seed: Of the parts that the choice is made again without.
        prefer: How accuracy was weighed against cost.
        searched: The searches whose best trial is among what was chosen from.
    """
    corrected = without_luck(
        *(considered, winner, train.targets, validation.folds),
        units=units_of(train, seed=seed, purpose="selection bias").of_items,
        seed=seed,
        groups=train.groups,
        prefer=prefer,
        searched=searched,
    )
    apparent = winner.accuracy
    optimism = apparent.value - corrected.value
    n_candidates = len(considered) + sum(len(each.trials) - 1 for each in searched)
    sentence = selection_sentence(n_candidates, optimism, corrected)
    return SelectionRecord(n_candidates, apparent, corrected, optimism, sentence)


def _again(
    climb: Climb, candidate: Candidate, train: Dataset, folds: Int[np.ndarray, " train"], seed: int
) -> Candidate:
    return try_out(
        *(candidate.proposal, climb.seen, train.targets, folds),
        make=lambda _: candidate.strategy,
        n_classes=len(train.classes),
        seed=seed,
        groups=train.groups,
    )


def _notes(train: Dataset, folds: Int[np.ndarray, " train"], n_wanted: int) -> list[str]:
    """What is otherwise than asked for because classes are rare."""
    notes, n_folds = [], len(np.unique(folds))
    if n_folds < n_wanted:
        notes.append(f"There are {n_folds} folds instead of {n_wanted}: no class has more items that can be separated.")
    n_in = folds_with(train, folds)
    if rare := [name for name, n in n_in.items() if 1 < n < n_folds]:
        notes.append(
            f"Some folds hold out no item of {listed(rare, _SHOWN)}: "
            "fewer of them can be separated than there are folds."
        )
    if lonely := [name for name, n in n_in.items() if n == 1]:
        notes.append(
            f"Out-of-fold no model knows {listed(lonely, _SHOWN)}: all items of it that there are share a fold."
        )
    return notes
