"""What is remarkable about the classes: too few items, too unequal, names that may mean the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from headstart._checks import listed
from headstart.auditing._names import variants
from headstart.auditing.finding import Finding, finding
from headstart.data.dataset import Dataset, LeftOut
from headstart.evaluation.intervals import wilson

_FEW_ITEMS = 5
_STRONG_IMBALANCE = 10
_MOST_GROUPS = 3


def left_out_findings(left_out: Sequence[LeftOut]) -> Iterator[Finding]:
    """What could not be used, by reason.

    Args:
        left_out: Items that could not be read or decoded.
    """
    by_reason: dict[str, list[str]] = {}
    for item in left_out:
        # What stands after a colon is about one item.
        by_reason.setdefault(item.reason.partition(":")[0], []).append(item.name)
    for reason, names in by_reason.items():
        were = "1 item was" if len(names) == 1 else f"{len(names):,} items were"
        yield finding(
            "left_out", "warning", names, summary=f"{were} left out: {reason}.", advice="Mend or remove them."
        )


def class_findings(
    dataset: Dataset, train: Dataset, recalls: Float[np.ndarray, " classes"] | None = None
) -> Iterator[Finding]:
    """What the numbers of items and the names of the classes tell.

    Labels of the test side are not looked at, except to name classes that training lacks.

    Args:
        dataset: All items.
        train: Those of the training side.
        recalls: For each class the share of its training items that a model which did not see them gets right (see
            `labels.recalls`), where that is known.
    """
    yield from _unseen_classes(dataset, train)
    yield from _small_classes(train)
    yield from _imbalance(train, recalls)
    yield from _similar_names(dataset.classes)


def _unseen_classes(dataset: Dataset, train: Dataset) -> Iterator[Finding]:
    names = [dataset.classes[target] for target in np.setdiff1d(dataset.targets, train.targets)]
    if names:
        yield finding(
            "classes_without_training",
            "serious",
            names,
            summary=f"{listed(names)} {'occurs' if len(names) == 1 else 'occur'} in the test but not in training.",
            effect="They cannot be predicted, and their test items count as errors.",
            advice="Add training items of them, or remove them from the test.",
        )


def _small_classes(train: Dataset) -> Iterator[Finding]:
    counts = np.bincount(train.targets, minlength=len(train.classes))
    single = [train.classes[label] for label in np.flatnonzero(counts == 1)]
    few = [train.classes[label] for label in np.flatnonzero((counts > 1) & (counts < _FEW_ITEMS))]
    if single:
        yield finding(
            "single_item_classes",
            "warning",
            single,
            summary=f"{listed(single)} {_have(single)} a single training item.",
            effect="Nothing can be said about how well such a class is recognised.",
            advice="Add items, or merge it with another class.",
        )
    if few:
        yield finding(
            "few_items_per_class",
            "warning",
            few,
            summary=f"{listed(few)} {_have(few)} fewer than {_FEW_ITEMS} training items.",
            effect="Their recall is little more than a guess.",
            advice="A few more of each will help more than any setting.",
        )


def _imbalance(train: Dataset, recalls: Float[np.ndarray, " classes"] | None) -> Iterator[Finding]:
    counts = np.bincount(train.targets, minlength=len(train.classes))
    present = np.flatnonzero(counts)
    least, most = int(present[counts[present].argmin()]), int(present[counts[present].argmax()])
    if counts[most] <= _STRONG_IMBALANCE * counts[least]:
        return
    labels = [int(label) for label in present if counts[label] * _STRONG_IMBALANCE < counts[most]]
    rare = [train.classes[label] for label in labels]
    share = counts[most] / len(train)
    yield finding(
        "imbalance",
        "warning",
        rare,
        summary=(
            f"{train.classes[most]!r} has {counts[most]:,} training items and {train.classes[least]!r} has "
            f"{counts[least]:,}."
        ),
        effect=(
            f"Always saying {train.classes[most]!r} is right on {share:.0%}, so accuracy hides what happens to rare "
            "classes, and a model learns to say them seldom."
            + ("" if recalls is None else _cost(train, counts, recalls, most, labels))
        ),
        advice="Look at the recall of each class, and label more of the rare ones.",
    )


def _cost(
    train: Dataset,
    counts: Int[np.ndarray, " classes"],
    recalls: Float[np.ndarray, " classes"],
    most: int,
    rare: Sequence[int],
) -> str:
    n_rare = int(counts[rare].sum())
    found = round(float((recalls[rare] * counts[rare]).sum()))
    interval = wilson(found, n_rare)
    return (
        f" Cross-validated, {found} of {n_rare} items of the rare classes are recognised ({interval.value:.0%}; "
        f"{interval.low:.0%} to {interval.high:.0%}), and {recalls[most]:.0%} of {train.classes[most]!r}."
    )


def _similar_names(classes: Sequence[str]) -> Iterator[Finding]:
    groups = variants(classes)
    if groups:
        told = "; ".join(listed(group) for group in groups[:_MOST_GROUPS])
        more = f"; and {len(groups) - _MOST_GROUPS} more" if len(groups) > _MOST_GROUPS else ""
        yield finding(
            "similar_class_names",
            "warning",
            [name for group in groups for name in group],
            summary=f"Names differ only in case, separators, the plural or one letter: {told}{more}.",
            effect="Items of one class that has two names are counted as errors of each other.",
            advice="If they mean the same class, give it one name.",
        )


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
