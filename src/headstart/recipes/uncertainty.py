"""When an answer is not to be trusted: fitted on out-of-fold answers, judged on the sealed test once that is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, Float64, Int

from headstart.adaptation.gate import PASSES, Gate, directions, distances, held_out_distances, thin
from headstart.data._units import units_of
from headstart.data.dataset import Dataset
from headstart.evaluation.abstention import abstention
from headstart.evaluation.calibration import softmax
from headstart.evaluation.conformal import HeldOut, judge_sets, lac, n_needed, too_few
from headstart.evaluation.intervals import kish_n
from headstart.evaluation.metrics import share_right
from headstart.features.extract import Features
from headstart.recipes.move import Fitted
from headstart.reports.record import GateRecord, UncertaintyRecord
from headstart.search.choice import AnyCandidate
from headstart.search.combine import Combination
from headstart.search.moving import Moved

COVERAGES = (0.8, 0.9, 0.95)
"""Of the sets that the report shows."""


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What a bundle needs to say when not to trust its answers.

    Attributes:
        held_out: The scores of out-of-fold answers, from which prediction sets follow.
        gate: What flags unusual items; None where its threshold cannot be set.
        gated: The held-out distances that the threshold comes from; None without a gate.
        notes: What could not be had and why, one sentence each.
    """

    held_out: HeldOut
    gate: Gate | None
    gated: HeldOut | None
    notes: tuple[str, ...]


def learn_uncertainty(
    winner: AnyCandidate | Combination,
    fitted: Fitted,
    seen: Mapping[str, Features],
    train: Dataset,
    folds: Int[np.ndarray, " train"],
    *,
    seed: int,
) -> Uncertainty:
    """What out-of-fold answers and distances say about the trust that a new answer deserves.

    Splits and folds keep whole units together: the items of a group, and copies. So a new item is of a new unit, and
    what is promised for it rests on the number of units.

    Args:
        winner: The chosen candidate, with its out-of-fold answers.
        fitted: The model that it became.
        seen: Features of the training items, by the name of the backbone.
        train: The training items.
        folds: The fold of each.
        seed: Of the choice of references.
    """
    units, tested = units_of(train, seed=seed, purpose="uncertainty").of_items, winner.tested
    probabilities = softmax(winner.out_of_fold.logits[tested], winner.out_of_fold.temperature)
    held_out = lac(probabilities, train.targets[tested], units[tested])
    notes = [note for coverage in COVERAGES if (note := too_few(held_out, coverage))]
    known = thin(train.targets, seed=seed)
    # Out-of-fold distances are there for all known items, or for those of the fold that a training did not see.
    out = winner.first_out[known] if isinstance(winner, Moved) else np.ones(len(known), dtype=np.bool_)
    n_units, needed = len(np.unique(units[known[out]])), n_needed(PASSES)
    gate = gated = None
    if n_units < needed or len(np.unique(folds[known])) < 2:
        notes.append(
            f"A gate for unusual items needs {needed} or more independent held-out items, and there are {n_units}, "
            "so there is none."
        )
    elif (found := _rows(winner, fitted, seen, known)) is None:
        notes.append("There is no gate for unusual items, as the training was kept by an older version of headstart.")
    else:
        judged, references = found
        gated = HeldOut.of(_distances(judged, out, folds[known]), units[known[out]])
        gate = Gate(_looked_at(fitted, seen), references, gated.bound(PASSES))
    return Uncertainty(held_out, gate, gated, tuple(notes))


def _rows(
    winner: AnyCandidate | Combination,
    fitted: Fitted,
    seen: Mapping[str, Features],
    known: Int[np.ndarray, " known"],
) -> tuple[Float16[np.ndarray, "known width"], Float16[np.ndarray, "known width"]] | None:
    """The directions of some training items by the network that was judged, and by the one that is shipped."""
    if isinstance(winner, Moved):
        first, last = winner.first.directions, fitted.directions
        return None if first is None or last is None else (first[known], last[known])
    names = _looked_at(fitted, seen)
    rows = directions({name: seen[name].take(known) for name in names}, names)
    return rows, rows


def _looked_at(fitted: Fitted, seen: Mapping[str, Features]) -> tuple[str, ...]:
    """The backbones of the gate: where some of several have moved weights, the others."""
    names = fitted.predictor.backbones
    return tuple(name for name in names if name in seen) or names


def _distances(
    rows: Float16[np.ndarray, "known width"], out: Bool[np.ndarray, " known"], folds: Int[np.ndarray, " known"]
) -> Float64[np.ndarray, " out"]:
    return held_out_distances(rows, folds) if out.all() else distances(rows[out], rows[~out])


def judge_uncertainty(
    uncertainty: Uncertainty,
    targets: Int[np.ndarray, " items"],
    probabilities: Float64[np.ndarray, "items classes"],
    unseen: Mapping[str, Features],
    *,
    seed: int,
    groups: Sequence[str] | None = None,
) -> UncertaintyRecord:
    """How sets, abstention and gate do on the sealed test.

    Args:
        uncertainty: What was learnt.
        targets: The classes of the test items.
        probabilities: What the model says about them.
        unseen: Their features, by the name of the backbone.
        seed: Of the intervals' bootstrap.
        groups: For each test item what it belongs with.
    """
    held_out = uncertainty.held_out
    return UncertaintyRecord(
        n=len(held_out.scores),
        n_independent=held_out.n_units,
        sets=tuple(
            judge_sets(targets, probabilities, held_out, coverage, seed=seed, groups=groups) for coverage in COVERAGES
        ),
        abstention=abstention(targets, probabilities, seed=seed, groups=groups),
        gate=_judge_gate(uncertainty, unseen, groups),
        notes=uncertainty.notes,
    )


def _judge_gate(
    uncertainty: Uncertainty, unseen: Mapping[str, Features], groups: Sequence[str] | None
) -> GateRecord | None:
    gate, gated = uncertainty.gate, uncertainty.gated
    if gate is None or gated is None:
        return None
    passed = ~gate.unusual(unseen)
    n_independent = len(passed) if groups is None else max(1, round(kish_n(groups)))
    low, high = gated.band(gate.passes, n_independent)
    return GateRecord(
        backbones=gate.backbones,
        n_references=len(gate.references),
        n_held_out=len(gated.scores),
        threshold=gate.threshold,
        asked=gate.passes,
        passed=share_right(passed, groups=groups),
        expected_low=low,
        expected_high=high,
    )
