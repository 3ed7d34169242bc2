"""The nearest class mean among directions; what rests on few items counts for less."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from headstart.adaptation.heads.forms import unit_rows

SHRINKAGES: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 5.0)
"""How many items that say nothing are added to each class."""
_SHARPNESS = 10.0
"""What cosines are multiplied by, so that the temperature is near 1 and far from the ends of its range."""


def fit(
    directions: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    *,
    shrinkage: float,
    n_classes: int,
) -> tuple[Float[np.ndarray, "classes width"], Float[np.ndarray, " classes"]]:
    """Weight and bias of the linear map from a direction to its cosine with each class mean.

    The cosine with the mean of n items counts n / (n + shrinkage) times, so that of a class with few items moves the
    answer less, in either direction.

    Args:
        directions: One row of length 1 for each item.
        targets: The class of each item.
        shrinkage: As in `SHRINKAGES`, 0 or greater.
        n_classes: The number of classes; one without items gets the worst logit that there is.
    """
    counts = np.bincount(targets, minlength=n_classes)
    members = np.eye(n_classes, dtype=directions.dtype)[targets]
    reliability = counts / np.maximum(counts + shrinkage, 1)
    weight = _SHARPNESS * reliability[:, None] * unit_rows(members.T @ directions)
    # No cosine is below -1.
    return weight, np.where(counts > 0, 0.0, -_SHARPNESS)
