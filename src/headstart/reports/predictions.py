"""A table of predictions as CSV, the same for `fit` and `predict`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from headstart.errors import BundleError, DataError
from headstart.reports._whole_file import whole_file

_FIRST = ("item", "prediction", "probability")  # columns


@dataclass(frozen=True, slots=True)
class TestTable:
    """The predictions for the items of a sealed test, as `fit` wrote them.

    Attributes:
        items: The name of each item.
        predictions: For each the class that the model gave.
        targets: For each the class in the data.
    """

    items: tuple[str, ...]
    predictions: tuple[str, ...]
    targets: tuple[str, ...]


def read_test_table(path: Path) -> TestTable:
    """Read what `write_predictions` wrote with targets.

    Args:
        path: The file.

    Raises:
        BundleError: If it is missing, or no such table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [(row["item"], row["prediction"], row["target"]) for row in csv.DictReader(stream, strict=True)]
    except OSError as error:
        raise BundleError(
            f"a run keeps the predictions for its test in {path.name}, but {str(path)!r} cannot be read "
            f"({error.strerror})",
            hint="Restore the file, or run `headstart fit` again.",
        ) from error
    except (KeyError, ValueError, csv.Error) as error:
        raise _no_table(path) from error
    if not rows or any(None in row for row in rows):
        raise _no_table(path)
    items, predictions, targets = zip(*rows, strict=True)
    return TestTable(items, predictions, targets)


def _no_table(path: Path) -> BundleError:
    return BundleError(
        f"{path.name} must be a table with the columns item, prediction and target, but {str(path)!r} is not",
        hint="The file is damaged or was edited; restore it, or run `headstart fit` again.",
    )


def is_predictions(path: Path) -> bool:
    """Whether a file begins as what `write_predictions` writes.

    Args:
        path: The file; it need not be there.
    """
    begin = ",".join(_FIRST).encode()
    try:
        with path.open("rb") as stream:
            return stream.read(len(begin)) == begin
    except OSError:
        return False


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
        table.writerow([*_FIRST, *columns, *(f"p:{name}" for name in classes)])
        rows = zip(items, answers, probabilities, *columns.values(), strict=True)
        for item, answer, values, *others in rows:
            digits = [f"{value:.6g}" for value in values]
            table.writerow([item, answer, digits[int(values.argmax())], *others, *digits])
    return path
