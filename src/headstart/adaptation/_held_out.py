"""What held-out items say about weights, and how they can choose without being judged by their own choice."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from headstart._randomness import generator
from headstart.evaluation.calibration import LOWEST, fit_temperature

SHARES = (1.0, 0.75, 0.5, 0.25)
"""How far from the start, 0, to where training ended, 1, a result may lie."""

_FEWEST = 2  # items of a half


def calibrated_loss(logits: Float[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"]) -> float:
    """The mean of `calibrated_losses`.

    Args:
        logits: One row at least.
        targets: The class of each item.
    """
    return float(calibrated_losses(logits, targets).mean())


def calibrated_losses(
    logits: Float[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"]
) -> Float[np.ndarray, " items"]:
    """What each item loses with the best temperature between 0.05 and 20 for all of them, in nats; for comparisons.

    Where all items are right, `fit_temperature` says 1, as such items cannot tell how sure to be. Here the least
    temperature is taken then: at 1 weights without an error could look worse than sharpened ones with an error.

    Args:
        logits: One row at least.
        targets: The class of each item.
    """
    behind = logits.astype(np.float64)
    behind -= behind[np.arange(len(targets)), targets][:, None]
    temperature = LOWEST if behind.max() <= 0 else fit_temperature(logits, targets)
    return np.asarray(np.logaddexp.reduce(behind / temperature, axis=1))


def halves(targets: Int[np.ndarray, " items"], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions of items that choose, and of those that are judged by the choice: each half is once either.

    Args:
        targets: The class of each item; both halves have as many of each, but for one.
        seed: Of the division.

    Returns:
        Two pairs, or none where a half would have a single item.
    """
    order = generator(seed, "halves").permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    one, other = np.sort(order[::2]), np.sort(order[1::2])
    return [(one, other), (other, one)] if len(other) >= _FEWEST else []
