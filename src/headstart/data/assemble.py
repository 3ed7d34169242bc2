"""A reading to a dataset: labels become classes, and up to three sides become two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from headstart.data.dataset import Dataset, Items, LeftOut, Side
from headstart.data.readers.class_folders import NO_CLASS
from headstart.data.readers.files import NOT_FOUND
from headstart.data.readers.reading import Reading, SideName
from headstart.data.targets import check_classes, encode
from headstart.errors import DataError


def assemble(reading: Reading, source: str) -> Dataset:
    """The dataset of a reading all of whose items have labels.

    Raises:
        DataError: If the labels are not classes, or there are fewer than two classes.
    """
    if reading.label_name:
        check_classes(reading.labels, reading.label_name)
    targets, classes = encode(reading.labels)
    sides, note = _two_sides(reading.sides)
    return Dataset(
        items=Items(reading.modality, reading.values, reading.names),
        targets=targets,
        classes=classes,
        sides=sides,
        groups=reading.groups,
        left_out=reading.left_out,
        notes=(*reading.notes, note) if note else reading.notes,
        source=source,
    )


def only_labelled(reading: Reading, source: str) -> Reading:
    """The reading without the items that have no label; these are listed as left out.

    Raises:
        DataError: If nothing remains; the message has the most frequent reasons.
    """
    labelled = [row for row, label in enumerate(reading.labels) if label.strip()]
    unlabelled = [row for row, label in enumerate(reading.labels) if not label.strip()]
    left_out = (*reading.left_out, *(LeftOut(reading.names[row], "no label") for row in unlabelled))
    if not labelled:
        raise nothing_left(source, left_out)
    return replace(reading.take(labelled), left_out=left_out)


_HINTS = {
    NO_CLASS: "Put the files of each class into a folder of its own, or give a table with their paths and labels.",
    NOT_FOUND: "Check the paths; those in a table start from the folder that it lies in.",
}


def nothing_left(source: str, left_out: Sequence[LeftOut]) -> DataError:
    """The error to raise when no item of a source can be used."""
    # The path that is not there is about one item, and stands after a colon.
    found = (NOT_FOUND if item.reason.startswith(f"{NOT_FOUND}:") else item.reason for item in left_out)
    reasons = Counter(found).most_common(3)
    why = "; ".join(f"{reason} ({count:,})" for reason, count in reasons) or "it has no rows"
    names = ", ".join(item.name for item in left_out[:3])
    hint = f"Look at {names}." if names else "Give at least one item."
    if reasons:
        hint = _HINTS.get(reasons[0][0], hint)
    return DataError(f"no item of {source!r} can be used: {why}", hint=hint)


def _two_sides(sides: Sequence[SideName] | None) -> tuple[tuple[Side, ...] | None, str]:
    """Training and test out of three names: `test` is the test, failing that `val`; when both exist, `val` trains."""
    found = set(sides or ())
    if sides is None or len(found) < 2:
        return None, ""
    test: SideName = "test" if "test" in found else "val"
    note = "val joined training, because test is the sealed test" if test == "test" and "val" in found else ""
    if test == "val":
        note = "val is the sealed test, because there is no test"
    return tuple("test" if side == test else "train" for side in sides), note
