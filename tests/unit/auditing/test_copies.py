"""Copies: exact and near ones are found, other items are not, and the findings say what they mean."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import cropped, drawn, thumbnails
from PIL import ImageOps

from headstart.auditing.copies import Copies, copy_findings, find_copies, twins
from headstart.data import Dataset, Items

HOSTILE = ("new\nline", "quo\"te'", "<script>alert(1)</script>", "../up")


def _items(modality: str, values: list[str], keys: list[str] | None = None) -> Items:
    names = tuple(f"{HOSTILE[row % 4]} {row}" for row in range(len(values)))
    return Items(modality, tuple(values), names, tuple(keys or values))  # type: ignore[arg-type]


def _texts(n: int) -> list[str]:
    random = np.random.default_rng(0)
    return [" ".join(f"w{word}" for word in random.integers(800, size=16)) for _ in range(n)]


def _dataset(items: Items, targets: list[int]) -> Dataset:
    return Dataset(items, np.array(targets), ("cat", "dog"))


def _sets(copies: Copies) -> set[frozenset[int]]:
    clusters = copies.clusters
    return {frozenset(np.flatnonzero(clusters == number).tolist()) for number in np.unique(clusters[clusters >= 0])}


def _changed(text: str) -> str:
    words = text.split()
    return " ".join([*words[:3], "new", *words[4:9], "word", *words[10:]])


def test_exact_and_near_copies_of_texts_are_one_set() -> None:
    texts = _texts(40)
    values = [*texts, texts[3], _changed(texts[5]), texts[7].upper().replace(" ", ", ")]
    copies = find_copies(_items("text", values))
    assert _sets(copies) == {frozenset({3, 40}), frozenset({5, 41}), frozenset({7, 42})}
    assert np.flatnonzero(copies.exact).tolist() == [3, 40]
    assert copies.pairs.tolist() == [[7, 42], [5, 41]]
    np.testing.assert_allclose(copies.alike, [1, 14 / 16])


def test_near_copies_of_pictures_are_found_with_features_and_without() -> None:
    originals = drawn(40)
    plants = [ImageOps.mirror(originals[0]), cropped(originals[1]), originals[2].resize((60, 60))]
    pictures = thumbnails([*originals, *plants])
    items = _items("image", [f"{row}.png" for row in range(43)])
    wanted = {frozenset({0, 40}), frozenset({1, 41}), frozenset({2, 42})}
    features = np.random.default_rng(0).standard_normal((43, 20)).astype(np.float32)
    assert _sets(find_copies(items, None, pictures)) == wanted
    assert _sets(find_copies(items, features, pictures)) == wanted
    assert not _sets(find_copies(items, features, None))


def test_data_without_copies_has_none() -> None:
    pictures = thumbnails(drawn(60, seed=3))
    copies = find_copies(_items("image", [f"{row}.png" for row in range(60)]), None, pictures)
    assert not len(copies.pairs)
    assert (copies.clusters == -1).all()
    assert len(set(copies.together)) == 60


def test_the_order_of_items_does_not_matter() -> None:
    originals = drawn(30)
    pictures = thumbnails([*originals, *map(cropped, originals[:8])])
    items = _items("image", [f"{row}.png" for row in range(38)])
    features = np.random.default_rng(1).standard_normal((38, 12)).astype(np.float32)
    order = np.random.default_rng(2).permutation(38)
    straight = find_copies(items, features, pictures)
    shuffled = find_copies(items.take(order), features[order], pictures[order])
    assert _sets(straight) == {frozenset(order[list(rows)].tolist()) for rows in _sets(shuffled)}
    assert len(_sets(straight)) == 8


def test_a_threshold_is_above_what_neighbours_have_in_common() -> None:
    # Texts made from one template are alike without being copies.
    random = np.random.default_rng(0)
    texts = [
        " ".join(f"w{random.integers(10**6)}" if place in (2, 9) else f"t{place}" for place in range(13))
        for _ in range(60)
    ]
    features = np.ones((60, 4), dtype=np.float32) + 0.01 * random.standard_normal((60, 4)).astype(np.float32)
    copies = find_copies(_items("text", texts), features)
    assert copies.threshold > 11 / 13
    assert not len(copies.pairs)


@pytest.mark.parametrize("n", [0, 1])
def test_few_items_have_no_copies(n: int) -> None:
    copies = find_copies(_items("text", ["alone"] * n), np.ones((n, 3), dtype=np.float32))
    assert (copies.clusters.tolist(), copies.exact.tolist(), len(copies.pairs)) == ([-1] * n, [False] * n, 0)
    assert copies.together == tuple(range(n))


def test_some_of_the_items_keep_what_is_among_them() -> None:
    texts = _texts(10)
    copies = find_copies(_items("text", [*texts, texts[0], _changed(texts[1]), _changed(texts[5])]))
    some = copies.take([12, 2, 1, 5, 11, 10])
    assert _sets(some) == {frozenset({0, 3}), frozenset({2, 4})}
    assert {frozenset(pair) for pair in some.pairs.tolist()} == {frozenset({0, 3}), frozenset({2, 4})}
    assert len(set(some.together)) == 4


def test_copies_across_the_sides_are_told_from_those_within() -> None:
    texts = _texts(20)
    values = [*texts, texts[0], _changed(texts[1]), texts[2], _changed(texts[3])]
    dataset = _dataset(_items("text", values), [row % 2 for row in range(24)])
    copies = find_copies(dataset.items)
    is_test = np.arange(24) >= 22
    found = {finding.kind: finding for finding in copy_findings(dataset, copies, is_test, labelled=~is_test)}
    assert set(found) == {
        *("exact_duplicates_across_sides", "near_duplicates_across_sides", "exact_duplicates", "near_duplicates")
    }
    names = dataset.items.names
    assert found["exact_duplicates_across_sides"].items == (names[22],)
    assert found["near_duplicates_across_sides"].examples[0].items == (names[23], names[3])
    assert found["exact_duplicates"].items == (names[20],)
    assert found["near_duplicates"].items == (names[21],)
    assert found["exact_duplicates_across_sides"].severity == "serious"
    assert "1 of 2 test items (50.0 %) is an exact copy" in found["exact_duplicates_across_sides"].summary


def test_different_labels_of_one_content_are_a_conflict() -> None:
    texts = _texts(10)
    items = _items("text", [*texts, texts[0], texts[1].upper(), texts[2]])
    dataset = _dataset(items, [0] * 10 + [1, 1, 0])
    copies = find_copies(items)
    found = {finding.kind: finding for finding in copy_findings(dataset, copies)}
    conflict = found["conflicting_labels"]
    assert (conflict.count, conflict.severity) == (4, "serious")
    assert [set(example.items) for example in conflict.examples] == [
        {items.names[0], items.names[10]},
        {items.names[1], items.names[11]},
    ]
    hidden = np.arange(13) != 10
    kinds = {finding.kind: finding.count for finding in copy_findings(dataset, copies, labelled=hidden)}
    assert kinds["conflicting_labels"] == 2


def test_texts_that_differ_in_a_word_may_have_different_labels() -> None:
    items = _items("text", ["one of the best movies of the year", "one of the worst movies of the year"])
    copies = find_copies(items)
    assert len(copies.pairs) == 1
    assert {finding.kind for finding in copy_findings(_dataset(items, [0, 1]), copies)} == {"near_duplicates"}


def test_pictures_that_are_near_copies_must_have_one_label() -> None:
    originals = drawn(12)
    items = _items("image", [f"{row}.png" for row in range(13)])
    copies = find_copies(items, None, thumbnails([*originals, ImageOps.mirror(originals[0])]))
    found = {finding.kind: finding.count for finding in copy_findings(_dataset(items, [0] * 12 + [1]), copies)}
    assert found["conflicting_labels"] == 2


def test_twins_are_exact_copies_before_near_ones() -> None:
    texts = _texts(6)
    items = _items("text", [_changed(texts[0]), texts[0], *texts[1:], texts[0], _changed(texts[4])])
    dataset = _dataset(items, [0] * len(items))
    ours = np.arange(len(items)) >= 7
    assert twins(dataset, find_copies(items), ours) == {7: 1, 8: 5}
