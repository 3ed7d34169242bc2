"""Near-copies are kept together, but for classes that would then be in one piece."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart._progress import SILENT
from headstart.auditing.copies import find_copies
from headstart.data.dataset import Dataset, Items
from headstart.data.split import split
from headstart.recipes.auditing import kept_together


def _templated(n_each: int) -> Dataset:
    """Events of two classes that differ in their number and in four words of thirty."""
    rest = (
        "on the host of the data centre as written to the central log file for later review by the staff of operations"
    )
    ends = ("was closed with an error", "was opened without any trouble")
    texts = tuple(f"Event {n} {rest} the user session {ends[n % 2]}" for n in range(2 * n_each))
    names = tuple(f"row {n}" for n in range(len(texts)))
    targets = np.arange(len(texts)) % 2
    return Dataset(Items(values=texts, names=names, modality="text", keys=names), targets, ("bad", "good"))


def test_texts_of_one_template_can_be_split() -> None:
    dataset = _templated(15)
    copies = find_copies(dataset.items)
    assert len(set(copies.together)) <= 2
    kept = kept_together(dataset, copies, SILENT)
    assert kept.copies is None
    assert "near-copies are so common that all items of 'bad', 'good' would stay together" in kept.notes[-1]
    assert {kept.classes[target] for target in split(kept).test.open()} == {"bad", "good"}


def test_labels_of_the_users_test_are_not_looked_at() -> None:
    dataset = _templated(15)
    sides = tuple("test" if row < 20 else "train" for row in range(len(dataset)))
    dataset = replace(dataset, sides=sides)
    kept = kept_together(dataset, find_copies(dataset.items), SILENT)
    assert kept.copies is not None  # five training items of a class are few


@pytest.mark.parametrize("n_each", [2, 9])
def test_few_copies_stay_together(n_each: int) -> None:
    dataset = _templated(n_each)
    copies = find_copies(dataset.items)
    kept = kept_together(dataset, copies, SILENT)
    assert (kept.copies, kept.notes) == (copies.together, dataset.notes)
