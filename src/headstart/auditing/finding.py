"""The noun of this package: a finding, with its evidence, what it does to the numbers, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "serious"]

SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "info")
"""From what spoils the numbers to what is good to know."""

MAX_NAMES = 20
MAX_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class Example:
    """One piece of evidence: an item, or several that belong together.

    Attributes:
        items: Their names.
        note: What is to be seen, in a few words, such as `labelled 'cat', looks like 'dog' (0.97)`.
        previews: For each item a data URI of a small picture, or the beginning of the text; empty until they are made.
    """

    items: tuple[str, ...]
    note: str = ""
    previews: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One remarkable thing about the data.

    Attributes:
        kind: What it is, for example `exact_duplicates_across_sides`.
        severity: How much it matters to the numbers.
        count: How many items (or groups of items) are concerned.
        items: Names of some of them, at most 20.
        advice: What to do, one sentence or two.
        summary: What was found, one sentence; empty in records of older versions, whose advice says all.
        effect: What it does to the numbers, one sentence or two; may be empty.
        examples: Evidence to look at, at most 8.
    """

    kind: str
    severity: Severity
    count: int
    items: tuple[str, ...]
    advice: str
    summary: str = ""
    effect: str = ""
    examples: tuple[Example, ...] = ()

    @property
    def sentences(self) -> str:
        """The whole in words."""
        return " ".join(filter(None, [self.summary, self.effect, self.advice]))


def finding(
    kind: str,
    severity: Severity,
    names: Sequence[str],
    *,
    summary: str,
    advice: str,
    effect: str = "",
    count: int | None = None,
    examples: Iterable[Example] = (),
) -> Finding:
    """A finding about items, of which it keeps the first names and examples.

    Args:
        kind: What it is.
        severity: How much it matters.
        names: All items that are concerned.
        summary: What was found.
        advice: What to do.
        effect: What it does to the numbers.
        count: How many are concerned, where it is not the number of names.
        examples: Evidence, the most telling first.
    """
    shown = tuple(example for example, _ in zip(examples, range(MAX_EXAMPLES), strict=False))
    return Finding(
        kind,
        severity,
        len(names) if count is None else count,
        tuple(names[:MAX_NAMES]),
        advice,
        summary,
        effect,
        shown,
    )


def most_serious_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings by severity; those of one severity stay in their order."""
    return tuple(sorted(findings, key=lambda each: SEVERITIES.index(each.severity)))
