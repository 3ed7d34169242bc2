"""Names that are numbered in series, such as the frames of a film or the scans of a patient, proposed as groups.

A name alone proves nothing: every camera numbers its photographs. A grouping is proposed only when the items of one
group are more alike, in the features, than other items of the same class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from headstart._randomness import generator
from headstart.auditing._names import is_place
from headstart.auditing.finding import Example, Finding, finding

LEAST_EFFECT = 0.1
"""By how much the mean cosine within groups must exceed that between groups of one class."""

_LEVEL = 0.01
_PARTS = 8
_GROUPED = 0.5
_FEW_ITEMS = 8
_WIDTH = 64
_SAMPLE = 3_000
_PERMUTATIONS, _EXCEEDED = 999, 10
_SERIOUS_SHARE = 0.5
_SIDES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


@dataclass(frozen=True)
class Proposal:
    """A way to group items by their names.

    Attributes:
        what: What the names of a group have in common, in words.
        groups: For each item the number of its group, -1 for none.
    """

    what: str
    groups: Int[np.ndarray, " items"]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike the items of groups are; cosines of features from which the mean of the class was taken.

    Attributes:
        within: Mean cosine of two items of one group and class.
        between: Mean cosine of two items of one class and different groups.
        p_value: Of a permutation test that shuffles the groups within each class; 1 where there are no such pairs.
    """

    within: float
    between: float
    p_value: float

    @property
    def effect(self) -> float:
        """By how much items of one group are more alike."""
        return self.within - self.between


@dataclass(frozen=True)
class Series:
    """Groups that names propose and features confirm.

    Attributes:
        proposal: The groups.
        likeness: The evidence.
    """

    proposal: Proposal
    likeness: Likeness


def series_of(names: Sequence[str], targets: Int[np.ndarray, " items"], classes: Sequence[str]) -> tuple[Proposal, ...]:
    """The groupings that names allow, from coarse to fine.

    A name is taken apart into the folders below its class folder, words and numbers; names that begin with the same
    parts form a group. Groupings that do not divide any class, or leave most items alone, are passed over.

    Args:
        names: What the items are called: paths with forward slashes.
        targets: The class of each.
        classes: The names of the classes, whose folders say nothing new.
    """
    skipped = {name.casefold() for name in classes} | _SIDES
    parts = [_parts(name, skipped) for name in names]
    proposals: list[Proposal] = []
    seen: set[bytes] = set()
    for n_parts in range(1, _PARTS + 1):
        groups = _numbered([each[:n_parts] if len(each) >= n_parts else None for each in parts])
        if groups.tobytes() not in seen and _is_plausible(groups, targets):
            first = parts[int(np.flatnonzero(groups >= 0)[0])][:n_parts]
            proposals.append(Proposal(f"begin alike, such as with {''.join(first)!r}", groups))
        seen.add(groups.tobytes())
    return tuple(proposals)


def _parts(name: str, skipped: set[str]) -> tuple[str, ...]:
    """A path as folders, words and numbers; a number keeps what separates it from the part before."""
    *above, last = name.split("/")
    stem = last.rpartition(".")[0] or last
    folders = [f"{part}/" for part in above if part.casefold() not in skipped]
    return (*folders, *re.findall(r"[\W_]*(?:\d+|[^\W\d_]+)", stem))


