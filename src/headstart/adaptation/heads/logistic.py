"""The linear head: multinomial logistic regression with an L2 penalty.

Objective: Σ_i w_i · CE_i + (l2 / 2) ‖W‖², the bias not penalised, so l2 is scikit-learn's 1 / C. With two classes ‖W‖²
is the squared length of the difference of the two rows, as in scikit-learn.

Folds and subsets share one product of the features with themselves, each strength begins where its neighbour ended,
and a step costs one product of that matrix with the coefficients of all classes (see `_geometry` and `_descent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart._threads import one_thread
from headstart.adaptation.heads._descent import State
from headstart.adaptation.heads._door import Prepared, check_folds, check_l2, check_masks, check_weights, prepare
from headstart.adaptation.heads._geometry import ByItems
from headstart.adaptation.heads._groups import Group, combined, group
from headstart.adaptation.heads._path import Folds, Tried
from headstart.adaptation.heads.forms import LinearHead
from headstart.errors import OptionError

STRENGTHS: tuple[float, ...] = tuple(float(f"{10 ** (3 - half / 2):.3g}") for half in range(16))
"""From strong (1,000) to weak (0.0000316), for features whose rows have a mean squared length of 1 (see `Scaling`)."""

_BEGIN = 0.1
"""In the middle of those that are best on real features: few labels want stronger ones, thousands weaker ones."""

_FINE = 1e-11
"""Gain per item, in nats, below which a final fit is done: probabilities agree with scikit-learn's to about 1e-5."""
_COARSE = 1e-5
"""The same while strengths are compared: out-of-fold log loss near the best is then right to about 1e-3."""


@dataclass(frozen=True, eq=False)
class LogisticPath:
    """What the head does out-of-fold, for each strength of the penalty.

    Attributes:
        strengths: The penalties that were tried, strongest first.
        oof_logits: The logits that each item got from the head that had not seen it.
        log_loss: Mean out-of-fold log loss in nats, for each strength; lower is better.
        accuracy: Out-of-fold accuracy from 0 to 1, for each strength.
        best: The position of the strength with the lowest log loss.
    """

    strengths: tuple[float, ...]
    oof_logits: Float[np.ndarray, "strengths items classes"]
    log_loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    best: int

    @property
    def l2(self) -> float:
        """The best strength."""
        return self.strengths[self.best]


