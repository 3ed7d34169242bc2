"""Items that are there more than once: exact copies and near ones, across the sides and within training.

Near-copies are looked for among neighbours, in features and by the pictures or words themselves, and every pair is then
judged by its pictures or words alone: two photographs of one thing have like features and are no copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart._randomness import generator
from headstart.auditing import _pictures, _words
from headstart.auditing.finding import MAX_EXAMPLES, Example, Finding, finding
from headstart.auditing.neighbours import MOST_EXACT, nearest, unit_rows
from headstart.data.dataset import Dataset, Items

PICTURE_SIDE = _pictures.SIDE
"""Height and width of the pictures that are compared, in pixels."""

_NEIGHBOURS, _ALIKE_AT_A_GLANCE, _LOOKED_AT = 6, 2, 4
_LOOKED_AT_OF_MANY = 1  # where looking costs the most time
_LEAST_ALIKE = {"image": 0.96, "text": 0.7}
_LEAST_ALIKE_SMALL = 0.92  # pictures of fewer pixels than are compared
_MOST_ALIKE = {"image": 0.97, "text": 0.9}
_FAR_NEIGHBOURS, _SAMPLED = (8, 9, 10), 200
_ROOM = {"image": 0.75, "text": 0.03}  # of the way from the likeness of such neighbours to sameness
_SERIOUS_SHARE = 0.01
_SAME_WORDS = 0.999
_EXACT, _NEAR = "exact copies", "near-copies"
_OF_TRAINING = "They stay in one fold and do the estimates no harm, but they count as often as they occur."
_OF_THE_TEST = "The test counts each as an item of its own, so its intervals are a little too narrow."


@dataclass(frozen=True, eq=False)
class Copies:
    """Which items are the same.

    Attributes:
        clusters: For each item the number of its set of copies, exact or near; -1 for an item that has none.
        exact: For each item whether another has exactly its content.
        pairs: Pairs of different content that were found to be near-copies, the most alike first.
        alike: How alike each of these pairs is, at most 1.
        threshold: From what likeness on pairs of this data count as copies.
    """

    clusters: Int[np.ndarray, " items"]
    exact: Bool[np.ndarray, " items"]
    pairs: Int[np.ndarray, "pairs 2"]
    alike: Float32[np.ndarray, " pairs"]
    threshold: float

    @property
    def together(self) -> tuple[int, ...]:
        """For each item a number that all of its copies share, and no other item."""
        single = self.clusters < 0
        numbers = self.clusters.copy()
        numbers[single] = self.clusters.max(initial=-1) + 1 + np.arange(int(single.sum()))
        return tuple(numbers.tolist())

    def take(self, rows: Sequence[int] | Int[np.ndarray, " rows"]) -> Copies:
        """The copies among the items at these positions, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        place = np.full(len(self.clusters), -1, dtype=np.int64)
        place[index] = np.arange(len(index))
        kept = (place[self.pairs] >= 0).all(axis=1) if len(self.pairs) else np.zeros(0, dtype=bool)
        clusters = self.clusters[index]
        often = np.bincount(clusters[clusters >= 0], minlength=int(self.clusters.max(initial=-1)) + 1)
        alone = np.array([cluster >= 0 and often[cluster] < 2 for cluster in clusters.tolist()], dtype=bool)
        return Copies(
            np.where(alone, -1, clusters),
            self.exact[index],
            place[self.pairs[kept]],
            self.alike[kept],
            self.threshold,
        )