def _numbered(keys: Sequence[object]) -> Int[np.ndarray, " items"]:
    """Groups of two and more by number, in the order of their first items; what is alone or has no key is -1."""
    counts: dict[object, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    numbers: dict[object, int] = {}
    groups = [-1 if key is None or counts[key] < 2 else numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(groups, dtype=np.int64)


def _is_plausible(groups: Int[np.ndarray, " items"], targets: Int[np.ndarray, " items"]) -> bool:
    """Whether there are two groups or more, most items are in one, and some class has items of several."""
    grouped = groups >= 0
    if len(groups) < _FEW_ITEMS or grouped.mean() < _GROUPED or groups.max() < 1:
        return False
    pairs = np.unique(np.stack([targets[grouped], groups[grouped]]), axis=1)
    return bool(np.bincount(pairs[0]).max() > 1)


def sequences_of(names: Sequence[str]) -> tuple[Int[np.ndarray, " rows"], ...]:
    """Items that are numbered in sequence: for each folder and beginning of a name the rows, by their last number.

    Args:
        names: What the items are called: paths with forward slashes.
    """
    sequences: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for row, name in enumerate(names):
        folder, _, last = name.rpartition("/")
        stem = last.rpartition(".")[0] or last
        found = re.search(r"(\d{1,18})(\D*)$", stem)
        if found is not None:
            sequences.setdefault((folder, stem[: found.start()], found[2]), []).append((int(found[1]), row))
    return tuple(
        np.array([row for _, row in sorted(rows)], dtype=np.int64)
        for rows in sequences.values()
        if len(rows) >= _FEW_ITEMS
    )


def alike_within(
    groups: Int[np.ndarray, " items"],
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    seed: int = 0,
) -> Likeness:
    """Whether items of one group are more alike than items of one class in different groups.

    Groups are shuffled within each class, which leaves the classes as they are (Good, Permutation, Parametric and
    Bootstrap Tests of Hypotheses, 2005, on blocks); shuffling ends early when it is clear that p is not small (Besag
    and Clifford, Biometrika 1991).

    Args:
        groups: For each item the number of its group, -1 for none; those are left out.
        features: What a backbone says about the items; from wide ones 64 random directions are taken.
        targets: The class of each.
        seed: Of the directions, the sample and the permutations.
    """
    rows = _some_groups(groups, seed)
    if len(rows) < 2:
        return Likeness(0.0, 0.0, 1.0)
    unit = _centred(features[rows], targets[rows], seed)
    own = np.unique(targets[rows], return_inverse=True)[1]
    pairs = _Pairs.of(unit, own)
    of_group = np.unique(groups[rows], return_inverse=True)[1]
    within, between = pairs.cosines(of_group)
    if not np.isfinite(within - between):
        return Likeness(0.0, 0.0, 1.0)
    random = generator(seed, "series", "permutations")
    order = np.argsort(own, kind="stable")
    n_drawn = n_reached = 0
    while n_drawn < _PERMUTATIONS and n_reached < _EXCEEDED:
        shuffled = np.empty_like(of_group)
        shuffled[order] = of_group[np.lexsort((random.random(len(own)), own))]
        # Pairs of one group are as many as before, so the mean within says it all.
        n_reached += pairs.cosines(shuffled)[0] >= within - 1e-9
        n_drawn += 1
        if n_drawn == 199 and within - between < LEAST_EFFECT:
            break
    return Likeness(within, between, (n_reached + 1) / (n_drawn + 1))


def _some_groups(groups: Int[np.ndarray, " items"], seed: int) -> Int[np.ndarray, " rows"]:
    """The items of as many whole groups as make some thousand, chosen at random."""
    rows = np.flatnonzero(groups >= 0)
    if len(rows) <= _SAMPLE:
        return rows
    random = generator(seed, "series", "sample")
    order = random.permutation(int(groups.max()) + 1)
    sizes = np.bincount(groups[rows])[order]
    kept = np.zeros(len(order), dtype=bool)
    kept[order[: max(2, int(np.searchsorted(np.cumsum(sizes), _SAMPLE)))]] = True
    some = rows[kept[groups[rows]]]
    # Groups may be large themselves.
    return some if len(some) <= 2 * _SAMPLE else np.sort(random.choice(some, 2 * _SAMPLE, replace=False))


def _centred(
    features: Float[np.ndarray, "items width"], targets: Int[np.ndarray, " items"], seed: int
) -> Float64[np.ndarray, "items directions"]:
    """Features without the mean of their class, at length 1."""
    values: np.ndarray = features
    if features.shape[1] > _WIDTH:
        # Random directions keep cosines (Johnson and Lindenstrauss 1984).
        directions = generator(seed, "series", "directions").standard_normal((features.shape[1], _WIDTH))
        values = features @ directions.astype(features.dtype)
    values = values.astype(np.float64)
    own = np.unique(targets, return_inverse=True)[1]
    sums = np.zeros((int(own.max()) + 1, values.shape[1]))
    np.add.at(sums, own, values)
    values = values - (sums / np.bincount(own)[:, None])[own]
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit: np.ndarray = values / np.where(lengths > 0, lengths, 1.0)
    return unit


@dataclass(frozen=True)
class _Pairs:
    """Sums of cosines over pairs of items, from sums of vectors: Σ over pairs of ⟨x, y⟩ = ‖Σ x‖² − Σ ‖x‖²."""

    unit: Float64[np.ndarray, "items directions"]
    targets: Int[np.ndarray, " items"]
    in_classes: float
    n_in_classes: float

    @staticmethod
    def of(unit: Float64[np.ndarray, "items directions"], targets: Int[np.ndarray, " items"]) -> _Pairs:
        """The pairs of items of one class."""
        return _Pairs(unit, targets, *_over_pairs(unit, targets))

    def cosines(self, groups: Int[np.ndarray, " items"]) -> tuple[float, float]:
        """The mean cosine of pairs within groups and between groups of one class, or NaN where there are none."""
        cells = self.targets * (int(groups.max()) + 1) + groups
        total, n_pairs = _over_pairs(self.unit, cells)
        n_between = self.n_in_classes - n_pairs
        within = total / n_pairs if n_pairs else np.nan
        return float(within), float((self.in_classes - total) / n_between if n_between else np.nan)


def _over_pairs(unit: Float64[np.ndarray, "items directions"], cells: Int[np.ndarray, " items"]) -> tuple[float, float]:
    """Sum of cosines over ordered pairs of different items of one cell, and how many pairs there are."""
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    sums = np.add.reduceat(unit[order], starts, axis=0)
    sizes = np.diff(np.append(starts, len(cells)))
    return float((sums**2).sum() - (unit**2).sum()), float((sizes * (sizes - 1)).sum())


def runs_of(
    sequences: Sequence[Int[np.ndarray, " rows"]],
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    seed: int = 0,
) -> Series | None:
    """Sequences of numbers, cut where neighbours stop being alike; None when neighbours are no more alike than others.

    The cuts depend on the likeness, so the evidence is another: that of pairs of neighbours, each item in one pair at
    most, which depend on the names alone.

    Args:
        sequences: As from `sequences_of`.
        features: What a backbone says about the items.
        targets: The class of each.
        seed: Of the directions and the permutations.
    """
    groups = np.full(len(targets), -1, dtype=np.int64)
    for sequence in sequences:
        paired = sequence[: 2 * (len(sequence) // 2)].reshape(-1, 2)
        groups[paired] = int(groups.max()) + 1 + np.arange(len(paired))[:, None]
    if not (groups >= 0).any():
        return None
    likeness = alike_within(groups, features, targets, seed)
    if not _is_told(likeness, 1):
        return None
    unit = _centred(features, targets, seed)
    least = (likeness.within + likeness.between) / 2
    n_groups, runs = 0, np.full(len(targets), -1, dtype=np.int64)
    for sequence in sequences:
        cosine = np.einsum("ij,ij->i", unit[sequence[1:]], unit[sequence[:-1]])
        number = np.cumsum(np.append(True, cosine < least)) - 1
        runs[sequence] = n_groups + number
        n_groups += int(number[-1]) + 1
    runs = _numbered([None if run < 0 else run for run in runs.tolist()])
    return Series(Proposal("follow one another in number", runs), likeness)


def find_series(
    names: Sequence[str],
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    classes: Sequence[str],
    seed: int = 0,
) -> Series | None:
    """The grouping by names that features confirm best, or None.

    Of nested groupings it is the coarsest with at least half of the largest effect: a patient rather than one scan.

    Args:
        names: What the items are called; places in tables and lists, such as `row 17`, give none.
        features: What a backbone says about them.
        targets: The class of each.
        classes: The names of the classes.
        seed: Of all that is random.
    """
    if all(map(is_place, names)):
        return None
    proposals = series_of(names, targets, classes)
    told = [
        Series(proposal, likeness)
        for proposal in proposals
        if _is_told(likeness := alike_within(proposal.groups, features, targets, seed), len(proposals))
    ]
    if told:
        most = max(series.likeness.effect for series in told)
        return next(series for series in told if series.likeness.effect >= most / 2)
    return runs_of(sequences_of(names), features, targets, seed)


def _is_told(likeness: Likeness, n_tested: int) -> bool:
    return likeness.p_value * n_tested < _LEVEL and likeness.effect >= LEAST_EFFECT


def series_findings(series: Series | None, names: Sequence[str]) -> list[Finding]:
    """What a series is, in words; nothing when there is none.

    Args:
        series: As from `find_series`.
        names: What the items are called.
    """
    if series is None:
        return []
    groups = series.proposal.groups
    grouped = np.flatnonzero(groups >= 0)
    if not len(grouped):
        return []
    n_groups = int(groups.max()) + 1
    share = len(grouped) / len(names)
    sizes = np.bincount(groups[grouped])
    largest = np.argsort(-sizes, kind="stable")[:8].tolist()
    examples = []
    for group in largest:
        rows = np.flatnonzero(groups == group)
        some = tuple(names[row] for row in rows[:3].tolist())
        examples.append(Example(some, f"{len(rows)} items of one series"))
    return [
        finding(
            "series",
            "serious" if share >= _SERIOUS_SHARE else "warning",
            [names[row] for row in grouped.tolist()],
            count=n_groups,
            summary=(
                f"{len(grouped):,} of {len(names):,} items ({share:.0%}) form {n_groups:,} series: their names "
                f"{series.proposal.what}, and they look alike (cosine {series.likeness.within:.2f} within a series, "
                f"{series.likeness.between:.2f} between others of the same class)."
            ),
            effect="Where a series is on both sides of a split, the result is too good: a model recognises the series.",
            advice="Use --groups auto, or give the groups in a column, so that no series is divided.",
            examples=examples,
        )
    ]
