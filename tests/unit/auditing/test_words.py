"""The likeness of texts, and which are looked at."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.auditing._words import likeness, same_words, shared_pairs, words_of


def _texts(n: int, length: int, seed: int = 0) -> list[list[str]]:
    random = np.random.default_rng(seed)
    return [[f"w{word}" for word in random.integers(500, size=length)] for _ in range(n)]


def test_case_and_punctuation_are_no_words() -> None:
    assert words_of("Really?! It's — GOOD.") == ["really", "it", "s", "good"]
    assert words_of(" …\n") == []


def test_texts_of_the_same_words_name_the_first_one() -> None:
    words = [["a", "b"], [], ["b", "a"], ["a", "b"], [], ["a", "b"]]
    assert list(same_words(words)) == [(0, 3), (0, 5)]


def _distance(one: list[str], other: list[str]) -> int:
    row = list(range(len(other) + 1))
    for word in one:
        above, row = row, [row[0] + 1]
        for place, against in enumerate(other):
            row.append(min(above[place] + (word != against), above[place + 1] + 1, row[place] + 1))
    return row[-1]


def test_the_likeness_is_the_share_of_words_that_stay() -> None:
    words = _texts(8, 12)
    words += [[*text[:3], "new", *text[4:10]] for text in words]
    pairs = np.array([(row, row + 8) for row in range(8)])
    wanted = [1 - _distance(words[one], words[other]) / 12 for one, other in pairs]
    np.testing.assert_allclose(likeness(words, pairs), wanted, rtol=1e-6)
    np.testing.assert_allclose(likeness(words, pairs[:, ::-1]), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [("very good film", "very bad film", 0.0), ("good film", "good film", 1.0), ("", "", 0.0)],
)
def test_short_texts_are_the_same_or_different(one: str, other: str, wanted: float) -> None:
    assert likeness([one.split(), other.split()], np.array([[0, 1]])).tolist() == [wanted]


def test_texts_with_two_words_changed_share_a_band() -> None:
    words = _texts(400, 20)
    changed = [[*text[:4], "new", *text[5:13], "word", *text[14:]] for text in words[:100]]
    found = set(map(tuple, shared_pairs([*words, *changed]).tolist()))
    assert sum((row, 400 + row) in found for row in range(100)) >= 98
    assert len(found) < 300


def test_a_template_gives_no_more_pairs_than_texts() -> None:
    words = [[*["dear", "customer", "your", "order", "with", "the", "number"], f"n{row}"] for row in range(300)]
    assert 299 <= len(shared_pairs(words)) < 300 * 20


@pytest.mark.parametrize("words", [[], [[]], [["one"], ["one"]], [["\ud800", "x"], ["\ud800", "x"]]])
def test_few_and_strange_words(words: list[list[str]]) -> None:
    found = shared_pairs(words)
    assert found.shape[1] == 2
    assert len(found) == (len(words) == 2 and len(words[0]) == 2)
