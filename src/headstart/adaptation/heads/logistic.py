"""The linear head: multinomial logistic regression with an L2 penalty.

Objective: Σ_i w_i · CE_i + (l2 / 2) ‖W‖², the bias not penalised, so l2 is scikit-learn's 1 / C. With two classes ‖W‖² is the
squared length of the difference of the two rows, as in scikit-learn.

Folds and subsets share one matrix product of the features with themselves, each strength begins where the stronger one ended,
and a step costs one product of that matrix with the coefficients of all classes (see `_geometry` and `_descent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp

from headstart.adaptation.heads._descent import Problems, State, minimise, start
from headstart.adaptation.heads._door import Prepared, check_folds, check_l2, check_masks, check_weights, prepare
from headstart.adaptation.heads._geometry import ByColumns, ByItems, Geometry

STRENGTHS: tuple[float, ...] = tuple(float(f"{10 ** (1 - half / 2):.3g}") for half in range(8))
"""Penalties from strong (10) to weak (0.00316), for features whose rows have a mean squared length of 1 (see `Scaling`)."""

_FINE = 1e-11
"""Gain per item, in nats, below which a final fit is done: probabilities then agree with scikit-learn's to about 1e-5."""
_COARSE = 1e-5
"""The same while strengths are compared: out-of-fold log loss is then right to about 1e-3."""
_TURNED_UP = 1.1
"""The path ends when the out-of-fold log loss is this many times the best."""
_EXTENSIONS = 4
_RATIO = 10**0.5
_STEPS_EXPECTED = 10

Ending = Literal["turned up", "all tried"]


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A linear map from features to logits.

    Attributes:
        weight: One row for each class.
        bias: One number for each class.
    """

    weight: Float[np.ndarray, "classes width"]
    bias: Float[np.ndarray, " classes"]

    def logits(self, features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items classes"]:
        """The logits of some items; their softmax are the probabilities."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True, eq=False)
class LogisticPath:
    """What the head does out-of-fold, for each strength of the penalty.

    Attributes:
        strengths: The penalties that were tried, strongest first.
        oof_logits: The logits that each item got from the head that had not seen it.
        log_loss: Mean out-of-fold log loss in nats, for each strength; lower is better.
        accuracy: Out-of-fold accuracy from 0 to 1, for each strength.
        best: The position of the strength with the lowest log loss.
        ended: Why no weaker strength was tried: the log loss had clearly turned up, or there was none left.
    """

    strengths: tuple[float, ...]
    oof_logits: Float[np.ndarray, "strengths items classes"]
    log_loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    best: int
    ended: Ending

    @property
    def at_edge(self) -> bool:
        """Whether the best strength is the strongest or the weakest that was tried, so that a better one may lie beyond."""
        return self.best in (0, len(self.strengths) - 1)

    @property
    def l2(self) -> float:
        """The best strength."""
        return self.strengths[self.best]


def cross_validate(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    *,
    n_classes: int,
    strengths: Sequence[float] | None = None,
) -> LogisticPath:
    """Out-of-fold results of the head for many strengths of the penalty.

    Centring the features changes nothing, because the bias is free; a scale that was found on all training items uses no
    targets, and the results agree with those for a scale found inside each fold.

    Args:
        features: What the backbone says, scaled (see `Scaling`).
        targets: The class of each item.
        folds: The fold of each item. Its out-of-fold logits come from a head that was fitted on all other folds.
        n_classes: The number of classes; some may have no item.
        strengths: The penalties to try, all of them. Without any, `STRENGTHS`, left early when the log loss has turned up,
            and continued by up to four when the best one is at an end.

    Raises:
        DataError: If there are no items, features are not finite, or a target is no class.
        OptionError: If lengths differ, a strength is not positive, or there are fewer than two folds.
    """
    items = prepare(features, targets, n_classes=n_classes, dtype=np.float32)
    names = check_folds(folds, len(items.features))
    given = None if strengths is None else sorted((check_l2(l2) for l2 in strengths), reverse=True)
    groups = _groups(items, np.stack([folds != name for name in names]))
    return _Descent(items, groups, np.searchsorted(names, folds)).path(given)


