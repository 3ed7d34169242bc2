"""Items that are there more than once: exact copies, across the sides and within training, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.audit.finding import Finding, finding
from headstart.data.dataset import Dataset
from headstart.data.split import Split

_SERIOUS_SHARE = 0.01


def copy_findings(split: Split) -> Iterator[Finding]:
    """Items of equal content, across the sides and within training; targets of the test side are not looked at.

    Args:
        split: The sides.
    """
    yield from _across(split)
    yield from _conflicts(split.train)
    yield from _within(split.train)


def _across(split: Split) -> Iterator[Finding]:
    in_training = set(split.train.items.keys)
    names = [
        name for name, key in zip(split.test.items.names, split.test.items.keys, strict=True) if key in in_training
    ]
    if not names:
        return
    share = len(names) / split.test.n
    verb = "is an exact copy" if len(names) == 1 else "are exact copies"
    yield finding(
        "exact_duplicates_across_sides",
        "serious" if share >= _SERIOUS_SHARE else "warning",
        names,
        summary=f"{len(names)} of {split.test.n} test items ({100 * share:.1f} %) {verb} of training items.",
        effect="The test result is too good by up to as much.",
        advice="Remove them from one side.",
    )


def _within(train: Dataset) -> Iterator[Finding]:
    first: set[str] = set()
    names = []
    for name, key in zip(train.items.names, train.items.keys, strict=True):
        if key in first:
            names.append(name)
        first.add(key)
    if names:
        yield finding(
            "exact_duplicates",
            "info",
            names,
            summary=f"{len(names)} of {len(train)} training items are exact copies of others.",
            effect="They stay in one fold and do the estimates no harm, but they count as often as they occur.",
            advice="Remove them, unless they are meant to weigh more.",
        )


def _conflicts(train: Dataset) -> Iterator[Finding]:
    labels: dict[str, set[int]] = {}
    for key, target in zip(train.items.keys, train.targets.tolist(), strict=True):
        labels.setdefault(key, set()).add(target)
    torn = {key for key, targets in labels.items() if len(targets) > 1}
    names = [name for name, key in zip(train.items.names, train.items.keys, strict=True) if key in torn]
    if names:
        yield finding(
            "conflicting_labels",
            "serious",
            names,
            summary=(
                f"{len(names)} training items are copies of one another with different labels ({len(torn)} contents)."
            ),
            effect="At most one label of each can be right.",
            advice="Correct them.",
        )
