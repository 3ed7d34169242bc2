"""What `fit` and `audit` have in common: what is regrouped, what is said of copies, and what is never looked at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart._randomness import generator
from headstart.auditing import Example, Finding
from headstart.auditing.copies import Copies
from headstart.backbones.catalogue import entries
from headstart.data.dataset import Dataset, Items
from headstart.data.split import split
from headstart.recipes import auditing as module
from headstart.recipes.auditing import (
    Looked,
    findings_in_texts,
    illustrated,
    regrouped,
    shared_with_training,
    with_clean_accuracy,
)
from recipes import made

N_ITEMS = 30


def _copies(clusters: list[int]) -> Copies:
    alone = np.array(clusters) < 0
    return Copies(np.array(clusters), ~alone, np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32), 0.9)


def _dataset(n_test: int, *, shared: int = 0) -> tuple[Dataset, Looked]:
    """Two classes in turn, the last ones on the test side, the first of which are copies of the first of training."""
    whole = made.dataset(N_ITEMS, modality="text")
    keys = [*whole.items.keys]
    clusters = [-1] * N_ITEMS
    for number in range(shared):
        twin = N_ITEMS - n_test + number
        keys[twin] = keys[number]
        clusters[number] = clusters[twin] = number
    sides = ("train",) * (N_ITEMS - n_test) + ("test",) * n_test
    features = generator(0, "features").normal(size=(N_ITEMS, 4)) + 3 * np.eye(2, 4)[whole.targets]
    whole = replace(whole, items=replace(whole.items, keys=tuple(keys)), sides=sides if n_test else None)
    return whole, Looked(features.astype(np.float32), None, _copies(clusters), None)


def test_labels_of_the_test_side_have_no_part_in_finding_series(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, looked = _dataset(10)
    seen: list[np.ndarray] = []
    monkeypatch.setattr(module, "find_series", lambda _names, _features, targets, *_: seen.append(targets))
    exchanged = dataset.targets.copy()
    exchanged[20:] = 1 - exchanged[20:]
    for targets in (dataset.targets, exchanged):
        climb = made.climb(dataset.items)
        regrouped(replace(dataset, targets=targets), looked, climb, seed=0, progress=climb.progress)
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0][:20], dataset.targets[:20])
    # The classes of these are far apart, so that the nearest is the true one.
    np.testing.assert_array_equal(seen[0], dataset.targets)


def test_without_sides_all_labels_are_those_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, looked = _dataset(0)
    seen: list[np.ndarray] = []
    monkeypatch.setattr(module, "find_series", lambda _names, _features, targets, *_: seen.append(targets))
    climb = made.climb(dataset.items)
    regrouped(dataset, looked, climb, seed=0, progress=climb.progress)
    np.testing.assert_array_equal(seen[0], dataset.targets)


def test_what_is_left_out_leaves_everything_in_step() -> None:
    dataset, looked = _dataset(10, shared=3)
    climb = made.climb(dataset.items)
    fewer, known = regrouped(dataset, looked, climb, seed=0, progress=climb.progress)
    assert len(fewer) == len(known.features) == len(known.copies.clusters) == len(climb.items) == N_ITEMS - 3
    assert fewer.items.names == climb.items.names == dataset.items.names[3:]
    np.testing.assert_array_equal(known.features, looked.features[3:])
    assert fewer.groups is not None
    assert len(set(fewer.groups)) == N_ITEMS - 3
    assert fewer.notes[-1] == "3 training items that belong with test items are left out"
    assert made.said(climb).splitlines() == list(fewer.notes)
    assert [each.reason for each in fewer.left_out] == [
        f"an exact copy of a test item: item {20 + number}" for number in range(3)
    ]


def test_the_accuracy_without_copies_is_told_where_copies_are() -> None:
    dataset, looked = _dataset(10, shared=4)
    shared = shared_with_training(dataset, split(dataset), looked)
    assert shared == {f"item {row}" for row in range(20, 24)}
    sealed = dataset.items.take(range(20, 30))
    right = np.array([True] * 4 + [True, True, True, False, False, False])
    across = Finding("exact_duplicates_across_sides", "serious", 4, (), "Remove them.", "4 of 10.", "Too good.")
    other = Finding("imbalance", "warning", 1, (), "Label more.")
    told = with_clean_accuracy((across, other), shared, sealed, right)
    assert told[0].effect.startswith("Too good. On the test items without a copy in training the model is right on 50")
    assert told[1] == other
    assert with_clean_accuracy((across,), frozenset(), sealed, right) == (across,)
    assert with_clean_accuracy((across,), frozenset(sealed.names), sealed, right) == (across,)


def test_examples_get_previews_where_they_are_shown() -> None:
    items = Items("text", ("write to jane.doe@example.org", "b"), ("row 1", "row 2"), ("k1", "k2"))
    dataset = Dataset(items, np.array([0, 1]), ("a", "b"))
    found = [
        Finding("one", severity, 1, (), "Do it.", examples=(Example(("row 1", "gone")), *[Example(("row 2",))] * 5))
        for severity in ("serious", "info")
    ]  # fmt: skip
    shown, plain = illustrated(found, dataset, of=("serious",))
    assert "jane.doe" not in shown.examples[0].previews[0]
    assert shown.examples[0].previews[1] == ""
    assert [len(each.previews) for each in shown.examples] == [2, 1, 1, 1, 0, 0]
    assert plain == found[1]


def test_other_languages_are_told_to_those_who_know_english_alone() -> None:
    text = "das ist nicht ein Haus und auch nicht der Garten, wir sind mit dem Zug auf dem Weg"
    items = Items("text", (text,) * 3, ("row 1", "row 2", "row 3"))
    (english,) = [each.name for each in entries().values() if each.name == "all_minilm_l6_v2"]
    by_name = {
        name: [each.kind for each in findings_in_texts(items, made.local(name, text=True))]
        for name in (english, "unknown")
    }
    assert by_name[english]
    assert by_name["unknown"] == []