def fit(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    *,
    l2: float,
    n_classes: int,
    weights: Float[np.ndarray, " items"] | None = None,
) -> LinearHead:
    """The head for one strength, computed in float64.

    Args:
        features: What the backbone says, scaled (see `Scaling`).
        targets: The class of each item. A class without items keeps the bias of half an item.
        l2: The strength of the penalty, greater than 0.
        n_classes: The number of classes.
        weights: How often each item counts; once, if not given.

    Raises:
        DataError: If there are no items, features are not finite, or a target is no class.
        OptionError: If lengths differ, the strength is not positive, or weights are negative or all 0.
    """
    items = prepare(features, targets, n_classes=n_classes, dtype=np.float64)
    counted = check_weights(weights, len(items.features))
    rows = np.flatnonzero(counted)
    items = replace(items, features=items.features[rows], targets=items.targets[rows])
    group = _groups(items, np.ones((1, len(rows)), dtype=bool))[0]
    group = replace(group, problems=replace(group.problems, weights=counted[None, rows]))
    state = group.solve(items.penalty(check_l2(l2)), tolerance=_FINE)
    coefficients = state.step.coefficients[0]
    centred = coefficients @ items.features if isinstance(group.geometry, ByItems) else coefficients
    weight = centred / items.scale
    bias = state.bias[0] - weight @ items.mean
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def fit_subsets(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    masks: Bool[np.ndarray, "subsets items"],
    *,
    l2: float,
    n_classes: int,
) -> Float[np.ndarray, "subsets items classes"]:
    """The logits of all items from heads that were fitted on subsets of them, for example for a learning curve.

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
    items = prepare(features, targets, n_classes=n_classes, dtype=np.float32)
    check_masks(masks, len(items.features))
    penalty = items.penalty(check_l2(l2))
    logits = np.empty((*masks.shape, n_classes), dtype=np.float32)
    for group in _groups(items, masks):
        logits[list(group.numbers)] = group.everywhere(group.solve(penalty, tolerance=_COARSE))
    return logits


@dataclass(frozen=True, eq=False)
class _Group:
    """Problems that share a geometry, and where they are among all problems."""

    numbers: tuple[int, ...]
    problems: Problems
    geometry: Geometry

    def solve(self, penalty: float, *, tolerance: float, state: State | None = None) -> State:
        begin = start(self.problems, self.geometry) if state is None else state
        return minimise(self.problems, self.geometry, begin, l2=penalty, tolerance=tolerance)

    def everywhere(self, state: State) -> Float[np.ndarray, "problems items classes"]:
        """The logits of all items."""
        return (self.geometry.everywhere(state.step.coefficients) + state.bias[:, :, None]).transpose(0, 2, 1)


def _groups(items: Prepared, masks: Bool[np.ndarray, "problems items"]) -> list[_Group]:
    """One problem for each mask: each with a geometry by items, or all in one by columns, whichever is less work."""
    features, targets, n_classes = items.features, items.targets, items.n_classes
    if not _cheaper_by_items(masks, features.shape[1], n_classes):
        gram = features.T @ features
        weights = masks.astype(features.dtype)
        share = gram.dtype.type(masks.mean())
        problems = Problems(targets, weights, n_classes)
        return [_Group(tuple(range(len(masks))), problems, ByColumns(features, gram * share))]
    gram = features @ features.T
    groups = []
    for number, mask in enumerate(masks):
        rows = np.flatnonzero(mask)
        problems = Problems(targets[rows], np.ones((1, len(rows)), features.dtype), n_classes)
        groups.append(_Group((number,), problems, ByItems.of(gram, rows)))
    return groups


def _cheaper_by_items(masks: Bool[np.ndarray, "problems items"], width: int, n_classes: int) -> bool:
    """Compare the multiplications for one strength: the Cholesky factors, then the products of about ten steps."""
    n_problems, n_items = masks.shape
    rows = masks.sum(axis=1, dtype=np.float64)
    steps = _STEPS_EXPECTED * n_classes
    by_items = (rows**3 / 6 + steps * rows**2).sum()
    by_columns = width**3 / 6 + steps * n_problems * (2 * n_items * width + width**2)
    return bool(by_items <= by_columns)


@dataclass(frozen=True, eq=False)
class _Descent:
    """Down the strengths, all folds together."""

    items: Prepared
    groups: list[_Group]
    fold: Int[np.ndarray, " items"]

    def path(self, given: Sequence[float] | None) -> LogisticPath:
        tried: dict[float, _Tried] = {}
        strengths = list(STRENGTHS if given is None else given)
        weakest = strengths[-1] / _RATIO**_EXTENSIONS * 0.99
        states: list[State | None] = [None] * len(self.groups)
        ended: Ending = "all tried"
        while strengths:
            l2 = strengths.pop(0)
            states, tried[l2] = self._at(l2, states)
            best = min(each.log_loss for each in tried.values())
            if given is None and tried[l2].log_loss > _TURNED_UP * best:
                ended = "turned up"
                break
            if given is None and not strengths and tried[l2].log_loss == best and l2 / _RATIO > weakest:
                strengths.append(l2 / _RATIO)
        if given is None:
            self._strengthen(tried)
        return _record(tried, ended)

    def _strengthen(self, tried: dict[float, _Tried]) -> None:
        """Add stronger penalties as long as the strongest is the best."""
        for _ in range(_EXTENSIONS):
            strongest = max(tried)
            if tried[strongest].log_loss > min(each.log_loss for each in tried.values()):
                return
            _, tried[strongest * _RATIO] = self._at(strongest * _RATIO, [None] * len(self.groups))

    def _at(self, l2: float, states: Sequence[State | None]) -> tuple[list[State | None], _Tried]:
        """All folds at one strength, each from its state at the last one."""
        items = self.items
        oof = np.empty((len(items.features), items.n_classes), dtype=np.float32)
        reached: list[State | None] = []
        for group, state in zip(self.groups, states, strict=True):
            solved = group.solve(items.penalty(l2), tolerance=_COARSE, state=state)
            for number, logits in zip(group.numbers, group.everywhere(solved), strict=True):
                oof[self.fold == number] = logits[self.fold == number]
            reached.append(solved)
        wide = oof.astype(np.float64)
        own = wide[np.arange(len(wide)), items.targets]
        loss = float((logsumexp(wide, axis=1) - own).mean())
        return reached, _Tried(oof, loss, float((wide.argmax(axis=1) == items.targets).mean()))


@dataclass(frozen=True, eq=False)
class _Tried:
    oof_logits: Float[np.ndarray, "items classes"]
    log_loss: float
    accuracy: float


def _record(tried: dict[float, _Tried], ended: Ending) -> LogisticPath:
    strengths = tuple(sorted(tried, reverse=True))
    results = [tried[l2] for l2 in strengths]
    losses = tuple(each.log_loss for each in results)
    return LogisticPath(
        strengths=strengths,
        oof_logits=np.stack([each.oof_logits for each in results]),
        log_loss=losses,
        accuracy=tuple(each.accuracy for each in results),
        best=losses.index(min(losses)),
        ended=ended,
    )
