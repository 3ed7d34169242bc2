"""How little the classes overlap when each is a Gaussian ball in the first principal components.

The Gaussian Bhattacharyya coefficient (Pándy et al., CVPR 2022, arXiv:2111.12780) is −Σ exp(−D_B) over ordered pairs of
classes, with D_B = ⅛ ‖μᵢ − μⱼ‖² / v̄ + d/2 log(v̄ / √(vᵢvⱼ)) for spherical covariances, v̄ = (vᵢ + vⱼ)/2 and d = 64
components. (The published code adds the logarithm once instead of d times.)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from headstart.errors import DataError
from headstart.selection.scores._inputs import check_classes, check_each_class
from headstart.selection.scores.components import Components, decompose

_COMPONENTS = 64


def gbc(features: Float[np.ndarray, "items width"] | Components, targets: Int[np.ndarray, " items"]) -> float:
    """Minus the summed overlap of all pairs of classes, from −C(C − 1), all alike, to 0, all apart; higher is better.

    Args:
        features: What the backbone says, or its components.
        targets: The class of each item, from 0 on.

    Raises:
        DataError: If a class has no spread because it has one item or its items are alike, features are not finite, or
            targets cannot tell features apart.
        OptionError: If there is not one class, 0 or greater, for each item.
    """
    parts = decompose(features)
    classes, counts = check_classes(targets, len(parts.basis))
    check_each_class(counts, 2, "its variance")
    coordinates = parts.coordinates(_COMPONENTS)
    n_components = coordinates.shape[1]
    onehot = np.eye(len(counts))[classes]
    means = onehot.T @ coordinates / counts[:, None]
    lengths = np.square(coordinates - means[classes]).sum(axis=1)
    variances = onehot.T @ lengths / counts / max(n_components, 1)
    alike = int((variances <= 1e-12).sum())
    if alike:
        raise DataError(f"the items of {alike} of {len(counts)} classes are alike, so their Gaussians have no spread")
    between = (variances[:, None] + variances) / 2
    # Differences, not products of means: classes may lie close to each other and far from the origin.
    apart = np.stack([np.square(means - mean).sum(axis=1) for mean in means])
    logs = np.log(between) - (np.log(variances)[:, None] + np.log(variances)) / 2
    overlaps = np.exp(-apart / (8 * between) - n_components / 2 * logs)
    return float(len(counts) - overlaps.sum())  # without the overlap of each class with itself, which is 1
