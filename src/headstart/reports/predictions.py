"""A table of predictions as CSV, the same for `fit` and `predict`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from headstart.errors import DataError
from headstart.reports._whole_file import whole_file


def write_predictions(
    path: Path,
    items: Sequence[str],
    *,
    classes: Sequence[str],
    probabilities: Float[np.ndarray, "items classes"],
    targets: Sequence[str] | None = None,
) -> Path:
    """Write one row an item: `item, prediction, probability`, `target` when known, and one `p:CLASS` per class.

    The file is UTF-8 with one header row; probabilities have six significant digits; the file is there completely or
    not at all.

    Args:
        path: Where.
        items: The name of each item.
        classes: The class names, in the order of the columns.
        probabilities: For each item the probability of each class, 0 to 1; the largest one is the prediction.
        targets: For each item the name of its true class.

    Returns:
        The path.

    Raises:
        DataError: If items, classes, probabilities and targets do not belong together.
        OutputError: If the file cannot be written.
    """
    n_targets = len(items) if targets is None else len(targets)
    if probabilities.shape != (len(items), len(classes)) or n_targets != len(items):
        raise DataError(
            "a table of predictions needs one row of probabilities and one target an item and one column a class,"
            f" but got {len(items)} items, {len(classes)} classes, {n_targets} targets"
            f" and probabilities of shape {probabilities.shape}",
            hint="Pass the items, classes and probabilities of the same prediction.",
        )
    header = ["item", "prediction", "probability"]
    header += ["target"] if targets is not None else []
    with whole_file(path) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow([*header, *(f"p:{name}" for name in classes)])
        for row, (item, values) in enumerate(zip(items, probabilities, strict=True)):
            best = int(values.argmax())
            target = [targets[row]] if targets is not None else []
            digits = [f"{value:.6g}" for value in values]
            table.writerow([item, classes[best], digits[best], *target, *digits])
    return path