def cross_validate(
    features: Float[np.ndarray, "rows width"],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    *,
    n_classes: int,
    strengths: Sequence[float] | None = None,
    n_views: int = 1,
    overwrite: bool = False,
) -> LogisticPath:
    """Out-of-fold results of the head for many strengths of the penalty.

    Centring the features changes nothing, because the bias is free; a scale that was found on all items uses no
    targets, and the results agree with those for a scale found inside each fold.

    Args:
        features: What the backbone says, scaled (see `Scaling`): one row for each item or, with several views, those of
            the first view of all items, then those of the next.
        targets: The class of each item.
        folds: The fold of each item. Its out-of-fold logits come from a head that was fitted on all other folds.
        n_classes: The number of classes; some may have no item.
        strengths: The penalties to try, all of them. If not given, those of `STRENGTHS` on the way from its middle to
            where the log loss is lowest, and the first beyond.
        n_views: Views of each item. Each counts as one part in so many of an item, a fold holds out all views of its
            items, and the results are those of the first view.
        overwrite: Whether float32 features may be written over, which saves a copy of them.

    Raises:
        DataError: If there are no items, features are not finite, or a target is no class.
        OptionError: If lengths differ, a strength is not positive, or there are fewer than two folds or classes.
    """
    items = prepare(features, np.tile(targets, n_views), n_classes=n_classes, overwrite=overwrite)
    names = check_folds(folds, len(items.features) // n_views)
    chosen = None if strengths is None else sorted({check_l2(l2) for l2 in strengths}, reverse=True)
    if chosen is not None and not chosen:
        raise OptionError(
            "strengths must be one number or more, but there is none", hint="Leave them out for a default."
        )
    masks = np.tile(folds != names[:, None], (1, n_views))
    problems = Folds(items, np.searchsorted(names, folds), group(items, masks), _COARSE, n_views)
    with one_thread():
        if chosen is not None:
            return _record(problems.all_of(chosen))
        return _record(problems.best_of(STRENGTHS, begin=_BEGIN))


def _record(tried: dict[float, Tried]) -> LogisticPath:
    strengths = tuple(sorted(tried, reverse=True))
    results = [tried[l2] for l2 in strengths]
    losses = tuple(each.log_loss for each in results)
    return LogisticPath(
        strengths=strengths,
        oof_logits=np.stack([each.oof_logits for each in results]),
        log_loss=losses,
        accuracy=tuple(each.accuracy for each in results),
        best=losses.index(min(losses)),
    )


def fit(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    *,
    l2: float,
    n_classes: int,
    weights: Float[np.ndarray, " items"] | None = None,
    overwrite: bool = False,
) -> LinearHead:
    """The head for one strength, computed in float64.

    Args:
        features: What the backbone says, scaled (see `Scaling`).
        targets: The class of each item. A class without items keeps the bias of half an item.
        l2: The strength of the penalty, greater than 0.
        n_classes: The number of classes.
        weights: How often each item counts; once, if not given.
        overwrite: Whether float32 features may be written over, which saves a copy of them.

    Raises:
        DataError: If there are no items, features are not finite, or a target is no class.
        OptionError: If lengths differ, the strength is not positive, or weights are negative or all 0.
    """
    items = prepare(features, targets, n_classes=n_classes, overwrite=overwrite)
    counted = check_weights(weights, len(items.features))
    rows = np.flatnonzero(counted)
    if len(rows) < len(counted):
        items = replace(items, features=items.features[rows], targets=items.targets[rows])
    (whole,) = group(items, np.ones((1, len(rows)), dtype=np.bool_), np.float64)
    whole = replace(whole, problems=replace(whole.problems, weights=counted[None, rows]))
    penalty = items.penalty(check_l2(l2))
    with one_thread():
        state = whole.solve(penalty, tolerance=_FINE)
    return _head(items, whole, state, 0)


def fit_heads(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    masks: Bool[np.ndarray, "subsets items"],
    *,
    l2: float,
    n_classes: int,
) -> list[LinearHead]:
    """The heads that were fitted on subsets of items, as exact as is needed to compare their weights.

    Args:
        features: What the backbone says, scaled (see `Scaling`).
        targets: The class of each item.
        masks: For each subset, which items are in it.
        l2: The strength of the penalty, greater than 0.
        n_classes: The number of classes.

    Raises:
        DataError: If there are no items, features are not finite, or a target is no class.
        OptionError: If lengths differ, the strength is not positive, or a subset is empty.
    """
    items = prepare(features, targets, n_classes=n_classes)
    check_masks(masks, len(items.features))
    penalty = items.penalty(check_l2(l2))
    heads: dict[int, LinearHead] = {}
    with one_thread():
        for some in group(items, masks):
            state = some.solve(penalty, tolerance=_COARSE)
            for place, number in enumerate(some.numbers):
                rows = replace(items, features=items.features[masks[number]])
                heads[number] = _head(rows, some, state, place)
    return [heads[number] for number in range(len(masks))]


def _head(items: Prepared, solved: Group, state: State, place: int) -> LinearHead:
    """The head on unprepared features that one solution of a group stands for.

    Args:
        items: Those that the head was fitted on.
        solved: The group.
        state: Its solutions.
        place: Which of them.
    """
    coefficients = state.step.coefficients[place]
    by_items = isinstance(solved.geometry, ByItems)
    weight = (combined(coefficients, items.features) if by_items else coefficients) / items.scale
    bias = state.bias[place] - weight @ items.mean
    # Probabilities do not change when all logits move together; of such heads this is the one with a mean of 0.
    bias -= bias.mean()
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def fit_subsets(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    masks: Bool[np.ndarray, "subsets items"],
    *,
    l2: float,
    n_classes: int,
    overwrite: bool = False,
) -> Float[np.ndarray, "subsets items classes"]:
    """The logits of all items from heads that were fitted on subsets of them, for example for a learning curve.

    Args:
        features: What the backbone says, scaled (see `Scaling`).
        targets: The class of each item.
        masks: For each subset, which items are in it.
        l2: The strength of the penalty, greater than 0.
        n_classes: The number of classes.
        overwrite: Whether float32 features may be written over, which saves a copy of them.

    Raises:
        DataError: If there are no items, features are not finite, or a target is no class.
        OptionError: If lengths differ, the strength is not positive, or a subset is empty.
    """
    items = prepare(features, targets, n_classes=n_classes, overwrite=overwrite)
    check_masks(masks, len(items.features))
    penalty = items.penalty(check_l2(l2))
    logits = np.empty((*masks.shape, n_classes), dtype=np.float32)
    groups = group(items, masks)
    with one_thread():
        for some in groups:
            logits[list(some.numbers)] = some.everywhere(some.solve(penalty, tolerance=_COARSE))
    return logits
