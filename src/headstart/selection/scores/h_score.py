"""How much of the features' spread lies between the class means, in units of their whole, shrunk covariance.

The H-score (Bao et al., ICIP 2019) is tr(Σ⁻¹ Σ_B) with the covariance Σ of the features and Σ_B of their class means.
As it stands it is useless here: with no more items than dimensions it is C − 1, its upper bound, for any features,
noise included. Ibrahim et al. (2021, arXiv:2110.06893) shrink the covariance as Ledoit and Wolf (2004): Σ_a = (1 − a) Σ
+ a (tr Σ / D) I, and score tr(Σ_a⁻¹ (1 − a) Σ_B).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from headstart.errors import DataError
from headstart.selection.scores._inputs import check_classes
from headstart.selection.scores.components import Components, decompose


def h_score(features: Float[np.ndarray, "items width"] | Components, targets: Int[np.ndarray, " items"]) -> float:
    """The shrunk H-score, from 0 to the smaller of the width and the number of classes less one; higher is better.

    With few items the shrinkage is strong and the factor 1 − a small, the more so the wider the features: backbones of
    very different widths are not comparable then.

    Args:
        features: What the backbone says, or its components.
        targets: The class of each item, from 0 on.

    Raises:
        DataError: If features are not finite or the same for all items, or targets cannot tell features apart.
        OptionError: If there is not one class, 0 or greater, for each item.
    """
    parts = decompose(features)
    classes, counts = check_classes(targets, len(parts.basis))
    if len(parts.squares) == 0:
        raise DataError("the H-score needs features that differ between items")
    coordinates = parts.coordinates()
    variances = parts.squares / len(coordinates)
    shrinkage = ledoit_wolf(coordinates, variances, parts.width)
    shrunk = (1 - shrinkage) * variances + shrinkage * variances.sum() / parts.width
    means = np.eye(len(counts))[classes].T @ coordinates / counts[:, None]
    between = counts / len(coordinates) @ np.square(means)
    return float((1 - shrinkage) * (between / shrunk).sum())


def ledoit_wolf(
    coordinates: Float[np.ndarray, "items rank"], variances: Float[np.ndarray, " rank"], width: int
) -> float:
    """The best weight of the identity in the covariance, from 0 to 1 (Ledoit and Wolf, 2004).

    The mean squared error of the covariance S is (Σ ‖x‖⁴ / N − ‖S‖²) / N, its distance from (tr S / D) I is ‖S‖² − (tr
    S)² / D, and the weight is their ratio: so principal axes, where S is diagonal, are all it takes.

    Args:
        coordinates: The centred items in their principal axes.
        variances: The variance along each axis.
        width: The number D of dimensions, with those in which nothing varies.
    """
    squared = float(np.square(variances).sum())
    distance = squared - float(variances.sum()) ** 2 / width
    lengths = np.square(coordinates).sum(axis=1)
    error = (float(np.square(lengths).mean()) - squared) / len(coordinates)
    return min(max(error / distance, 0.0), 1.0) if distance > 1e-12 * squared else 1.0
