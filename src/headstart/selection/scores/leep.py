"""How well the targets follow from what the source classifier says about the items.

LEEP (Nguyen et al., ICML 2020, arXiv:2002.12462): with θ the source classifier's probabilities, the joint frequency
P(y, z) = (1/N) Σ θ_z over the items of class y and P(y|z) = P(y, z) / P(z), it is the mean of log Σ_z P(yᵢ|z) θ_z(xᵢ).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from headstart.errors import DataError
from headstart.selection.scores._inputs import check_classes, check_features


def leep(probabilities: Float[np.ndarray, "items sources"], targets: Int[np.ndarray, " items"]) -> float:
    """The mean log-probability of the targets under the expected empirical predictor, up to 0; higher is better.

    It is measured on the items that it was made of: the more source classes there are per item, the closer it comes to
    0 for any classifier that is sure of itself.

    Args:
        probabilities: What the source classifier says: rows of probabilities over its classes.
        targets: The class of each item, from 0 on.

    Raises:
        DataError: If rows are no probabilities, or targets cannot tell classifiers apart.
        OptionError: If there is not one class, 0 or greater, for each item.
    """
    sources = check_probabilities(probabilities)
    classes, counts = check_classes(targets, len(sources))
    sources = sources[:, sources.sum(axis=0) > 0]
    joint = np.eye(len(counts))[classes].T @ sources
    given = joint / joint.sum(axis=0)
    return float(np.log(np.einsum("iz,iz->i", given[classes], sources)).mean())


def check_probabilities(probabilities: np.ndarray) -> Float[np.ndarray, "items sources"]:
    """Probabilities in float64, rows summing to one.

    Args:
        probabilities: Rows of probabilities over the source classifier's classes.

    Raises:
        DataError: If rows are no probabilities.
    """
    check_features(probabilities)
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if probabilities.min() < 0 or np.abs(sums - 1).max() > 1e-2:
        raise DataError(
            "what the source classifier says must be probabilities, rows from 0 to 1 that sum to 1, "
            f"but the least is {probabilities.min():.3g} and the sums go from {sums.min():.3g} to {sums.max():.3g}"
        )
    normalised: np.ndarray = probabilities / sums[:, None]
    return normalised
