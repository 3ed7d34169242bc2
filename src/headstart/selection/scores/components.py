"""The principal components of features: one decomposition that all scores share.

With X the centred features, scaled to a mean squared length of 1, and X = U √σ Vᵀ, everything that does not change when
the space of the features is rotated, moved or scaled is a function of U, σ and the width alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from headstart.selection.scores._inputs import check_features

_RANK = 1e-10
"""Squared singular values below this share of the largest are rounding: float32 has seven digits."""


@dataclass(frozen=True, eq=False)
class Components:
    """Centred and scaled features in their principal axes.

    Attributes:
        basis: U, one column for each component; the sign of each is such that its largest entry is positive.
        squares: σ, the squared singular values, from the largest on; they sum to the number of items, unless the
            features are the same for all items: then there are none.
        width: The width of the features.
    """

    basis: Float[np.ndarray, "items rank"]
    squares: Float[np.ndarray, " rank"]
    width: int

    def coordinates(self, most: int | None = None) -> Float[np.ndarray, "items components"]:
        """The items in the first principal axes.

        Args:
            most: How many axes; all, if None.
        """
        items: np.ndarray = self.basis[:, :most] * np.sqrt(self.squares[:most])
        return items

    @property
    def order(self) -> Int[np.ndarray, " items"]:
        """The items in an order that does not depend on the one in which they came: along the first axis."""
        return np.argsort(self.basis[:, 0], kind="stable")


def decompose(features: Float[np.ndarray, "items width"] | Components) -> Components:
    """Decompose features; what is decomposed already is given back.

    Args:
        features: What the backbone says.

    Raises:
        DataError: If there are fewer than two items, or features are not finite.
    """
    if isinstance(features, Components):
        return features
    check_features(features)
    n_items, width = features.shape
    centred = features - features.mean(axis=0, dtype=np.float64)
    largest = float(np.abs(centred).max())
    # A mean of equal numbers differs from them by rounding.
    if largest <= 1e-12 * float(np.abs(features).max()):
        return Components(np.zeros((n_items, 0)), np.zeros(0), width)
    centred /= largest
    centred /= np.sqrt(np.vdot(centred, centred) / n_items)
    tall = n_items > width
    gram = centred.T @ centred if tall else centred @ centred.T
    squares, vectors = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    squares, vectors = squares[::-1], vectors[:, ::-1]
    real = squares > _RANK * squares[0]
    squares, vectors = squares[real], vectors[:, real]
    basis = centred @ (vectors / np.sqrt(squares)) if tall else vectors
    signs = np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(len(squares))])
    return Components(basis * signs, squares, width)
