"""Copies among all items where features are known of some."""

from __future__ import annotations

import numpy as np

from headstart.auditing.copies import copies_among_all, find_copies
from headstart.data.dataset import Items


def _pictures(keys: tuple[str, ...]) -> Items:
    names = tuple(f"{row}.png" for row in range(len(keys)))
    return Items(values=names, names=names, modality="image", keys=keys)


def test_near_copies_that_were_seen_are_kept_beside_exact_ones_of_all() -> None:
    keys = ("a", "b", "c", "d", "a", "e")
    random = np.random.default_rng(0)
    seen = np.array([1, 0, 3])  # b, a, d in the order of a sample
    pictures = random.random((3, 48, 48), dtype=np.float32)
    pictures[2] = pictures[1]  # d looks like a
    known = find_copies(_pictures(("b", "a", "d")), None, pictures)
    assert known.pairs.tolist() == [[1, 2]]
    found = copies_among_all(_pictures(keys), known, seen)
    assert found.pairs.tolist() == [[0, 3]]
    assert found.clusters.tolist() == [0, -1, -1, 0, 0, -1]
    assert found.exact.tolist() == [True, False, False, False, True, False]
    assert found.threshold == known.threshold


def test_the_threshold_that_was_calibrated_holds_for_all() -> None:
    """Texts of one template, whose features say what is usual among them."""
    rest = "on the host of the data centre as written to the central log for review"
    texts = tuple(f"Event {n} {n * 7} {n * 3} {rest}" for n in range(40))
    items = Items(values=texts, names=texts, modality="text", keys=texts)
    features = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    known = find_copies(items.take(np.arange(20)), features)
    assert len(find_copies(items).pairs) > 0
    assert len(known.pairs) == 0
    assert len(copies_among_all(items, known, np.arange(20)).pairs) == 0
