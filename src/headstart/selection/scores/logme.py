"""How probable the targets are under Bayesian linear regression on the features, with the best prior and noise.

LogME (You et al., ICML 2021, arXiv:2102.11005) is the largest log evidence per item of y = X·w + noise, with w ~ N(0,
1/α) and noise ~ N(0, 1/β), over α and β; for classes, the mean over their one-hot columns.

An intercept with a flat prior is integrated out here, which the published score has not: X and y are centred, and n =
items − 1 degrees of freedom remain. Then y ~ N(0, (I + XXᵀ/λ)/β) with λ = α/β. With the singular values √σᵢ of X, the
projections zᵢ of y on the left singular vectors, and the rest r of ‖y‖² outside of them, the best noise is 1/β = Q/n
with Q = Σ zᵢ² λ/(λ + σᵢ) + r, and what is left is one curve in λ:

    log p(y|X) = −½ Σ log(1 + σᵢ/λ) − n/2 · (log(Q/n) + 1 + log 2π)

The sum runs over the singular values that are not zero, because the others add log 1: so it is right for any width. The
released code adds (D/2) log α for all D dimensions and subtracts log(α + βσᵢ) for min(N, D) of them only, and ranks
noise above signal where there are fewer items than dimensions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar

from headstart.errors import DataError, OptionError
from headstart.selection.scores._inputs import check_classes
from headstart.selection.scores.components import Components, decompose

_GRID = np.linspace(np.log(1e-8), np.log(1e8), 81)
"""Where log λ is looked for, beside the mean of σ. Below lies regression without noise, above no regression at all."""


def logme(
    features: Float[np.ndarray, "items width"] | Components,
    targets: Int[np.ndarray, " items"] | Float[np.ndarray, " items"],
) -> float:
    """The largest log evidence per degree of freedom; higher is better, and no bound is known.

    It compares features on the same targets, and nothing else: its level depends on the classes, and on the unit of
    numbers. Where features fit the targets without any error it grows without bound as λ goes to zero; λ stops at 1e-8
    of the mean of σ.

    Args:
        features: What the backbone says, or its components.
        targets: Classes as whole numbers, or values to predict as floating-point ones.

    Raises:
        DataError: If features are not finite or the same for all items, or targets cannot tell features apart.
        OptionError: If there is not one target for each item, or a class is negative.
    """
    parts = decompose(features)
    n_items = len(parts.basis)
    if np.issubdtype(targets.dtype, np.floating):
        answers = _values(targets, n_items)
    else:
        classes, counts = check_classes(targets, n_items)
        answers = np.eye(len(counts))[classes]
    if len(parts.squares) == 0:
        raise DataError("LogME needs features that differ between items")
    answers = answers - answers.mean(axis=0)
    inside = np.square(parts.basis.T @ answers)
    outside = np.maximum(np.square(answers).sum(axis=0) - inside.sum(axis=0), 0.0)
    if len(parts.squares) == n_items - 1:
        outside[:] = 0.0  # the features span everything, and what is left is rounding
    best = [_largest(parts.squares, inside[:, one], outside[one], n_items - 1) for one in range(answers.shape[1])]
    return float(np.mean(best) / (n_items - 1))


def _largest(squares: np.ndarray, inside: np.ndarray, outside: float, freedom: int) -> float:
    """The largest log evidence of one column of targets: the best of a grid, refined between its neighbours."""
    unit = float(squares.mean())

    def evidence(log_ratio: np.ndarray) -> np.ndarray:
        spread = squares / (unit * np.exp(log_ratio)[..., None])
        noise = ((inside / (1 + spread)).sum(axis=-1) + outside) / freedom
        found: np.ndarray = -0.5 * np.log1p(spread).sum(axis=-1) - freedom / 2 * (np.log(2 * np.pi * noise) + 1)
        return found

    on_grid = evidence(_GRID)
    top = int(on_grid.argmax())
    around = (_GRID[max(top - 1, 0)], _GRID[min(top + 1, len(_GRID) - 1)])
    refined = minimize_scalar(lambda log_ratio: -float(evidence(np.asarray(log_ratio))), bounds=around)
    return max(float(on_grid[top]), -float(refined.fun))


def _values(targets: np.ndarray, n_items: int) -> Float[np.ndarray, "items 1"]:
    if targets.shape != (n_items,):
        raise OptionError(
            f"there must be one value for each of the {n_items} items, but the targets have the shape {targets.shape}"
        )
    if not np.isfinite(targets).all():
        raise DataError(f"values must be finite numbers, but {int((~np.isfinite(targets)).sum())} of them are not")
    values = targets.astype(np.float64)
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        raise DataError("there is nothing to predict: all values are the same")
    return values[:, None]