def find_copies(
    items: Items,
    features: Float32[np.ndarray, "items width"] | None = None,
    pictures: Float32[np.ndarray, "items side side"] | None = None,
    *,
    seed: int = 0,
) -> Copies:
    """Exact copies and near ones.

    How alike two items must be is calibrated on the data: the likeness of pairs that are not each other's nearest by
    far, the eighth to tenth neighbours of some items, shows what items of this kind have in common without being
    copies, and a pair must be more alike than practically all of these.

    Args:
        items: Identified items.
        features: What a backbone says about each; None looks for neighbours by words or pictures alone.
        pictures: For images the brightness of each, 0 to 1, the whole of it as a square of `PICTURE_SIDE` pixels a
            side; None finds only exact copies of images.
        seed: Of the sample that the threshold is calibrated on.
    """
    example = list({key: row for row, key in reversed(list(enumerate(items.keys)))}.values())[::-1]
    first = {items.keys[row]: place for place, row in enumerate(example)}
    of_items = np.array([first[key] for key in items.keys], dtype=np.int64)
    counts = np.bincount(of_items, minlength=len(example))
    near = _near(items, np.array(example), features, pictures, seed)
    clusters = _sets(_components(near.pairs, len(example))[of_items])
    order = np.argsort(-near.alike, kind="stable")
    rows = np.array(example, dtype=np.int64)
    return Copies(clusters, counts[of_items] > 1, rows[near.pairs[order]], near.alike[order], near.threshold)


def copies_among_all(items: Items, known: Copies, rows: Int[np.ndarray, " known"]) -> Copies:
    """The copies among all items where only some have features: those that are known, and what needs no features.

    Args:
        items: All, identified.
        known: As from `find_copies` on some of them; its threshold holds for all.
        rows: Where these some are among all.
    """
    found = find_copies(items)
    sure = found.alike >= known.threshold
    pairs, first = np.unique(
        np.sort(np.vstack([rows[known.pairs], found.pairs[sure]]), axis=1), axis=0, return_index=True
    )
    alike = np.concatenate([known.alike, found.alike[sure]])[first]
    keys: dict[str, int] = {}
    same = np.array([(keys.setdefault(key, row), row) for row, key in enumerate(items.keys)], dtype=np.int64)
    clusters = _sets(_components(np.vstack([same.reshape(-1, 2), pairs]), len(items)))
    order = np.argsort(-alike, kind="stable")
    return Copies(clusters, found.exact, pairs[order], alike[order], known.threshold)


def _sets(component: np.ndarray) -> Int[np.ndarray, " items"]:
    """For each item the number of its component; -1 for an item that is alone."""
    clusters = np.full(len(component), -1, dtype=np.int64)
    several = np.bincount(component)[component] > 1
    clusters[several] = np.unique(component[several], return_inverse=True)[1]
    return clusters


@dataclass(frozen=True, eq=False)
class _Near:
    """Pairs of contents that are near-copies, how alike they are, and from what likeness on they count."""

    pairs: np.ndarray
    alike: np.ndarray
    threshold: float


def _near(items: Items, rows: np.ndarray, features: np.ndarray | None, pictures: np.ndarray | None, seed: int) -> _Near:
    least, most = _LEAST_ALIKE[items.modality], _MOST_ALIKE[items.modality]
    none = _Near(np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32), least)
    if len(rows) < 2:
        return none
    by_features = np.empty((len(rows), 0), dtype=np.int64)
    if features is not None:
        own = features if len(rows) == len(features) else features[rows]
        by_features = nearest(unit_rows(own), max(_FAR_NEIGHBOURS))
    sample = generator(seed, "copies").permutation(len(rows))[:_SAMPLED]
    far = [
        (row, other) for row in sample.tolist() for other in by_features[row, _FAR_NEIGHBOURS[0] - 1 :] if other >= 0
    ]
    unlike = np.array(far, dtype=np.int64).reshape(-1, 2)
    if items.modality == "text":
        words = [_words.words_of(str(items.values[row])) for row in rows]
        same = np.array(list(_words.same_words(words)), dtype=np.int64).reshape(-1, 2)
        found = _pairs(by_features[:, :_NEIGHBOURS])
        candidates = np.unique(np.vstack([found, np.sort(_words.shared_pairs(words), axis=1), same]), axis=0)
        alike, background = _words.likeness(words, candidates), _words.likeness(words, unlike)
    elif pictures is not None:
        shown = pictures if len(rows) == len(pictures) else pictures[rows]
        least = _LEAST_ALIKE_SMALL if _pictures.are_small(shown) else least
        candidates = _pictured_alike(shown, by_features)
        alike, background = _pictures.likeness(shown, candidates), _pictures.likeness(shown, unlike)
    else:
        return none
    threshold = least
    if len(background):
        usual = float(np.quantile(background, 0.99))
        threshold = float(np.clip(usual + _ROOM[items.modality] * (1 - usual), least, most))
    kept = alike >= threshold
    return _Near(candidates[kept], alike[kept], threshold)


