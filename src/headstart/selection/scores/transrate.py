"""How many more nats it takes to code the features of all items than those of one class.

TransRate (Huang et al., ICML 2022, arXiv:2106.09362) is R(X) − (1/C) Σ R(X_c) with the coding rate R(X) = ½ log det(I +
XᵀX / (nε)) at a squared distortion ε = 1e-4. The distortion is absolute, so the features are brought to a mean squared
length of 1 first: else the unit of the features would decide.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from headstart.errors import DataError
from headstart.selection.scores._inputs import check_classes
from headstart.selection.scores.components import Components, decompose

_DISTORTION = 1e-4


def transrate(features: Float[np.ndarray, "items width"] | Components, targets: Int[np.ndarray, " items"]) -> float:
    """The coding rate of the centred features less the mean one of the classes, in nats; higher is better.

    Args:
        features: What the backbone says, or its components.
        targets: The class of each item, from 0 on.

    Raises:
        DataError: If there are no more items than dimensions, features are not finite or the same for all items, or
            targets cannot tell features apart.
        OptionError: If there is not one class, 0 or greater, for each item.
    """
    parts = decompose(features)
    n_items = len(parts.basis)
    classes, counts = check_classes(targets, n_items)
    if n_items <= parts.width:
        raise DataError(
            f"TransRate needs more items than dimensions, but there are {n_items} and {parts.width}: "
            "coding rates would count items, not say what the features hold"
        )
    if len(parts.squares) == 0:
        raise DataError("TransRate needs features that differ between items")
    coordinates = parts.coordinates()
    whole = 0.5 * float(np.log1p(parts.squares / (n_items * _DISTORTION)).sum())
    return whole - float(np.mean([_rate(coordinates[classes == one]) for one in range(len(counts))]))


def _rate(items: Float[np.ndarray, "items rank"]) -> float:
    # det(I + XᵀX) = det(I + XXᵀ): the smaller of the two.
    gram = items @ items.T if len(items) < items.shape[1] else items.T @ items
    return 0.5 * float(np.linalg.slogdet(np.eye(len(gram)) + gram / (len(items) * _DISTORTION))[1])
