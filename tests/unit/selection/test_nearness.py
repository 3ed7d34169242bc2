from __future__ import annotations

import re

import numpy as np
import pytest

from headstart.errors import DataError, OptionError
from headstart.selection import nearness as module
from headstart.selection.nearness import REFERENCES, Nearness, Reference, effective_rank, nearness


def around(direction: float, n_items: int = 80, width: int = 16, seed: int = 0) -> np.ndarray:
    """Items that share a direction: the greater, the more alike they are."""
    features = np.random.default_rng(seed).standard_normal((n_items, width))
    features[:, 0] += direction
    return features.astype(np.float32)


def sure(probability: float, n_items: int, n_sources: int) -> np.ndarray:
    """Logits that give one source class this probability, and share the rest among the others."""
    rows = np.full((n_items, n_sources), (1 - probability) / (n_sources - 1))
    rows[np.arange(n_items), np.arange(n_items) % n_sources] = probability
    return np.log(rows) + 5


def test_alike_is_the_mean_cosine_of_all_pairs():
    features = around(1.0, 30)
    cosines = [
        one @ two / np.linalg.norm(one) / np.linalg.norm(two)
        for position, one in enumerate(features)
        for two in features[:position]
    ]
    assert nearness(features).alike == pytest.approx(np.mean(cosines), abs=1e-6)
    assert nearness(np.ones((4, 3), np.float32)).alike == pytest.approx(1)


def test_the_effective_rank_counts_directions():
    # Three directions of equal weight among centred items, and one.
    cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    assert effective_rank(np.pad(cube, ((0, 0), (0, 9)))) == pytest.approx(3)
    assert effective_rank(np.outer(np.arange(5.0), np.ones(4))) == pytest.approx(1)
    singular = np.array([4.0, 2.0, 1.0]) * np.sqrt(8)
    shares = singular / singular.sum()
    assert effective_rank(cube * [4, 2, 1]) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))))
    assert effective_rank(np.ones((5, 3), np.float32)) == pytest.approx(1)


def test_the_rank_is_of_a_hundred_items_so_that_sets_of_any_size_compare():
    features = around(0.0, 800, 300)
    few, many = nearness(features[:100]), nearness(features)
    assert many.effective_rank == pytest.approx(few.effective_rank, rel=0.02)
    assert few.rank_share == few.effective_rank / 99
    assert (few.n_items, many.n_items) == (100, 800)


@pytest.mark.parametrize("probability", [0.3, 0.9, 0.1])
def test_certainty_is_that_of_the_softmax(probability):
    found = nearness(around(0.0), logits=sure(probability, 80, 10))
    rest = (1 - probability) / 9
    entropy = -probability * np.log(probability) - 9 * rest * np.log(rest)
    assert found.entropy_share == pytest.approx(entropy / np.log(10))
    assert found.confidence == pytest.approx(max(probability, rest))


@pytest.mark.parametrize(
    ("probability", "level", "words"),
    [
        (
            0.9,
            "near",
            "look like what the backbone knows: its own classifier is as unsure of an item as between",
        ),
        (0.45, "far", "lie away from what the backbone knows: .*, 65% of the largest entropy; earlier layers"),
        (0.2, "doubtful", "Transfer looks doubtful: .* of its 1,000 classes, .* see whether the controls do as well"),
    ],
)
def test_the_source_classifier_decides_where_there_is_one(probability, level, words):
    # Items all alike would be doubtful by themselves.
    found = nearness(around(30.0), logits=sure(probability, 80, 1000), reference=Reference(0.1))
    assert found.level == level

    assert re.search(words, found.sentence)
    assert found.warning == (found.sentence if level == "doubtful" else "")


def test_else_how_alike_items_look_beside_what_is_usual():
    levels = [nearness(around(direction), reference=Reference(0.13)).level for direction in (0, 3.5, 8)]
    assert levels == ["near", "far", "doubtful"]
    # Where items usually look alike, the same items are nothing special.
    assert nearness(around(8.0), reference=Reference(0.8)).level == "near"
    assert "0.80 is usual" in nearness(around(8.0), reference=Reference(0.8)).sentence


