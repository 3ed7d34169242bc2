"""What predictions must look like; checked once, where they come in."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from headstart.errors import DataError

# Probabilities that went through float16 or through a table with three decimals still pass.
_SUM_TOLERANCE = 1e-2


def check_targets(targets: Int[np.ndarray, " items"], n_items: int) -> None:
    """Checks that each item has one target.

    Args:
        targets: For each item the index of its class.
        n_items: How many items there are.

    Raises:
        DataError: If the numbers differ, or a target is negative.
    """
    if len(targets) != n_items:
        raise DataError(
            f"each item needs one target, but got {len(targets)} targets for {n_items} items",
            hint="Take targets and predictions from the same rows.",
        )
    if (targets < 0).any():
        row = int(np.flatnonzero(targets < 0)[0])
        raise DataError(
            f"a target must be the index of a class, 0 or greater, but target {row} is {targets[row]}",
            hint="Leave items without a class out.",
        )


def check_logits(logits: Float[np.ndarray, "items classes"]) -> None:
    """Checks that all logits are finite.

    Args:
        logits: Scores of a head.

    Raises:
        DataError: If one is not.
    """
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError(
            f"logits must be finite, but those of item {row} are {logits[row].tolist()}",
            hint="The fit diverged or the item is broken: use a smaller rate, or look at the item.",
        )


def check_probabilities(probabilities: Float[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"]) -> None:
    """Checks that rows are probabilities and that each has a target.

    Args:
        probabilities: One row for each item.
        targets: For each item the index of its class.

    Raises:
        DataError: If there are no items, a row has a negative or non-finite number or does not sum to 1, or targets do
            not fit.
    """
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise DataError(
            "probabilities need a row for each item and a column for each class, "
            f"but their shape is {probabilities.shape}",
            hint="Check that the test side has items.",
        )
    check_targets(targets, len(probabilities))
    right = (probabilities >= 0).all(axis=1) & (abs(probabilities.sum(axis=1, dtype=np.float64) - 1) <= _SUM_TOLERANCE)
    if not right.all():
        row = int(np.flatnonzero(~right)[0])
        raise DataError(
            f"probabilities of an item must be 0 or greater and sum to 1, but item {row} has "
            f"{probabilities[row].tolist()}",
            hint="Pass logits through `softmax` first.",
        )