def _pictured_alike(pictures: np.ndarray, by_features: np.ndarray) -> Int[np.ndarray, "pairs 2"]:
    """Neighbours in features, or at a glance of the whole of one and of the whole or a crop of the other."""
    # Of many, crops are found among the neighbours in features alone: each further look costs some seconds.
    views = _pictures.glimpses(pictures, of_crops=len(pictures) <= MOST_EXACT)
    by_looks = nearest(_pictures.glance(pictures), _ALIKE_AT_A_GLANCE, queries=views)
    found = np.unique(np.vstack([_pairs(by_features[:, :_NEIGHBOURS]), _pairs(by_looks)]), axis=0)
    return _pictures.most_alike(pictures, found, _LOOKED_AT if len(pictures) <= MOST_EXACT else _LOOKED_AT_OF_MANY)


def _components(pairs: np.ndarray, n_items: int) -> Int[np.ndarray, " items"]:
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n_items, n_items))
    component: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return component


def _pairs(neighbours: np.ndarray) -> Int[np.ndarray, "pairs 2"]:
    rows, columns = np.nonzero(neighbours >= 0)
    pairs = np.column_stack([rows, neighbours[rows, columns]]).astype(np.int64)
    return np.unique(np.sort(pairs, axis=1), axis=0) if len(pairs) else pairs.reshape(-1, 2)


def copy_findings(
    dataset: Dataset,
    copies: Copies,
    is_test: Bool[np.ndarray, " items"] | None = None,
    *,
    labelled: Bool[np.ndarray, " items"] | None = None,
) -> Iterator[Finding]:
    """What the copies mean for the numbers.

    Args:
        dataset: All items.
        copies: As from `find_copies` on these.
        is_test: For each item whether it is on the test side; None where there are no sides.
        labelled: For each item whether its label may be looked at, for contradictions; all if not given.
    """
    labelled = np.ones(len(dataset), dtype=bool) if labelled is None else labelled
    if is_test is not None and is_test.any():
        yield from _across(dataset, copies, is_test)
    yield from _conflicts(dataset, copies, labelled)
    if is_test is None or not is_test.any():
        yield from _within(dataset, copies, np.ones(len(dataset), dtype=bool), "")
    else:
        yield from _within(dataset, copies, ~is_test, "training")
        yield from _within(dataset, copies, is_test, "test")


def twins(dataset: Dataset, copies: Copies, ours: Bool[np.ndarray, " items"]) -> dict[int, int]:
    """For each of our items that has a copy among the others: the position of the first such copy.

    Args:
        dataset: All items.
        copies: As from `find_copies` on these.
        ours: Which items are ours.
    """
    others: dict[int, int] = {}
    by_key: dict[str, int] = {}
    for row in np.flatnonzero(~ours).tolist():
        by_key.setdefault(dataset.items.keys[row], row)
        if copies.clusters[row] >= 0:
            others.setdefault(int(copies.clusters[row]), row)
    found = {}
    for row in np.flatnonzero(ours & (copies.clusters >= 0)).tolist():
        other = by_key.get(dataset.items.keys[row], others.get(int(copies.clusters[row])))
        if other is not None:
            found[row] = other
    return found


def _across(dataset: Dataset, copies: Copies, is_test: np.ndarray) -> Iterator[Finding]:
    names, keys = dataset.items.names, dataset.items.keys
    in_both = twins(dataset, copies, is_test)
    n_test = int(is_test.sum())
    exact = {row: other for row, other in in_both.items() if keys[row] == keys[other]}
    near = {row: other for row, other in in_both.items() if row not in exact}
    for rows, kind, what in ((exact, "exact", _EXACT), (near, "near", _NEAR)):
        if not rows:
            continue
        share = len(rows) / n_test
        words = f"is {_singular(what)}" if len(rows) == 1 else f"are {what}"
        yield finding(
            f"{kind}_duplicates_across_sides",
            "serious" if share >= _SERIOUS_SHARE else "warning",
            [names[row] for row in rows],
            summary=f"{len(rows):,} of {n_test:,} test items ({100 * share:.1f} %) {words} of training items.",
            effect="A model can know them by heart, so the test result is too good by up to as much.",
            advice="Remove them from one side: --groups auto leaves the training copies out.",
            examples=[Example((names[row], names[other]), "test and training") for row, other in rows.items()],
        )


