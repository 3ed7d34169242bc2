"""Whether there are enough labels: the learning curve of a ridge classifier, for a moment's work."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.sparse import csr_array

from headstart._randomness import generator
from headstart.evaluation.intervals import kish_n
from headstart.evaluation.learning_curve import learning_curve
from headstart.evaluation.records import LearningCurve

_SHARES, _N_DRAWS = (0.125, 0.25, 0.5), 4
_MOST_ITEMS, _MOST_DIRECTIONS = 20_000, 256
_PENALTY = 3e-4  # per item, for rows of a mean squared length of 1


def ridge_curve(
    features: Float32[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    units: Int[np.ndarray, " items"],
    *,
    n_classes: int,
    seed: int,
) -> LearningCurve:
    """Accuracy out-of-fold with growing parts of the labels, by a ridge classifier on the main directions.

    It is a little below what a head on all features reaches; what more labels bring it is about the same.

    Args:
        features: What a backbone says about the items.
        targets: The class of each.
        folds: The fold of each.
        units: For each the number of what it belongs with; units are left out as a whole.
        n_classes: The number of classes.
        seed: Of the draws, and of the sample where there are very many items.
    """
    n_full = len(targets)
    rows = np.sort(generator(seed, "ridge curve").permutation(n_full)[:_MOST_ITEMS])
    directions = _main_directions(features[rows])
    targets, folds, units = targets[rows], folds[rows], units[rows]
    names = np.unique(folds)
    sizes, draws = [], []
    for share in _SHARES:
        accuracies, trained = [], []
        for draw in range(_N_DRAWS):
            right = np.zeros(len(targets), dtype=bool)
            for fold in names.tolist():
                seen = _thinned(folds != fold, targets, units, share, generator(seed, "ridge curve", draw, fold))
                right |= _right(directions, targets, seen, folds == fold, n_classes)
                trained.append(int(seen.sum()))
            accuracies.append(float(right.mean()))
        sizes.append(round(float(np.mean(trained))))
        draws.append(accuracies)
    right = np.zeros(len(targets), dtype=bool)
    for fold in names.tolist():
        right |= _right(directions, targets, folds != fold, folds == fold, n_classes)
    sizes.append(round(float(np.mean([(folds != fold).sum() for fold in names.tolist()]))))
    draws.append([float(right.mean())])
    distinct = np.append(np.diff(sizes) > 0, True)
    return learning_curve(
        np.array(sizes)[distinct],
        [row for row, kept in zip(draws, distinct.tolist(), strict=True) if kept],
        n_eval=round(kish_n(units.tolist())),
        n_full=n_full,
        seed=seed,
    )


def _main_directions(features: np.ndarray) -> Float32[np.ndarray, "items directions"]:
    """Coordinates on the main directions, of a mean squared length of 1, and a constant."""
    centred = features - features.mean(axis=0, dtype=np.float32)
    n_directions = min(_MOST_DIRECTIONS, len(features))  # centred items span fewer than there are items
    if centred.shape[1] > n_directions:
        # One step of subspace iteration from random directions (Halko, Martinsson and Tropp 2011, arXiv:0909.4061).
        start = generator(0, "directions").standard_normal((centred.shape[1], n_directions)).astype(np.float32)
        basis, _ = np.linalg.qr(centred.T @ (centred @ start))
        centred = centred @ basis
    scale = float(np.sqrt(np.square(centred).sum(axis=1).mean())) or 1.0
    return np.column_stack([centred / scale, np.ones(len(centred))]).astype(np.float32)


def _thinned(
    seen: Bool[np.ndarray, " items"],
    targets: np.ndarray,
    units: np.ndarray,
    share: float,
    random: np.random.Generator,
) -> Bool[np.ndarray, " items"]:
    """A part of the items that may be seen: of each class about this share of its units, and one at least."""
    # A unit may have items of several classes; it is drawn in each of them by itself.
    drawn, of_items = np.unique(np.stack([targets[seen], units[seen]]), axis=1, return_inverse=True)
    labels = drawn[0]
    order = np.lexsort((random.random(len(labels)), labels))
    sizes = np.bincount(labels)
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.zeros(len(targets), dtype=bool)
    kept[seen] = (place < np.maximum(1, np.round(share * sizes))[labels])[of_items.ravel()]
    return kept


def _right(
    directions: Float32[np.ndarray, "items directions"],
    targets: np.ndarray,
    seen: Bool[np.ndarray, " items"],
    asked: Bool[np.ndarray, " items"],
    n_classes: int,
) -> Bool[np.ndarray, " items"]:
    """Which of the items that are asked for a ridge classifier gets right that was fitted on those seen."""
    own, labels = directions[seen], targets[seen]
    gram = (own.T @ own).astype(np.float64)
    gram[np.diag_indices_from(gram)] += _PENALTY * len(own)
    belongs = csr_array((np.ones(len(own)), (labels, np.arange(len(own)))), (n_classes, len(own)))
    sums = belongs @ own
    weights: Float[np.ndarray, "directions classes"] = np.linalg.solve(gram, sums.T)
    right = np.zeros(len(targets), dtype=bool)
    right[asked] = (directions[asked] @ weights.astype(np.float32)).argmax(axis=1) == targets[asked]
    return right
