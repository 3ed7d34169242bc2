"""Which unlabelled items to label next: those that a model is unsure of, and not many that are alike.

With a model: k-means with as many clusters as items are wanted, each item weighted by how unsure the model is of it; of
each cluster the item nearest to its centre (Zhdanov 2019, arXiv:1901.05954, without his filter: with few labels a model
does not know yet what it does not know, and the most uncertain items alone measured worse). Without one: k-means, and
of each cluster the most typical item (TypiClust, Hacohen et al. 2022, arXiv:2202.02794, for its first round).

`benchmarks/suggest.py` measures both against labelling at random; docs/labelling.md has what it printed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from headstart._randomness import generator
from headstart.errors import OptionError

_NEIGHBOURS = 20  # of a typical item, as in TypiClust
_MOST_CLUSTERED = 10_000  # the most uncertain ones, or without a model a random part: seconds, not minutes
_MOST_ROUNDS = 100
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Picked:
    """Items to label, the most useful first.

    Attributes:
        rows: Their positions, each once.
        n_alike: For each how many of the items that were looked at it stands for, itself included.
    """

    rows: Int[np.ndarray, " picked"]
    n_alike: Int[np.ndarray, " picked"]


def unsureness(probabilities: Float[np.ndarray, "items classes"]) -> Float[np.ndarray, " items"]:
    """One minus the margin between the two most probable classes: 0 where a model is sure, 1 where two are equal.

    Args:
        probabilities: Of two classes at least.
    """
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return np.asarray(1 - (first - second))


def pick_unsure(
    directions: Float32[np.ndarray, "items width"], unsure: Float[np.ndarray, " items"], n: int, *, seed: int
) -> Picked:
    """Items that a model is unsure of and that differ; those that stand for the most unsureness come first.

    Args:
        directions: The features of each item as a row of length 1.
        unsure: How unsure the model is of each, see `unsureness`; 0 to 1.
        n: How many, 1 or more; all where there are not so many.
        seed: Of the clustering.

    Raises:
        OptionError: If n is below 1.
    """
    _check(n)
    by_unsure = np.argsort(-unsure, kind="stable")
    if n >= len(unsure):
        return Picked(by_unsure, np.ones(len(by_unsure), dtype=np.int64))
    looked = np.sort(by_unsure[: max(_MOST_CLUSTERED, n)])
    # An item of which the model is certain may not be the only one of a cluster that has no weight.
    weights = unsure[looked] + 1e-6
    cluster, squared = _clusters(directions[looked], n, weights=weights, seed=seed)
    total = np.bincount(cluster, weights=weights, minlength=n)
    found = _one_of_each(cluster, squared, order=np.argsort(-total, kind="stable"))
    return _filled(looked[found], np.bincount(cluster, minlength=n)[cluster[found]], by_unsure, n)


def pick_typical(directions: Float32[np.ndarray, "items width"], n: int, *, seed: int) -> Picked:
    """The most typical item of each of n clusters, the largest cluster first: what to label before there is a model.

    An item is the more typical the nearer its 20 nearest neighbours in its cluster are.

    Args:
        directions: The features of each item as a row of length 1.
        n: How many, 1 or more; all where there are not so many.
        seed: Of the clustering, and of which items are looked at where there are more than 10,000.

    Raises:
        OptionError: If n is below 1.
    """
    _check(n)
    shuffled = generator(seed, "suggest").permutation(len(directions))
    if n >= len(directions):
        return Picked(np.arange(len(directions)), np.ones(len(directions), dtype=np.int64))
    looked = np.sort(shuffled[: max(_MOST_CLUSTERED, n)])
    seen = directions[looked]
    cluster, _ = _clusters(seen, n, weights=None, seed=seed)
    apart = np.empty(len(seen))
    for each in np.unique(cluster):
        rows = np.flatnonzero(cluster == each)
        apart[rows] = _mean_distance(seen[rows])
    sizes = np.bincount(cluster, minlength=n)
    found = _one_of_each(cluster, apart, order=np.argsort(-sizes, kind="stable"))
    return _filled(looked[found], sizes[cluster[found]], shuffled, n)


def _check(n: int) -> None:
    if n < 1:
        raise OptionError(f"at least 1 item must be asked for, but got {n}", hint="Write for example -n 50.")


def _clusters(
    rows: Float32[np.ndarray, "items width"], n: int, *, weights: Float[np.ndarray, " items"] | None, seed: int
) -> tuple[Int[np.ndarray, " items"], Float[np.ndarray, " items"]]:
    """The cluster of each row, and the square of its distance to the centre."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    state = int(generator(seed, "clusters").integers(2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters: some stay empty
        fitted = KMeans(n, n_init=1, max_iter=_MOST_ROUNDS, random_state=state).fit(rows, sample_weight=weights)
    cluster = np.asarray(fitted.labels_, dtype=np.int64)
    squared = np.concatenate(
        [
            ((rows[start : start + _BLOCK] - fitted.cluster_centers_[cluster[start : start + _BLOCK]]) ** 2).sum(axis=1)
            for start in range(0, len(rows), _BLOCK)
        ]
    )
    return cluster, squared


def _mean_distance(rows: Float32[np.ndarray, "items width"]) -> Float[np.ndarray, " items"]:
    """For each row the mean distance to its nearest others."""
    n_nearest = min(_NEIGHBOURS, len(rows) - 1)
    if n_nearest == 0:
        return np.zeros(1)
    found = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        own = np.arange(len(block))
        squared = np.maximum(2 - 2 * (block @ rows.T), 0)
        squared[own, start + own] = np.inf
        nearest = np.partition(squared, n_nearest - 1, axis=1)[:, :n_nearest]
        found[start : start + len(block)] = np.sqrt(nearest).mean(axis=1)
    return found


def _one_of_each(
    cluster: Int[np.ndarray, " items"], cost: Float[np.ndarray, " items"], *, order: Int[np.ndarray, " clusters"]
) -> Int[np.ndarray, " found"]:
    """Of each cluster, in this order, the item of the lowest cost; of equal ones the first."""
    by_cost = np.lexsort((cost, cluster))
    names, first = np.unique(cluster[by_cost], return_index=True)
    best = dict(zip(names.tolist(), by_cost[first].tolist(), strict=True))
    return np.array([best[each] for each in order.tolist() if each in best], dtype=np.int64)


def _filled(
    rows: Int[np.ndarray, " found"],
    n_alike: Int[np.ndarray, " found"],
    others: Int[np.ndarray, " items"],
    n: int,
) -> Picked:
    """As many as were asked for: where clusters stayed empty, the next of the others."""
    more = others[~np.isin(others, rows)][: n - len(rows)]
    return Picked(np.concatenate([rows, more]), np.concatenate([n_alike, np.ones(len(more), dtype=np.int64)]))