def _conflicts(dataset: Dataset, copies: Copies, labelled: np.ndarray) -> Iterator[Finding]:
    of_one_sense = _of_one_sense(dataset, copies)
    members: dict[int, list[int]] = {}
    for row in np.flatnonzero(labelled & (copies.clusters >= 0)).tolist():
        members.setdefault(int(of_one_sense[row]), []).append(row)
    torn = [rows for rows in members.values() if len(set(dataset.targets[rows].tolist())) > 1]
    if not torn:
        return
    names, concerned = dataset.items.names, [row for rows in torn for row in rows]
    yield finding(
        "conflicting_labels",
        "serious",
        [names[row] for row in concerned],
        summary=(
            f"{len(concerned):,} items are copies of one another with different labels "
            f"({len(torn):,} {'content' if len(torn) == 1 else 'contents'})."
        ),
        effect="At most one label of each can be right; the others teach, or test, what is wrong.",
        advice="Correct them.",
        examples=[
            Example(
                tuple(names[row] for row in rows[:2]),
                " and ".join(repr(dataset.classes[dataset.targets[row]]) for row in rows[:2]),
            )
            for rows in (_torn_pair(rows, dataset) for rows in torn[:MAX_EXAMPLES])
        ],
    )


def _of_one_sense(dataset: Dataset, copies: Copies) -> Int[np.ndarray, " items"]:
    """For each item the number of the copies that must have its label: one word more can turn what a text says."""
    if dataset.modality != "text":
        return copies.clusters
    first: dict[str, int] = {}
    same = [(row, first.setdefault(key, row)) for row, key in enumerate(dataset.items.keys)]
    linked = np.vstack([np.array(same, dtype=np.int64), copies.pairs[copies.alike >= _SAME_WORDS]])
    return _components(linked, len(dataset))


def _torn_pair(rows: list[int], dataset: Dataset) -> list[int]:
    first = rows[0]
    return [first, next(row for row in rows if dataset.targets[row] != dataset.targets[first])]


def _within(dataset: Dataset, copies: Copies, inside: np.ndarray, side: str) -> Iterator[Finding]:
    names, keys = dataset.items.names, dataset.items.keys
    first_of_key: dict[str, int] = {}
    first_of_cluster: dict[int, int] = {}
    exact, near = [], []
    for row in np.flatnonzero(inside & (copies.clusters >= 0)).tolist():
        first = first_of_key.setdefault(keys[row], row)
        other = first_of_cluster.setdefault(int(copies.clusters[row]), row)
        if first != row:
            exact.append((row, first))
        elif other != row:
            near.append((row, other))
    n_items = int(inside.sum())
    for pairs, kind, what in ((exact, "exact_duplicates", _EXACT), (near, "near_duplicates", _NEAR)):
        if not pairs:
            continue
        shown = _seen_pairs(near, copies) if kind == "near_duplicates" else pairs
        yield finding(
            f"{kind}_in_test" if side == "test" else kind,
            "info",
            [names[row] for row, _ in pairs],
            summary=(
                f"{len(pairs):,} of {n_items:,} {f'{side} items' if side else 'items'} "
                f"{f'is {_singular(what)}' if len(pairs) == 1 else f'are {what}'} of others."
            ),
            effect=_OF_THE_TEST if side == "test" else _OF_TRAINING,
            advice="Remove them, unless they are meant to weigh more.",
            examples=[Example((names[other], names[row])) for row, other in shown],
        )


def _seen_pairs(near: list[tuple[int, int]], copies: Copies) -> list[tuple[int, int]]:
    """The pairs that were found alike among these; within a set of copies not every pair is."""
    rows = {row for pair in near for row in pair}
    found = [(other, one) for one, other in copies.pairs.tolist() if one in rows and other in rows]
    return found or near


def _singular(copies: str) -> str:
    return {_EXACT: "an exact copy", _NEAR: "a near-copy"}[copies]
