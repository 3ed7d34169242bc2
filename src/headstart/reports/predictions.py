"""A table of predictions as CSV, the same for `fit` and `predict`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

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
    labels: Sequence[str | None] | None = None,
    more: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Path:
    """Write one row an item: `item, prediction, probability`, `target` when known, and one `p:CLASS` per class.

    The file is UTF-8 with one header row; probabilities have six significant digits; the file is there completely or
    not at all.

    Args:
        path: Where.
        items: The name of each item.
        classes: The class names, in the order of the columns.
        probabilities: For each item the probability of each class, 0 to 1; the largest one is `probability`.
        targets: For each item the name of its true class.
        labels: What is answered, None where the model abstains; the most probable class, if not given.
        more: Further columns by name, which come before those of the classes.

    Returns:
        The path.

    Raises:
        DataError: If items, classes, probabilities and other columns do not belong together.
        OutputError: If the file cannot be written.
    """
    columns = ({} if targets is None else {"target": targets}) | dict(more)
    n_others = next((len(column) for column in columns.values() if len(column) != len(items)), len(items))
    if probabilities.shape != (len(items), len(classes)) or n_others != len(items):
        raise DataError(
            "a table of predictions needs one row of probabilities and one target an item and one column a class,"
            f" but got {len(items)} items, {len(classes)} classes, {n_others} targets"
            f" and probabilities of shape {probabilities.shape}",
            hint="Pass the items, classes and probabilities of the same prediction.",
        )
    answers = [classes[best] for best in probabilities.argmax(axis=1)] if labels is None else labels
    with whole_file(path) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["item", "prediction", "probability", *columns, *(f"p:{name}" for name in classes)])
        rows = zip(items, answers, probabilities, *columns.values(), strict=True)
        for item, answer, values, *others in rows:
            digits = [f"{value:.6g}" for value in values]
            table.writerow([item, answer, digits[int(values.argmax())], *others, *digits])
    return path
