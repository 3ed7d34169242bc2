"""Names that may mean the same are found, and names that are meant to differ are left alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from headstart.auditing._names import variants
from headstart.auditing._words import edits


@pytest.mark.parametrize(
    "names",
    [
        ("Dog", "dog ", "dogs", "dog-s", "DOG"),
        ("hot_dog", "hot dog", "hotdog", "Hot-Dogs"),
        ("box", "boxes"),
        ("lady", "ladies"),
        ("leaf", "leaves"),
        ("knife", "knives"),
        ("woman", "women"),
        ("longsleeve", "longsleve"),
        ("airplane", "airpalne"),
        ("red airplane", "red_airplanne"),
        ("class_1", "class 1", "Class1"),
        ("caf\u00e9s", "cafe\u0301s"),  # composed and decomposed
        ("straße", "STRASSE"),
    ],
)
def test_variants_are_found(names: tuple[str, ...]) -> None:
    assert variants(["zebra", *names, "house"]) == [names]


@pytest.mark.parametrize(
    "names",
    [
        ("class1", "class2", "class11"),
        ("type A", "type B", "type AB"),
        ("positive", "negative"),
        ("1", "2", "12", "1 2", "1-2", "21"),
        ("A+", "A-", "A", "-1", "+1"),
        ("C", "C++", "C#"),
        ("typical", "atypical"),
        ("Gambia", "Zambia"),
        ("cat", "bat", "cab", "cart"),
        ("stage II", "stage III", "stage I"),
        ("left eye", "right eye"),
        ("t-shirt", "shirt"),
        ("pants", "plants"),
        ("a", "as"),
        ("90", "90s"),
        ("model v10", "model v11"),
        ("", " x", "y"),
    ],
)
def test_names_that_are_meant_to_differ_are_left_alone(names: tuple[str, ...]) -> None:
    assert variants(names) == []


def test_groups_are_apart_and_in_order() -> None:
    assert variants(["cats", "dog", "cat", "dogs", "Dog"]) == [("cats", "cat"), ("dog", "dogs", "Dog")]


def test_common_labels_raise_no_alarm() -> None:
    classes = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
        "apple",
        "orange",
        "pear",
    ]
    topics = ["World", "Sports", "Business", "Sci/Tech"]
    clothes = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]
    moods = [
        "anger",
        "annoyance",
        "anticipation",
        "disappointment",
        "disapproval",
        "approval",
        "embarrassment",
        "excitement",
    ]
    assert [variants(each) for each in (classes, topics, clothes, moods)] == [[]] * 4


def test_edits_count_exchanged_neighbours_once_and_stop() -> None:
    assert edits("airplane", "airpalne", most=3) == 1
    assert edits("same", "same", most=1) == 0
    assert edits("kitten", "sitting", most=1) == 2


def test_mistyped_names_are_those_of_a_comparison_of_all_with_all() -> None:
    random = np.random.default_rng(0)
    names = sorted({"".join(random.choice(list("abcd"), size=random.integers(5, 9))) for _ in range(150)})
    pairs = {
        (first, second)
        for first, second in combinations(names, 2)
        if min(len(first), len(second)) >= 6 and first[0] == second[0] and edits(first, second, most=1) == 1
    }
    found = {pair for first, second in combinations(names, 2) for pair in variants([first, second])}
    assert found == pairs
    assert found
