"""How much the source classifier's decisions leave open about the targets.

NCE (Tran et al., ICCV 2019, arXiv:1908.08142) is minus the conditional entropy of the targets given the source
classifier's most probable class z: −H(Y|Z) = Σ P(y, z) log P(y|z).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import xlogy

from headstart.selection.scores._inputs import check_classes
from headstart.selection.scores.leep import check_probabilities


def nce(probabilities: Float[np.ndarray, "items sources"], targets: Int[np.ndarray, " items"]) -> float:
    """Minus the conditional entropy in nats, from −log C to 0; higher is better.

    It is measured on the items that it was made of: the more source classes there are per item, the closer it comes to
    0.

    Args:
        probabilities: What the source classifier says: rows of probabilities over its classes.
        targets: The class of each item, from 0 on.

    Raises:
        DataError: If rows are no probabilities, or targets cannot tell classifiers apart.
        OptionError: If there is not one class, 0 or greater, for each item.
    """
    sources = check_probabilities(probabilities)
    classes, counts = check_classes(targets, len(sources))
    _, decided = np.unique(sources.argmax(axis=1), return_inverse=True)
    joint = np.zeros((len(counts), int(decided.max()) + 1))
    np.add.at(joint, (classes, decided), 1 / len(sources))
    return float(xlogy(joint, joint / joint.sum(axis=0)).sum())