def test_without_anything_to_compare_with_it_is_not_known_and_no_warning():
    found = nearness(around(8.0))
    assert (found.level, found.warning) == ("unknown", "")
    assert "cannot be said: it has no classifier of its own" in found.sentence
    assert (found.entropy_share, found.confidence, found.distance) == (None, None, None)


def test_the_distance_is_that_to_the_fifth_nearest_reference_beside_their_own(monkeypatch):
    reference, features = around(1.0, 40, seed=1), around(1.0, 30, seed=2)

    def fifth(rows, known, own):
        unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, known)]
        return np.median(np.sort(1 - unit[0] @ unit[1].T, axis=1)[:, 4 + own])

    expected = fifth(features, reference, 0) / fifth(reference, reference, 1)
    found = nearness(features, reference=Reference(0.5, reference))
    assert found.distance == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert nearness(features, reference=Reference(0.5, reference)).distance == pytest.approx(expected, rel=1e-5)
    assert found.distance < nearness(-features, reference=Reference(0.5, reference)).distance


def test_scale_and_order_do_not_matter_and_inputs_are_left_alone():
    features, logits = around(2.0), sure(0.5, 80, 7)
    copies = features.copy(), logits.copy()
    order = np.random.default_rng(0).permutation(80)
    first = nearness(features, logits=logits)
    second = nearness(1e-20 * features.astype(np.float64)[order], logits=logits[order] + 3)
    for field in ("alike", "effective_rank", "rank_share", "entropy_share", "confidence"):
        assert getattr(second, field) == pytest.approx(getattr(first, field), rel=1e-5)
    assert second.sentence == first.sentence
    np.testing.assert_array_equal(features, copies[0])
    np.testing.assert_array_equal(logits, copies[1])


def test_references_are_of_backbones_that_exist():
    from headstart.backbones.catalogue import catalogue

    assert REFERENCES
    assert set(REFERENCES) <= set(catalogue())
    assert all(-1 < reference.alike < 1 for reference in REFERENCES.values())


def test_items_without_any_feature_are_no_trouble():
    found = nearness(np.zeros((5, 3), np.float32), reference=Reference(0.1))
    assert isinstance(found, Nearness)
    assert (found.alike, found.effective_rank) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": np.ones((1, 2))}, DataError, r"2 items or more, but the features have the shape \(1, 2\)"),
        ({"logits": np.ones((3, 2))}, OptionError, r"a row for each of the 80 items over 2 source classes .* \(3, 2\)"),
        ({"logits": np.ones((80, 1))}, OptionError, r"2 source classes or more, but they have the shape \(80, 1\)"),
        ({"logits": np.full((80, 2), np.nan)}, DataError, "must be finite numbers, but 160 of them are not"),
        ({"reference": Reference(0.1, np.ones((9, 2)))}, OptionError, r"more than 5 rows of width 16, .* \(9, 2\)"),
        ({"reference": Reference(0.1, np.ones((5, 16)))}, OptionError, r"more than 5 rows of width 16, .* \(5, 16\)"),
    ],
)
def test_nearness_refuses(arguments, error, message):
    given = {"features": around(1.0)} | arguments
    with pytest.raises(error, match=message):
        nearness(given.pop("features"), **given)


@pytest.mark.parametrize(
    ("usual", "level", "words"),
    [
        (0.2, "doubtful", r"65% of the largest entropy, where 20% is usual"),
        (0.5, "far", r"where 50% is usual; earlier layers"),
        (0.6, "near", r"where 60% is usual\.$"),
        (None, "far", r"65% of the largest entropy; earlier layers"),
    ],
)
def test_the_entropy_is_seen_from_what_is_usual_for_the_backbone(usual, level, words):
    found = nearness(around(0.0), logits=sure(0.45, 80, 1000), reference=Reference(0.1, entropy=usual))
    assert found.entropy_share == pytest.approx(0.65, abs=0.005)
    assert (found.level, bool(found.warning)) == (level, level == "doubtful")
    assert re.search(words, found.sentence)


def test_a_set_that_is_usual_is_near_to_every_starter_with_a_reference():
    for reference in REFERENCES.values():
        if reference.entropy is not None:
            assert module._judge(reference.alike, reference.entropy, 1000, reference)[0] == "near"
            assert module._judge(reference.alike, 0.99, 1000, reference)[0] == "doubtful"
