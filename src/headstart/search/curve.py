"""The learning curve of a candidate, from features that are there already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int

from headstart._randomness import generator
from headstart.evaluation.intervals import kish_n
from headstart.evaluation.learning_curve import learning_curve
from headstart.evaluation.records import LearningCurve
from headstart.features.extract import Features
from headstart.search.candidates import Candidate

_SHARES = (0.125, 0.25, 0.5)
_N_DRAWS = 4
_MAX_WORK = 4e9  # rows × width × problems: a few seconds on two cores


def draw_curve(
    candidate: Candidate,
    features: Mapping[str, Features],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    *,
    n_classes: int,
    seed: int,
    units: Int[np.ndarray, " items"] | None = None,
) -> LearningCurve:
    """Accuracy out-of-fold with growing parts of the training items.

    Every draw thins out the training part of each fold and predicts that fold, so each point is measured on the same
    items as the candidate itself. That one is a single cross-validation, so a single draw.

    Args:
        candidate: Whose strategy and settings are used.
        features: Of the training items, by the name of the backbone.
        targets: The class of each training item.
        folds: The fold of each.
        n_classes: The number of classes.
        seed: Of the draws, and of whatever is random in the strategy.
        units: For each item the number of its unit, the items of equal content or of one group; whole units are then
            left out, as twice the labels would bring new units, and the points count as many items as these units
            are worth (Kish's number). Every item is its own where None.
    """
    units = np.arange(len(targets)) if units is None else units
    used = _folds_in_reach(folds, len(targets) * candidate.strategy.n_views * candidate.proposal.width)
    measured = np.isin(folds, used)
    masks = [
        _thinned(folds != fold, targets, units, share, generator(seed, "learning curve", draw, int(fold)))
        for share in _SHARES
        for draw in range(_N_DRAWS)
        for fold in used
    ]
    logits = candidate.strategy.fit_subsets(
        features, targets, np.stack(masks), n_classes=n_classes, chosen=candidate.out_of_fold, seed=seed
    )
    right = (logits.argmax(axis=2) == targets).reshape(len(_SHARES), _N_DRAWS, len(used), len(targets))
    draws = [[_shared(right[index, draw], folds, used) for draw in range(_N_DRAWS)] for index in range(len(_SHARES))]
    draws.append([float(candidate.right[measured].mean())])
    per_fold = np.stack(masks).sum(axis=1).reshape(len(_SHARES), -1).mean(axis=1)
    whole = float(np.mean([(folds != fold).sum() for fold in used]))
    sizes = np.array([*per_fold, whole]).round().astype(np.int64)
    # With few items in a class, two shares of it may be the same items.
    distinct = np.append(np.diff(sizes) > 0, True)
    return learning_curve(
        sizes[distinct],
        [row for row, kept in zip(draws, distinct, strict=True) if kept],
        n_eval=round(kish_n(units[measured].tolist())),
        n_full=len(targets),
        seed=seed,
    )


def _folds_in_reach(folds: Int[np.ndarray, " items"], size: int) -> Int[np.ndarray, " folds"]:
    names = np.unique(folds)
    affordable = int(_MAX_WORK / (size * len(_SHARES) * _N_DRAWS))
    return names[: max(2, min(len(names), affordable))]


def _shared(
    right: Bool[np.ndarray, "folds items"], folds: Int[np.ndarray, " items"], used: Int[np.ndarray, " folds"]
) -> float:
    """The share of items that the model which did not see their fold gets right."""
    return float(np.concatenate([right[number, folds == fold] for number, fold in enumerate(used)]).mean())


def _thinned(
    mask: Bool[np.ndarray, " items"],
    targets: Int[np.ndarray, " items"],
    units: Int[np.ndarray, " items"],
    share: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, " items"]:
    """Random whole units of a mask, about the same share of the units of each class and at least one of it."""
    kept = np.zeros(len(mask), dtype=bool)
    for target in np.unique(targets[mask]):
        own = np.unique(units[mask & (targets == target)])
        n_wanted = max(1, round(share * len(own)))
        # A unit of several classes counts for all of them.
        there = np.intersect1d(own, units[kept])
        others = rng.permutation(np.setdiff1d(own, there))[: max(0, n_wanted - len(there))]
        kept |= mask & np.isin(units, others)
    return kept
