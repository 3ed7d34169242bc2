"""Which items are most alike in features: exactly for some thousands, with an approximate index beyond.

The only module that knows faiss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float32, Int

MOST_EXACT = 6_000
"""Beyond so many items an index is asked: comparing all with all grows with the square of their number."""

_BLOCK = 1024
_MANY = 16 * _BLOCK
_PROJECTED = 128  # near-copies stay neighbours in so few directions
_CELLS_A_ROOT = 4  # cells of the index for each √items, as faiss recommends
_TRAINED_ON, _ROUNDS = 20, 5  # items for each cell; rounds of its k-means
_LOOKED_AT = 6  # cells that are looked at for each item

_Search = Callable[[np.ndarray], np.ndarray]


def unit_rows(rows: Float32[np.ndarray, "items width"]) -> Float32[np.ndarray, "items width"]:
    """Rows without their mean, of length 1 each; rows of zeros stay zeros.

    Args:
        rows: Features.
    """
    centred = rows - rows.mean(axis=0, dtype=np.float32)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    centred /= np.maximum(lengths, np.finfo(np.float32).tiny)
    unit: np.ndarray = centred
    return unit


def nearest(
    rows: Float32[np.ndarray, "items width"],
    k: int,
    *,
    queries: Iterable[Float32[np.ndarray, "items width"]] | None = None,
    most_exact: int = MOST_EXACT,
) -> Int[np.ndarray, "items found"]:
    """For each item the positions of the k others whose rows are most alike by inner product, the most alike first.

    Args:
        rows: As from `unit_rows`.
        k: How many, 1 or more; there are fewer columns when there are not as many other items.
        queries: What to compare with the others instead of the rows: views of the items, such as their mirror images,
            one row an item in each. Each view finds k others, in columns side by side.
        most_exact: Up to so many items all are compared with all; beyond, an inverted file of clusters on the main
            directions is asked (Jégou, Douze and Schmid, IEEE PAMI 33, 2011), and some neighbours may be missed; -1
            stands for a neighbour that was not found.
    """
    views = [rows] if queries is None else queries
    k = min(k, len(rows) - 1)
    if k < 1:
        return np.empty((len(rows), 0), dtype=np.int64)
    search = _exact(rows, k) if len(rows) <= most_exact else _approximate(rows, k)
    return np.hstack([search(view) for view in views])


def _exact(rows: np.ndarray, k: int) -> _Search:
    def search(asked: np.ndarray) -> Int[np.ndarray, "items k"]:
        found = np.empty((len(rows), k), dtype=np.int64)
        for start in range(0, len(rows), _BLOCK):
            likeness = asked[start : start + _BLOCK] @ rows.T
            own = np.arange(len(likeness))
            likeness[own, start + own] = -np.inf
            for place in range(k):  # for a few neighbours faster than sorting
                best = likeness.argmax(axis=1)
                found[start : start + _BLOCK, place] = best
                likeness[own, best] = -np.inf
        return found

    return search


def _approximate(rows: np.ndarray, k: int) -> _Search:
    import faiss

    n_items, width = rows.shape
    n_cells = int(_CELLS_A_ROOT * n_items**0.5)
    shorten = f"PCA{_PROJECTED},L2norm," if width > _PROJECTED else ""
    index = faiss.index_factory(width, f"{shorten}IVF{n_cells},Flat", faiss.METRIC_INNER_PRODUCT)
    inverted = faiss.extract_index_ivf(index)
    inverted.cp.niter, inverted.cp.seed, inverted.nprobe = _ROUNDS, 0, _LOOKED_AT
    inverted.cp.min_points_per_centroid = 1
    step = max(1, n_items // (_TRAINED_ON * n_cells))
    index.train(np.ascontiguousarray(rows[::step]))
    for start in range(0, n_items, _MANY):
        index.add(np.ascontiguousarray(rows[start : start + _MANY]))

    def search(asked: np.ndarray) -> Int[np.ndarray, "items k"]:
        found = np.full((n_items, k), -1, dtype=np.int64)
        for start in range(0, n_items, _MANY):
            _, near = index.search(np.ascontiguousarray(asked[start : start + _MANY]), k + 1)
            own = near == np.arange(start, start + len(near))[:, None]
            # An item that did not find itself gives up the last one; places of others move up.
            own[~own.any(axis=1), -1] = True
            found[start : start + len(near)] = near[~own].reshape(len(near), k)
        return found

    return search
