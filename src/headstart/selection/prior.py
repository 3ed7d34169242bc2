"""What to expect of a backbone before any pass: how earlier fine-tunes, published results or its size speak for it."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import msgspec
from scipy.stats import rankdata

from headstart.backbones.catalogue import Entry
from headstart.backbones.spec import BackboneSpec
from headstart.errors import OptionError


@dataclass(frozen=True, slots=True)
class Prior:
    """What is expected of a backbone.

    Attributes:
        value: Expected accuracy in standard deviations over the public models of its modality; 0 is the middle one,
            higher is better. Values of two modalities cannot be compared.
        origin: Where the value is from, in words.
    """

    value: float
    origin: str


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line from one fact to the expected accuracy.

    Attributes:
        intercept: Expected accuracy where the fact is 0.
        slope: Per unit of the fact.
        origin: What it was fitted to and how well it fits, in words.
        low: Smallest fact that the line was fitted to; a smaller one counts as this. None for no bound.
        high: Largest one, likewise.
    """

    intercept: float
    slope: float
    origin: str
    low: float | None = None
    high: float | None = None

    def at(self, fact: float) -> float:
        """The expected accuracy."""
        bounded = min(
            max(fact, -math.inf if self.low is None else self.low), math.inf if self.high is None else self.high
        )
        return self.intercept + self.slope * bounded


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known about one modality; `benchmarks/ranking.py --write` computes it.

    Attributes:
        order: The sources by how directly they speak, best first: names of `measures`, or `fine_tunes`.
        fine_tunes: By hub repository the median standardised accuracy and the number of tasks that it is over.
        measures: By the measure of a published result, the line from it.
        size: The line from the decimal logarithm of the parameters, for backbones of which nothing else is known.
    """

    order: tuple[str, ...]
    fine_tunes: dict[str, tuple[float, int]]
    measures: dict[str, Line]
    size: Line


@functools.cache
def knowledge() -> dict[str, Knowledge]:
    """What is known, by modality."""
    file = resources.files("headstart.selection") / "prior.json"
    return msgspec.json.decode(file.read_bytes(), type=dict[str, Knowledge])


def prior(facts: Entry | BackboneSpec) -> Prior:
    """What to expect of a backbone, from the most direct source that knows it.

    Args:
        facts: An entry of the catalogue, or the spec of a backbone that is not in it.
    """
    known = knowledge()[facts.modality]
    repository = facts.repository if isinstance(facts, Entry) else facts.source.location
    published = {each.measure: each.value for each in facts.evidence} if isinstance(facts, Entry) else {}
    for source in known.order:
        if source == "fine_tunes" and repository in known.fine_tunes:
            value, n_tasks = known.fine_tunes[repository]
            return Prior(value, f"median of its fine-tunes on {n_tasks} public tasks")
        if source in known.measures and source in published:
            line = known.measures[source]
            return Prior(line.at(published[source]), line.origin)
    return Prior(known.size.at(math.log10(max(facts.n_params, 1))), known.size.origin)


def combine(priors: Mapping[str, float], *scores: Mapping[str, float]) -> dict[str, float]:
    """One order from expectations and from scores on the data: half the weight each, as ranks.

    Ranks, because the units differ and a few values can be far off. On nine text tasks any weight of the scores from
    0.2 to 0.7 chose equally well (docs/decisions/0010-prior.md), so the halves need no tuning. Whatever comes out, a
    race should keep the candidate of which most was expected: scores on few items can be wrong about a strong one.

    Args:
        priors: The expected accuracy of each candidate.
        scores: For example leave-one-out and nearest-neighbour accuracy of the same candidates; higher is better.

    Returns:
        The mean rank of each candidate from 0 (worst of all) to 1 (best of all), best first.

    Raises:
        OptionError: If a score is not about the same candidates.
    """
    names = list(priors)
    for score in scores:
        if set(score) != set(names):
            raise OptionError(
                f"a score must be about the candidates {', '.join(sorted(names))}, but got {', '.join(sorted(score))}"
            )
    expected = _ranks([priors[name] for name in names])
    measured = [_ranks([score[name] for name in names]) for score in scores]
    means = [sum(ranks) / len(measured) for ranks in zip(*measured, strict=True)] if measured else expected
    combined = {name: (a + b) / 2 for name, a, b in zip(names, expected, means, strict=True)}
    return dict(sorted(combined.items(), key=lambda item: -item[1]))


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0 (lowest) to 1 (highest), equal values sharing the mean of their ranks."""
    return [float(rank - 1) / max(len(values) - 1, 1) for rank in rankdata(values)]
