"""Findings: what is remarkable about the data, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headstart._checks import listed
from headstart.data.dataset import Dataset, LeftOut
from headstart.data.split import Split

Severity = Literal["info", "warning", "serious"]

_ORDER: tuple[Severity, ...] = ("serious", "warning", "info")
_MAX_NAMES = 20
_SERIOUS_SHARE = 0.01
_FEW_ITEMS = 5
_STRONG_IMBALANCE = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One remarkable thing about the data.

    Attributes:
        kind: What it is, for example `exact_duplicates_across_sides`.
        severity: How much it matters to the numbers.
        count: How many items (or groups of items) are concerned.
        items: Names of some of them, at most 20.
        advice: What it means and what to do, in one or two sentences.
    """

    kind: str
    severity: Severity
    count: int
    items: tuple[str, ...]
    advice: str


def audit(dataset: Dataset, split: Split) -> tuple[Finding, ...]:
    """What is remarkable about the data, the most serious first.

    Labels of the test side are not looked at, except to name classes that training lacks.

    Args:
        dataset: Identified items, as they were before the split.
        split: The sides made of them.
    """
    findings = [
        *_left_out(dataset.left_out),
        *_copies_across(split),
        *_conflicts(split.train),
        *_copies(split.train),
        *_unseen_classes(dataset, split),
        *_small_classes(split.train),
        *_imbalance(split.train),
        *_similar_names(dataset.classes),
    ]
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))


def _finding(kind: str, severity: Severity, names: Sequence[str], advice: str) -> Finding:
    return Finding(kind, severity, len(names), tuple(names[:_MAX_NAMES]), advice)


def _left_out(left_out: Sequence[LeftOut]) -> Iterator[Finding]:
    by_reason: dict[str, list[str]] = {}
    for item in left_out:
        # What stands after a colon is about one item.
        by_reason.setdefault(item.reason.partition(":")[0], []).append(item.name)
    for reason, names in by_reason.items():
        advice = f"{_count(len(names), 'item')} left out: {reason}. Mend or remove them."
        yield _finding("left_out", "warning", names, advice)


def _copies_across(split: Split) -> Iterator[Finding]:
    in_training = set(split.train.items.keys)
    names = [
        name for name, key in zip(split.test.items.names, split.test.items.keys, strict=True) if key in in_training
    ]
    if not names:
        return
    share = len(names) / split.test.n
    verb = "is an exact copy" if len(names) == 1 else "are exact copies"
    yield _finding(
        "exact_duplicates_across_sides",
        "serious" if share >= _SERIOUS_SHARE else "warning",
        names,
        f"{len(names)} of {split.test.n} test items ({100 * share:.1f} %) {verb} of training items: the test result is "
        "too good by up to as much. Remove them from one side.",
    )


def _copies(train: Dataset) -> Iterator[Finding]:
    first: set[str] = set()
    names = []
    for name, key in zip(train.items.names, train.items.keys, strict=True):
        if key in first:
            names.append(name)
        first.add(key)
    if names:
        advice = (
            f"{len(names)} of {len(train)} training items are exact copies of others. They are kept in one fold, "
            "so they do no harm to the estimates, but they count as often as they occur."
        )
        yield _finding("exact_duplicates", "info", names, advice)


def _conflicts(train: Dataset) -> Iterator[Finding]:
    labels: dict[str, set[int]] = {}
    for key, target in zip(train.items.keys, train.targets.tolist(), strict=True):
        labels.setdefault(key, set()).add(target)
    torn = {key for key, targets in labels.items() if len(targets) > 1}
    names = [name for name, key in zip(train.items.names, train.items.keys, strict=True) if key in torn]
    if names:
        advice = (
            f"{len(names)} training items are copies of one another with different labels ({len(torn)} contents). "
            "At most one label of each can be right: correct them."
        )
        yield _finding("conflicting_labels", "serious", names, advice)


def _unseen_classes(dataset: Dataset, split: Split) -> Iterator[Finding]:
    names = [dataset.classes[target] for target in np.setdiff1d(dataset.targets, split.train.targets)]
    if names:
        advice = (
            f"{listed(names)} occur in the test but not in training. They cannot be predicted, and their test items "
            "count as errors. Add training items of them, or remove them from the test."
        )
        yield _finding("classes_without_training", "serious", names, advice)


def _small_classes(train: Dataset) -> Iterator[Finding]:
    counts = np.bincount(train.targets, minlength=len(train.classes))
    single = [train.classes[label] for label in np.flatnonzero(counts == 1)]
    few = [train.classes[label] for label in np.flatnonzero((counts > 1) & (counts < _FEW_ITEMS))]
    if single:
        advice = (
            f"{listed(single)} {_have(single)} a single training item: nothing can be said about how well "
            "such a class is recognised. Add items, or merge it with another class."
        )
        yield _finding("single_item_classes", "warning", single, advice)
    if few:
        advice = (
            f"{listed(few)} {_have(few)} fewer than {_FEW_ITEMS} training items. A few more of each will help more "
            "than any setting."
        )
        yield _finding("few_items_per_class", "warning", few, advice)


def _imbalance(train: Dataset) -> Iterator[Finding]:
    counts = np.bincount(train.targets, minlength=len(train.classes))
    present = np.flatnonzero(counts)
    least, most = present[counts[present].argmin()], present[counts[present].argmax()]
    if counts[most] <= _STRONG_IMBALANCE * counts[least]:
        return
    rare = [train.classes[label] for label in present if counts[label] * _STRONG_IMBALANCE < counts[most]]
    advice = (
        f"{train.classes[most]!r} has {counts[most]} training items and {train.classes[least]!r} has {counts[least]}. "
        "Accuracy hides what happens to rare classes: look at the recall of each class."
    )
    yield _finding("imbalance", "warning", rare, advice)


def _similar_names(classes: Sequence[str]) -> Iterator[Finding]:
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault("".join(name.casefold().split()), []).append(name)
    names = [name for same in alike.values() if len(same) > 1 for name in same]
    if names:
        advice = f"{listed(names)} differ only in case or spaces. If they mean the same class, give it one name."
        yield _finding("similar_class_names", "warning", names, advice)


def _count(n: int, noun: str) -> str:
    return f"1 {noun} was" if n == 1 else f"{n} {noun}s were"


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
