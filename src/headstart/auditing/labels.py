"""Which labels are likely to be wrong, how many, and which classes look alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from headstart.auditing._confident import confidently_wrong
from headstart.auditing._mislabelling import mislabelling
from headstart.auditing.finding import Example, Finding, Severity, finding
from headstart.data.dataset import Dataset
from headstart.errors import DataError, OptionError
from headstart.evaluation._auc import macro_auc
from headstart.evaluation.records import Estimate

LEAST_CHANCE = 0.2
"""From which on a label is suspected whatever confident learning says: below, four looks in five would be wasted."""

_WORTH_IT = 0.5  # of the suspects must be able to be wrong
_FEW_ITEMS = 5  # below, what a class looks like is not known
_CONFIRMED = 0.51  # of what confident learning flags (Northcutt et al. 2021, arXiv:2103.14749)
_SERIOUS_SHARE = 0.03
_LEAST_TOLD = 0.005
_ALIKE = 0.75
_MOST_PAIRS = 1000
_ENOUGH_TO_TELL = 20  # items of each class
_ROWS = 8192


@dataclass(frozen=True, eq=False)
class LabelSuspects:
    """Labels that are likely to be wrong, in the order in which to check them.

    A wrong label costs the same whichever it is, so the expected gain of a check is the chance that it finds one.

    Attributes:
        rows: Positions of the items, the greatest chance first.
        suggested: For each the class that it looks like.
        chance: For each the chance that its label is wrong, 0 to 1, if labels are wrong at random.
        quality: For each the probability of its own label, 0 to 1; lower is worse.
        probability: For each the probability of the class that it looks like.
        wrong: The share of wrong labels among those that were judged, flagged or not; n is how many these are.
        n_items: All items, judged or not.
    """

    rows: Int[np.ndarray, " suspects"]
    suggested: Int[np.ndarray, " suspects"]
    chance: Float[np.ndarray, " suspects"]
    quality: Float[np.ndarray, " suspects"]
    probability: Float[np.ndarray, " suspects"]
    wrong: Estimate
    n_items: int

    def __len__(self) -> int:
        return len(self.rows)


def suspect_labels(
    targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"]
) -> LabelSuspects:
    """Labels that a model which did not see the item finds improbable.

    A label is suspected where confident learning says so (see `confidently_wrong`), or where its chance of being wrong
    is `LEAST_CHANCE` or more (see `mislabelling`), and never where it is the most probable one. There are at most
    twice as many suspects as labels could be wrong at the upper end of the interval: of more, most would be right.
    Items of classes with fewer than five are not judged. The ridge probabilities of this package find more than those
    of a logistic head where a class is systematically taken for another (benchmarks/label_errors.py).

    Args:
        targets: The class of each item.
        probabilities: Out-of-fold, one column for each class; rows sum to 1.

    Raises:
        DataError: If a target is no class, or rows are not probabilities.
        OptionError: If there is not one target for each row.
    """
    _check(targets, probabilities)
    counts = np.bincount(targets, minlength=probabilities.shape[1])
    judged = counts >= _FEW_ITEMS
    if judged.sum() < 2:
        none, nothing = np.zeros(0, np.int64), np.zeros(0)
        return LabelSuspects(none, none, nothing, nothing, nothing, Estimate(0.0, 0.0, 1.0, 0), len(targets))
    rows, columns = np.flatnonzero(judged[targets]), np.flatnonzero(judged)
    seen, labels = _among(probabilities, rows, columns), np.searchsorted(columns, targets[rows])
    found = mislabelling(labels, seen)
    chances = found.chances(labels, seen)
    # A label that is as probable as any other is not improbable.
    best, own = seen.argmax(axis=1), seen[np.arange(len(rows)), labels]
    top = seen[np.arange(len(rows)), best]
    suspected = np.flatnonzero(((chances >= LEAST_CHANCE) | confidently_wrong(labels, seen)) & (top > own))
    most = math.ceil(found.high * len(rows) / _WORTH_IT)
    order = suspected[np.lexsort((own[suspected], -chances[suspected]))][:most]
    return LabelSuspects(
        rows=rows[order],
        suggested=columns[best[order]],
        chance=chances[order],
        quality=own[order],
        probability=top[order],
        wrong=Estimate(found.rate, found.low, found.high, len(rows)),
        n_items=len(targets),
    )


def label_findings(train: Dataset, suspects: LabelSuspects) -> Iterator[Finding]:
    """What is to be told about labels that are likely to be wrong.

    Args:
        train: The items that were judged.
        suspects: What was suspected of them.
    """
    if not len(suspects):
        return
    names, wrong, n_suspects = train.items.names, suspects.wrong, len(suspects)
    was = "1 label is" if n_suspects == 1 else f"{n_suspects:,} labels are"
    yield finding(
        "suspected_label_errors",
        _severity(wrong),
        [names[row] for row in suspects.rows],
        summary=(
            f"{was} improbable to a classifier that did not see the item. It puts the wrong labels at "
            f"{_number(wrong.value, wrong.n)} of {wrong.n:,} ({wrong.value:.1%}; {wrong.low:.1%} to {wrong.high:.1%} "
            "if they are wrong at random)."
        ),
        effect=_effect(wrong),
        advice=(
            "Look at these first, in this order; nothing is removed or relabelled for you. People confirm about half "
            f"({_CONFIRMED:.0%} in ten well-known test sets: Northcutt et al. 2021), and the others are often unusual "
            "or ambiguous items."
        ),
        examples=_examples(train, suspects),
    )


def alike_findings(train: Dataset, probabilities: Float[np.ndarray, "items classes"]) -> Iterator[Finding]:
    """Pairs of classes that the classifier can hardly tell apart.

    Args:
        train: The items.
        probabilities: Out-of-fold, one column for each class of `train`.

    Raises:
        DataError: If rows are not probabilities.
        OptionError: If there is not one target for each row.
    """
    _check(train.targets, probabilities)
    pairs = alike_pairs(train.targets, probabilities)
    if not pairs:
        return
    named = [(train.classes[first], train.classes[second]) for first, second, _ in pairs]
    concerned = list(dict.fromkeys(name for pair in named for name in pair))
    (first, second), auc = named[0], pairs[0][2]
    more = f", and {len(pairs) - 1} more {'pair' if len(pairs) == 2 else 'pairs'}" if len(pairs) > 1 else ""
    yield finding(
        "classes_alike",
        "warning",
        concerned,
        count=len(pairs),
        summary=(
            f"{first!r} and {second!r} can hardly be told apart (AUC {auc.value:.2f}, {auc.low:.2f} to {auc.high:.2f}; "
            f"0.5 is chance){more}."
        ),
        effect="Items of such a pair are taken for one another, and their recall cannot be high with these features.",
        advice="If they mean the same, make them one class; else look at items of both, and at how they were labelled.",
        examples=(
            Example(items=_one_of_each(train, first, second), note=f"{a!r} and {b!r}: AUC {found.value:.2f}")
            for (a, b), (first, second, found) in zip(named, pairs, strict=True)
        ),
    )


def alike_pairs(
    targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"]
) -> list[tuple[int, int, Estimate]]:
    """Pairs of classes whose area under the ROC curve is below 0.75 even at the upper end of its interval.

    The score of an item is the probability of the second class among the two. Only classes with 20 items or more are
    compared, and of very many pairs the thousand that are most often preferred the wrong way round.

    Args:
        targets: The class of each item.
        probabilities: Out-of-fold, one column for each class.

    Returns:
        First class, second class and area, the least area first.
    """
    counts = np.bincount(targets, minlength=probabilities.shape[1])
    swapped = _preferred(targets, probabilities, counts)
    # An area is at least the product of the shares that any threshold gets right on the two sides, and (1 − a)(1 − b)
    # is above 0.75 where a + b is below 0.25: pairs that are left out here could not pass.
    near = np.triu(swapped + swapped.T >= 1 - _ALIKE, 1)
    near &= (counts[:, None] >= _ENOUGH_TO_TELL) & (counts >= _ENOUGH_TO_TELL)
    candidates = np.argwhere(near)
    most_swapped = np.argsort(-(swapped + swapped.T)[near], kind="stable")[:_MOST_PAIRS]
    found = []
    for first, second in candidates[most_swapped].tolist():
        rows = np.flatnonzero((targets == first) | (targets == second))
        of_pair = probabilities[rows][:, [first, second]].astype(np.float64)
        sums = of_pair.sum(axis=1, keepdims=True)
        of_pair = np.divide(of_pair, sums, out=np.full_like(of_pair, 0.5), where=sums > 0)
        area = macro_auc((targets[rows] == second).astype(np.int64), of_pair)
        if area is not None and area.high < _ALIKE:
            found.append((first, second, area))
    return sorted(found, key=lambda pair: pair[2].value)


def recalls(
    targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"]
) -> Float[np.ndarray, " classes"]:
    """The share of each class's items whose most probable class it is; not a number for a class without items.

    Args:
        targets: The class of each item.
        probabilities: Out-of-fold, one column for each class.
    """
    counts = np.bincount(targets, minlength=probabilities.shape[1])
    right = np.bincount(targets[probabilities.argmax(axis=1) == targets], minlength=probabilities.shape[1])
    shares: np.ndarray = np.divide(right, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return shares


def _preferred(
    targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"], counts: np.ndarray
) -> Float[np.ndarray, "classes classes"]:
    """For each class the share of its items that find another more probable, ties as one half."""
    from scipy.sparse import csr_array

    n_classes = probabilities.shape[1]
    wins = np.zeros((n_classes, n_classes))
    for start in range(0, len(targets), _ROWS):
        block, labels = probabilities[start : start + _ROWS], targets[start : start + _ROWS]
        own = block[np.arange(len(labels)), labels][:, None]
        belongs = csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), (n_classes, len(labels)))
        wins += belongs @ ((block > own) + 0.5 * (block == own))
    shares: np.ndarray = wins / np.maximum(counts, 1)[:, None]
    return shares


def _among(
    probabilities: Float[np.ndarray, "items classes"], rows: Int[np.ndarray, " rows"], columns: Int[np.ndarray, " some"]
) -> Float[np.ndarray, "rows some"]:
    """The probabilities among some classes; the table itself where these are all."""
    if len(columns) == probabilities.shape[1] and len(rows) == len(probabilities):
        return probabilities
    kept = probabilities[np.ix_(rows, columns)]
    sums = kept.sum(axis=1, keepdims=True)
    share: np.ndarray = np.divide(kept, sums, out=np.full_like(kept, 1 / len(columns)), where=sums > 0)
    return share


def _severity(wrong: Estimate) -> Severity:
    if wrong.low >= _SERIOUS_SHARE:
        return "serious"
    return "warning" if wrong.low > _LEAST_TOLD else "info"


def _number(share: float, n: int) -> str:
    return f"about {round(share * n):,}" if round(share * n) else "almost none"


def _effect(wrong: Estimate) -> str:
    if wrong.value < _LEAST_TOLD:
        return "So few hardly move the numbers."
    return (
        f"Where labels of the test are as often wrong, a perfect model is seen to be right on {1 - wrong.value:.1%} "
        "only, and differences smaller than that mean little. In training, wrong labels cost accuracy."
    )


def _examples(train: Dataset, suspects: LabelSuspects) -> Iterator[Example]:
    for row, suggested, probability in zip(suspects.rows, suspects.suggested, suspects.probability, strict=True):
        given, looks = train.classes[train.targets[row]], train.classes[suggested]
        yield Example((train.items.names[row],), f"labelled {given!r}, looks like {looks!r} ({probability:.2f})")


def _one_of_each(train: Dataset, *classes: int) -> tuple[str, ...]:
    return tuple(train.items.names[int(np.argmax(train.targets == label))] for label in classes)


def _check(targets: Int[np.ndarray, " items"], probabilities: Float[np.ndarray, "items classes"]) -> None:
    if probabilities.ndim != 2 or targets.shape != probabilities.shape[:1]:
        raise OptionError(
            "there must be one target for each row of probabilities, "
            f"but their shapes are {targets.shape} and {probabilities.shape}"
        )
    if len(targets) and (targets.min() < 0 or targets.max() >= probabilities.shape[1]):
        raise DataError(
            f"a target must be from 0 to {probabilities.shape[1] - 1}, "
            f"but they go from {targets.min()} to {targets.max()}"
        )
    sums = probabilities.sum(axis=1)
    if not (np.abs(sums - 1) <= 0.01).all() or probabilities.min(initial=0) < 0:
        raise DataError(
            "each row must hold probabilities that sum to 1, but not all do",
            hint="Give probabilities of models that did not see the item, not logits.",
        )
