"""Out-of-fold probabilities that cost next to nothing: a ridge classifier from products of the features.

With centred features X and centred one-hot targets Y, the weights for a penalty λ are (XᵀX + λI)⁻¹XᵀY. Both products
are sums over items: those of the training items of a fold are those of all items less those of the fold. So the
features are read twice whatever the number of folds, and each fold costs one factorisation. Scores become
probabilities by a softmax at the temperature with the least out-of-fold log loss (Guo et al. 2017, arXiv:1706.04599).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from headstart._threads import one_thread
from headstart.errors import DataError, OptionError
from headstart.evaluation.calibration import fit_temperature, softmax

PENALTIES: tuple[float, ...] = tuple(float(f"{10 ** (-half / 2):.3g}") for half in range(9))
"""Penalties per item from strong (1) to weak (1e-4), for features whose rows have a mean squared length of 1."""

_BEGIN = 4  # the position of 0.01: images and texts were best one step from it or less
_ENOUGH = 400  # items to choose the penalty on
_ROWS = 8192  # in float32 at a time
_SHARPNESS = 10.0  # what scores are multiplied by, so that the temperature is far from the ends of its range
_NUMBERS = 2_000_000  # that the temperature is fitted on
_JITTER = 1e-9  # of the mean squared length of a row, for rows that depend on one another


def ridge_out_of_fold(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    n_classes: int,
) -> Float[np.ndarray, "items classes"]:
    """What a ridge classifier that has not seen an item says about it, as probabilities in float32.

    The penalty is that with the least squared error on held-out items, found by walking from the middle of `PENALTIES`.
    A class gets a small probability from a fold whose training items have none of it.

    Args:
        features: What a backbone says; never copied as a whole where there are more items than columns.
        targets: The class of each item.
        folds: The fold of each item; what must stay together shares one.
        n_classes: The number of classes; some may have no item.

    Raises:
        DataError: If features are not finite, or a target is no class.
        OptionError: If the shapes do not fit, or there are fewer than two folds or classes.
    """
    _check(features, targets, folds, n_classes)
    names, fold = np.unique(folds, return_inverse=True)
    rows = _scaled(features)
    if features.shape[1] >= len(features):
        rows = _Rows(_coordinates(rows), np.zeros(len(features), np.float32), 1.0)
    with one_thread():
        parts = [_Sums.of(rows, targets, np.flatnonzero(fold == number), n_classes) for number in range(len(names))]
        whole = _Sums.total(parts)
        penalty = _best_penalty(whole, parts)
        scores = np.empty((len(features), n_classes), dtype=np.float32)
        for number, part in enumerate(parts):
            weights, bias = (whole - part).solve(penalty)
            for some in _blocks(np.flatnonzero(fold == number)):
                scores[some] = rows.take(some) @ weights + bias
    return _probabilities(scores, targets)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Features and what is done to them when they are used: (x − mean) / scale."""

    features: Float[np.ndarray, "items width"]
    mean: Float[np.ndarray, " width"]
    scale: float

    def take(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows width"]:
        taken: np.ndarray = (self.features[rows].astype(np.float32) - self.mean) / np.float32(self.scale)
        return taken


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over items, from which a ridge classifier of them follows.

    Attributes:
        products: Σ x xᵀ.
        of_classes: For each class the sum of its items, one a column.
        counts: Items of each class.
    """

    products: Float[np.ndarray, "width width"]
    of_classes: Float[np.ndarray, "width classes"]
    counts: Float[np.ndarray, " classes"]

    @classmethod
    def of(
        cls, rows: _Rows, targets: Int[np.ndarray, " items"], members: Int[np.ndarray, " members"], n_classes: int
    ) -> _Sums:
        width = rows.features.shape[1]
        products, of_classes = np.zeros((width, width), np.float32), np.zeros((width, n_classes), np.float32)
        for some in _blocks(members):
            block = rows.take(some)
            products += block.T @ block
            belongs = csr_array(
                (np.ones(len(some), np.float32), (targets[some], np.arange(len(some)))), (n_classes, len(some))
            )
            of_classes += (belongs @ block).T
        return cls(products, of_classes, np.bincount(targets[members], minlength=n_classes).astype(np.float64))

    @classmethod
    def total(cls, parts: list[_Sums]) -> _Sums:
        whole = cls(parts[0].products.copy(), parts[0].of_classes.copy(), parts[0].counts)
        for part in parts[1:]:
            np.add(whole.products, part.products, out=whole.products)
            np.add(whole.of_classes, part.of_classes, out=whole.of_classes)
        return cls(whole.products, whole.of_classes, np.sum([part.counts for part in parts], axis=0))

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.products - other.products, self.of_classes - other.of_classes, self.counts - other.counts)

    @cached_property
    def mean(self) -> Float[np.ndarray, " width"]:
        """Of the items."""
        mean: np.ndarray = self.of_classes.sum(axis=1) / np.float32(self.counts.sum())
        return mean

    def solve(self, penalty: float) -> tuple[Float[np.ndarray, "width classes"], Float[np.ndarray, " classes"]]:
        """Weights and biases for a penalty per item."""
        n_items = self.counts.sum()
        shares = (self.counts / n_items).astype(np.float32)
        # Column-wise, so that the factorisation needs no copy; the matrix is symmetric.
        products = np.asfortranarray(self.products - np.float32(n_items) * np.outer(self.mean, self.mean))
        products[np.diag_indices(len(products))] += np.float32(penalty * n_items)
        factor = cho_factor(products, lower=True, overwrite_a=True, check_finite=False)
        centred = self.of_classes - np.outer(self.mean, self.counts.astype(np.float32))
        weights: np.ndarray = cho_solve(factor, centred, overwrite_b=True, check_finite=False)
        return weights, shares - self.mean @ weights

    def squared_error(self, weights: Float[np.ndarray, "width classes"], bias: Float[np.ndarray, " classes"]) -> float:
        """The sum over these items of ‖Wᵀx + b − y‖², less what no weights change."""
        of_products = np.vdot(weights, self.products @ weights)
        total = self.of_classes.sum(axis=1)
        of_bias = 2 * np.dot(total @ weights, bias) + self.counts.sum() * np.dot(bias, bias)
        return float(of_products + of_bias - 2 * np.vdot(weights, self.of_classes) - 2 * np.dot(bias, self.counts))


def _best_penalty(whole: _Sums, parts: list[_Sums]) -> float:
    """The one with the least error on as many folds as hold enough items to tell."""
    held_out = np.cumsum([part.counts.sum() for part in parts])
    judges = parts[: int(np.searchsorted(held_out, _ENOUGH)) + 1]
    trained = [whole - part for part in judges]
    errors: dict[int, float] = {}

    def error(position: int) -> float:
        if position not in errors:
            errors[position] = sum(
                part.squared_error(*others.solve(PENALTIES[position]))
                for part, others in zip(judges, trained, strict=True)
            )
        return errors[position]

    place = _BEGIN
    for step in (1, -1):
        while 0 <= place + step < len(PENALTIES) and error(place + step) < error(place):
            place += step
        if place != _BEGIN:
            break
    return PENALTIES[place]


def _scaled(features: Float[np.ndarray, "items width"]) -> _Rows:
    """The rows about their mean, with a mean squared length of 1."""
    mean: np.ndarray = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    every = np.arange(len(features))
    squares = sum(float(np.square(features[some] - mean, dtype=np.float64).sum()) for some in _blocks(every))
    scale = float(np.sqrt(squares / len(features)))
    # Rounding keeps the mean of equal rows from being exactly theirs.
    return _Rows(features, mean, scale if scale > 1e-6 * float(np.abs(mean).max(initial=0)) else 1.0)


def _coordinates(rows: _Rows) -> Float[np.ndarray, "items items"]:
    """As many columns as items, with the same inner products: a ridge classifier sees nothing else of the features."""
    n_items, width = rows.features.shape
    products = np.zeros((n_items, n_items))
    for start in range(0, width, _ROWS):
        columns = slice(start, start + _ROWS)
        block = (rows.features[:, columns].astype(np.float64) - rows.mean[columns]) / rows.scale
        products += block @ block.T
    products[np.diag_indices(n_items)] += _JITTER
    return np.linalg.cholesky(products).astype(np.float32)


def _probabilities(
    scores: Float[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"]
) -> Float[np.ndarray, "items classes"]:
    """The softmax of scores, in their place."""
    scores *= _SHARPNESS
    every = -(-scores.size // _NUMBERS)
    temperature = fit_temperature(scores[::every], targets[::every])
    for some in _blocks(np.arange(len(scores))):
        scores[some] = softmax(scores[some], temperature)
    return scores


def _blocks(rows: Int[np.ndarray, " rows"]) -> Iterator[Int[np.ndarray, " some"]]:
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]


def _check(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    n_classes: int,
) -> None:
    if features.ndim != 2 or features.size == 0 or not targets.shape == folds.shape == features.shape[:1]:
        raise OptionError(
            "features must be a table of items × width with one target and one fold for each item, "
            f"but their shapes are {features.shape}, {targets.shape} and {folds.shape}"
        )
    if n_classes < 2 or len(np.unique(folds)) < 2:
        raise OptionError(
            "out-of-fold probabilities need two classes and two folds or more, "
            f"but there are {n_classes} classes and {len(np.unique(folds))} folds"
        )
    if targets.min() < 0 or targets.max() >= n_classes:
        raise DataError(
            f"a target must be from 0 to {n_classes - 1}, but they go from {targets.min()} to {targets.max()}",
            hint="Leave items without a class out.",
        )
    for some in _blocks(np.arange(len(features))):
        broken = some[~np.isfinite(features[some]).all(axis=1)]
        if len(broken):
            raise DataError(
                f"features must be finite numbers, but those of item {broken[0]} are not",
                hint="Leave this item out, or compute its features again in float32.",
            )
