"""What both stores check before they take anything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from headstart.errors import OptionError
from headstart.features.namespace import Namespace


def checked_batch(
    namespace: Namespace, keys: Sequence[str], rows: Float[np.ndarray, "rows width"]
) -> Float[np.ndarray, "rows width"]:
    """The rows of a batch as they will be read back.

    Raises:
        OptionError: If keys and rows do not fit together or the namespace, or a number is not finite.
    """
    if rows.shape != (len(keys), namespace.width):
        raise OptionError(
            f"a batch must hold one row of {namespace.width} numbers for each key, "
            f"but got an array of shape {rows.shape} for {len(keys)} keys",
            hint="Check the layers of the namespace against the output of the backbone.",
        )
    # Rounding comes first: the largest float32 numbers are infinite in bfloat16. Overflow is what the check is for.
    with np.errstate(over="ignore"):
        rounded = namespace.rounded(np.asarray(rows, dtype=np.float32))
    finite = np.isfinite(rounded).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise OptionError(
            f"features must be finite numbers in {namespace.dtype}, but row {row} of the batch ({keys[row]!r}) is not",
            hint="Compute in float32, or reject the item." if namespace.dtype == "bfloat16" else "Reject the item.",
        )
    return rounded


def check_reasons(keys: Sequence[str], reasons: Sequence[str]) -> None:
    """Check that there is one reason for each key.

    Raises:
        OptionError: If not.
    """
    if len(keys) != len(reasons):
        raise OptionError(
            f"each rejected item needs one reason, but got {len(keys)} keys and {len(reasons)} reasons",
            hint="Give as many reasons as keys.",
        )


def check_speed(items_per_s: float) -> None:
    """Check that a speed can be divided by.

    Raises:
        OptionError: If it is not a positive finite number.
    """
    if not (math.isfinite(items_per_s) and items_per_s > 0):
        raise OptionError(
            f"a speed must be a positive number of items per second, but got {items_per_s!r}",
            hint="Divide the items by the seconds that they took.",
        )
