"""Names: of classes that may mean the same (in another case, the plural, mistyped), and of items that have none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart.auditing._words import edits

_SEPARATORS = re.compile(r"(?<=[^\W_])(?<!\d)[\s_-]+(?=[^\W_])|(?<=\d)[\s_-]+(?=[^\W\d_])")
"""Between letters and digits; what stands between two digits separates numbers."""
_BREAK = "\0"
_LEAST_TO_MISTYPE = 6
_LEAST_SINGULAR = 3
_PLACE = re.compile(r"(test )?(row|item) \d+( \(\d+\))?")


def is_place(name: str) -> bool:
    """Whether a name says only where an item stands in a table or a list: `row 17`, `item 3` or `test row 17 (2)`.

    Args:
        name: Of an item.
    """
    return _PLACE.fullmatch(name) is not None


def variants(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of names that may mean the same, in the order of the names.

    `Dog`, `dog ` and `dogs` do, and `hot_dog`, `hot dog` and `hotdog`, and `longsleeve` and `longsleve`. Digits, single
    letters, signs such as `+`, and the first letter of a word, which is seldom mistyped, always tell names apart.

    Args:
        names: All different.
    """
    words = [_words(name) for name in names]
    pairs = np.array(list(_pairs(words)), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(names),) * 2)
    members: dict[int, list[str]] = {}
    for name, each in zip(names, connected_components(graph, directed=False)[1].tolist(), strict=True):
        members.setdefault(each, []).append(name)
    return [tuple(same) for same in members.values() if len(same) > 1]


def _words(name: str) -> tuple[str, ...]:
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return tuple(_SEPARATORS.sub(_BREAK, plain).split(_BREAK))


def _pairs(words: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """The positions of two names each that may mean the same."""
    joined = ["".join(each) for each in words]
    known: dict[str, int] = {}
    for place, name in enumerate(joined):
        if name in known:
            yield known[name], place
        known.setdefault(name, place)
    for place, name in enumerate(joined):
        for plural in _plurals(name):
            if plural in known:
                yield known[plural], place
    yield from _mistyped(words)


def _plurals(name: str) -> Iterator[str]:
    """The simple English ones."""
    word = re.search(r"[^\W\d_]+$", name)
    if word is None or len(word[0]) < _LEAST_SINGULAR:
        return
    yield name + "s"
    if name.endswith(("s", "x", "z", "ch", "sh", "o")):
        yield name + "es"
    if name.endswith("y"):
        yield name[:-1] + "ies"
    if name.endswith("f"):
        yield name[:-1] + "ves"
    if name.endswith("fe"):
        yield name[:-2] + "ves"
    if name.endswith("man"):
        yield name[:-3] + "men"


def _mistyped(words: Sequence[tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """Names that differ by one edit in one long word.

    Words that are one edit apart have a common form with at most one letter less, so nobody compares all with all.
    """
    shortened: dict[tuple[tuple[str, ...], int, str], list[tuple[int, str]]] = {}
    for place, each in enumerate(words):
        for number, word in enumerate(each):
            if len(word) < _LEAST_TO_MISTYPE or not word.isalpha():
                continue
            others = (*each[:number], *each[number + 1 :])
            for form in {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}:
                same = shortened.setdefault((others, number, form), [])
                for earlier, known in same:
                    if known[0] == word[0] and known != word and edits(known, word, most=1) == 1:
                        yield earlier, place
                same.append((place, word))
