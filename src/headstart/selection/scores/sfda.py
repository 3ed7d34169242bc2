"""How sure a regularised discriminant is of the classes when every item has been moved towards the other ones.

SFDA (Shao et al., ECCV 2022, arXiv:2207.03036). With the mean covariance S of the classes, shrunk to S_λ = (1 − λ) S +
λ (tr S / D) I by λ = exp(−5 · the largest eigenvalue of S), the posterior of an item is the softmax over classes of
x·S_λ⁻¹μ − ½ μ·S_λ⁻¹μ + log of the share of the class. Each item is then mixed with the mean of the other means, x' =
p x + (1 − p) μ_other with p the posterior of its class, the discriminant is fitted again with the same λ, and the score
is the mean posterior of the right class.

(The released code takes the softmax of the posterior once more before it mixes, and overwrites the caller's features.)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve, eigvalsh
from scipy.special import softmax

from headstart.errors import DataError
from headstart.selection.scores._inputs import check_classes
from headstart.selection.scores.components import Components, decompose


def sfda(features: Float[np.ndarray, "items width"] | Components, targets: Int[np.ndarray, " items"]) -> float:
    """The mean posterior of the right class after mixing, 0 to 1; higher is better.

    It is measured on the items that the discriminant was fitted to, and is too good the fewer there are. λ depends on
    the unit of the features, so they are brought to a mean squared length of 1; it is then e⁻⁵ at least.

    Args:
        features: What the backbone says, or its components.
        targets: The class of each item, from 0 on.

    Raises:
        DataError: If features are not finite, or do not vary within the classes, or targets cannot tell features apart.
        OptionError: If there is not one class, 0 or greater, for each item.
    """
    parts = decompose(features)
    classes, counts = check_classes(targets, len(parts.basis))
    onehot = np.eye(len(counts))[classes]
    items = parts.coordinates()
    means, within = _scatter(items, onehot, counts)
    largest = float(eigvalsh(within, subset_by_index=(len(within) - 1, len(within) - 1))[0]) if len(within) else 0.0
    if largest <= 1e-12:
        raise DataError("SFDA needs items of one class that differ: without spread within classes it is not defined")
    shrinkage = float(np.exp(-5 * largest))
    posterior = _posterior(items, means, within, counts, shrinkage, parts.width)
    own = np.einsum("ic,ic->i", posterior, onehot)[:, None]
    others = (means.sum(axis=0) - means) / (len(counts) - 1)
    mixed = own * items + (1 - own) * others[classes]
    means, within = _scatter(mixed, onehot, counts)
    posterior = _posterior(mixed, means, within, counts, shrinkage, parts.width)
    return float(np.einsum("ic,ic->i", posterior, onehot).mean())


def _scatter(
    items: Float[np.ndarray, "items rank"],
    onehot: Float[np.ndarray, "items classes"],
    counts: Int[np.ndarray, " classes"],
) -> tuple[Float[np.ndarray, "classes rank"], Float[np.ndarray, "rank rank"]]:
    """The means of the classes, and their covariance weighted by their shares."""
    means = onehot.T @ items / counts[:, None]
    apart = items - onehot @ means
    return means, apart.T @ apart / len(items)


def _posterior(
    items: Float[np.ndarray, "items rank"],
    means: Float[np.ndarray, "classes rank"],
    within: Float[np.ndarray, "rank rank"],
    counts: Int[np.ndarray, " classes"],
    shrinkage: float,
    width: int,
) -> Float[np.ndarray, "items classes"]:
    # In the dimensions beyond the rank all items are at the origin: they count in the trace only.
    shrunk = (1 - shrinkage) * within + shrinkage * np.trace(within) / width * np.eye(len(within))
    weights = cho_solve(cho_factor(shrunk), means.T)
    offsets = np.log(counts / len(items)) - 0.5 * np.einsum("cr,rc->c", means, weights)
    posterior: np.ndarray = softmax(items @ weights + offsets, axis=1)
    return posterior
