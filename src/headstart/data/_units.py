"""What a split must keep together, and how it is shared out: the routine behind hold-outs and folds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from headstart.data.dataset import Dataset
from headstart.errors import DataError


@dataclass(frozen=True)
class Units:
    """Sets of items that must never be separated.

    Attributes:
        of_items: For each item the number of its unit.
        counts: For each unit how many items of each class it has.
        ranks: For each unit its place in an order that depends on the seed and on its contents, and on nothing else.
    """

    of_items: Int[np.ndarray, " items"]
    counts: tuple[Counter[int], ...]
    ranks: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.counts)

    def per_class(self) -> Counter[int]:
        """For each class the number of units that have items of it."""
        return Counter(label for counts in self.counts for label in counts)


def units_of(dataset: Dataset, *, seed: int, purpose: str) -> Units:
    """The units of a dataset: items of equal or nearly equal content or of one group, and whatever these connect.

    The order of units comes from hashes of the seed and of their contents rather than from a random permutation, so
    neither the order of the items nor a few items more or less changes where the others go.

    Raises:
        DataError: If the items have no content keys yet.
    """
    keys = dataset.items.keys
    if len(keys) != len(dataset):
        raise DataError("items can be split only when their content keys are known", hint="Call identify first.")
    parent = list(range(len(dataset)))
    _connect(parent, keys)
    if dataset.groups is not None:
        _connect(parent, dataset.groups)
    if dataset.copies is not None:
        _connect(parent, dataset.copies)
    roots = [_root(parent, item) for item in range(len(dataset))]
    identity: dict[int, str] = {}
    for root, key in zip(roots, keys, strict=True):
        identity[root] = min(key, identity.get(root, key))
    order = sorted(identity, key=identity.__getitem__)
    number = {root: place for place, root in enumerate(order)}
    counts: list[Counter[int]] = [Counter() for _ in order]
    for root, target in zip(roots, dataset.targets.tolist(), strict=True):
        counts[number[root]][target] += 1
    ranks = [hashlib.sha256(f"{purpose} {seed} {identity[root]}".encode()).digest() for root in order]
    return Units(np.array([number[root] for root in roots], dtype=np.int64), tuple(counts), tuple(ranks))


def hold_out(units: Units, fraction: float, *, pinned: frozenset[int]) -> list[int]:
    """Part 1 for the units that are held out, part 0 for the others.

    In the order of the ranks, a unit is held out when that reduces Σ (n_c − q_c)² / q_c, with n_c the items of class c
    held out so far and q_c = fraction · (all items of c) what should be. So the first of each class are held out, and
    more items move only those near the end.

    Args:
        units: What to share out.
        fraction: The share to hold out, between 0 and 1.
        pinned: Units that are never held out.
    """
    ledger = _Ledger(units, [1 - fraction, fraction])
    order = sorted(range(len(units)), key=units.ranks.__getitem__)
    for unit in order:
        ledger.put(unit, 1 if unit not in pinned and ledger.cost(unit, 1) < 0 else 0)
    _spread(ledger, units, order, pinned)
    return ledger.parts


def share_out(units: Units, n_parts: int) -> list[int]:
    """The part of each unit, so that all parts have about as many items of each class.

    One unit after the other, the large ones first, goes where it raises Σ n_pc² / n_c least, with n_pc the items of
    class c in part p and n_c all of them; of equals to the part with the fewest items.

    Args:
        units: What to share out.
        n_parts: How many parts, 2 or more.
    """
    ledger = _Ledger(units, [1 / n_parts] * n_parts)
    order = sorted(range(len(units)), key=lambda unit: (-units.counts[unit].total(), units.ranks[unit]))
    for unit in order:
        ledger.put(unit, ledger.cheapest(unit, range(n_parts)))
    _spread(ledger, units, order, frozenset())
    return ledger.parts


class _Ledger:
    """How many items of each class every part has so far."""

    def __init__(self, units: Units, shares: Sequence[float]) -> None:
        totals = Counter[int]()
        for counts in units.counts:
            totals.update(counts)
        self.parts = [-1] * len(units)
        self.n_parts = len(shares)
        self._units = units
        self._quotas = [{label: share * n for label, n in totals.items()} for share in shares]
        self._have = [Counter[int]() for _ in shares]
        self._sizes = [0 for _ in shares]
        self._n_units = [Counter[int]() for _ in shares]

    def put(self, unit: int, part: int) -> None:
        counts = self._units.counts[unit]
        before = self.parts[unit]
        if before >= 0:
            self._have[before].subtract(counts)
            self._sizes[before] -= counts.total()
            self._n_units[before].subtract(counts.keys())
        self._have[part].update(counts)
        self._sizes[part] += counts.total()
        self._n_units[part].update(counts.keys())
        self.parts[unit] = part

    def cheapest(self, unit: int, parts: Sequence[int]) -> int:
        """The part where the unit costs least; of equals the emptiest, then the first."""
        return min(parts, key=lambda part: (self.cost(unit, part), self._sizes[part], part))

    def cost(self, unit: int, part: int) -> float:
        """How much Σ (n − q)² / q grows when the unit comes to a part, with q the part's share of all n of a class."""
        have, quotas = self._have[part], self._quotas[part]
        return sum(
            n * (2 * (have[label] - quotas[label]) + n) / quotas[label] for label, n in self._units.counts[unit].items()
        )

    def is_last(self, unit: int) -> bool:
        """Whether its part would lose a whole class with it."""
        n_units = self._n_units[self.parts[unit]]
        return any(n_units[label] == 1 for label in self._units.counts[unit])


def _spread(ledger: _Ledger, units: Units, order: Sequence[int], pinned: frozenset[int]) -> None:
    """Send one unit of every class that is in one part only, though it has several units, to the part it costs least.

    A unit stays when it is pinned, or when its part would lose a whole other class with it.
    """
    members: dict[int, list[int]] = {}
    for unit in order:
        for label in units.counts[unit]:
            members.setdefault(label, []).append(unit)
    # The rarest classes last: what they get is then not taken away again.
    for label in sorted(members, key=lambda label: (-len(members[label]), label)):
        here = ledger.parts[members[label][0]]
        if any(ledger.parts[unit] != here for unit in members[label]):
            continue
        movable = [unit for unit in members[label] if unit not in pinned and not ledger.is_last(unit)]
        if movable:
            others = [part for part in range(ledger.n_parts) if part != here]
            unit = min(movable, key=lambda unit: min(ledger.cost(unit, part) for part in others))
            ledger.put(unit, ledger.cheapest(unit, others))


def _connect(parent: list[int], names: Sequence[Hashable]) -> None:
    first: dict[Hashable, int] = {}
    for item, name in enumerate(names):
        other = _root(parent, first.setdefault(name, item))
        parent[_root(parent, item)] = other


def _root(parent: list[int], item: int) -> int:
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item
