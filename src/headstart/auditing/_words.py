"""How alike two texts are word by word, and which texts share many pairs of neighbouring words.

The only module that knows rapidfuzz.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Int
from rapidfuzz.distance import OSA, Levenshtein

from headstart._randomness import generator

_WORD = re.compile(r"\w+")
_FEWEST_WORDS = 6
_PRIME = (1 << 31) - 1
_BANDS, _ROWS = 20, 3
"""Texts that share half of their pairs of words meet in a band with a chance of 93 %, a tenth of them with 2 %."""
_MOST_IN_A_BUCKET = 20
_MIXED = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64
)  # odd, and mix bits well
_CHUNK = 2_000


def words_of(text: str) -> list[str]:
    """The words of a text without case and punctuation.

    Args:
        text: The text.
    """
    # One string for each word of the language, and not for each place where it stands.
    return [sys.intern(word) for word in _WORD.findall(text.casefold())]


def edits(first: str, second: str, *, most: int) -> int:
    """Letters to insert, delete, replace or exchange with a neighbour (optimal string alignment distance).

    Args:
        first: One text.
        second: The other text.
        most: Where there are more, one more than this is the answer, which is faster.
    """
    return int(OSA.distance(first, second, score_cutoff=most))


def same_words(words: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    """Pairs of texts that have the same words in the same order: each text with the first one that is like it.

    Args:
        words: Of each text, as from `words_of`; texts without words are like no other.
    """
    first: dict[tuple[str, ...], int] = {}
    for row, own in enumerate(words):
        other = first.setdefault(tuple(own), row) if own else row
        if other != row:
            yield other, row


def likeness(words: Sequence[Sequence[str]], pairs: Int[np.ndarray, "pairs 2"]) -> Float32[np.ndarray, " pairs"]:
    """For each pair the share of words that stay when one text is edited into the other, 0 to 1.

    It is 1 − d / n with d Levenshtein's distance in words and n the words of the longer text. Texts of fewer than six
    words are either the same, 1, or different, 0: two words changed leave nothing of them.

    Args:
        words: Of each text, as from `words_of`.
        pairs: Positions of two texts each.
    """
    found = np.zeros(len(pairs), dtype=np.float32)
    for place, (one, other) in enumerate(pairs.tolist()):
        first, second = words[one], words[other]
        if first == second:
            found[place] = float(bool(first))
        elif max(len(first), len(second)) >= _FEWEST_WORDS:
            found[place] = Levenshtein.normalized_similarity(first, second, score_cutoff=0.5)
    return found


def shared_pairs(words: Sequence[Sequence[str]]) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of texts that probably share many of their pairs of neighbouring words.

    By MinHash signatures and locality-sensitive hashing (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive
    Datasets, §3.4), in memory that grows with the number of texts alone.

    Args:
        words: Of each text, as from `words_of`.
    """
    signatures = _signatures(words)
    found = np.empty(0, dtype=np.int64)
    for band in range(_BANDS):
        part = signatures[:, band * _ROWS : (band + 1) * _ROWS].astype(np.uint64)
        rows = np.flatnonzero(part[:, 0] < _PRIME)
        # Two different parts that give one number would be a pair too many to look at, and no harm.
        found = np.union1d(found, _in_buckets(rows, part[rows] @ _MIXED, len(words)))
    return np.column_stack(np.divmod(found, max(1, len(words)))).astype(np.int64)


def _in_buckets(
    rows: Int[np.ndarray, " rows"], buckets: Int[np.ndarray, " rows"], n_texts: int
) -> Int[np.ndarray, " pairs"]:
    """Pairs of rows in one bucket, each as one number: the first times the number of texts, plus the second."""
    order = np.argsort(buckets, kind="stable")
    rows, buckets = rows[order], buckets[order]
    sizes = np.unique(buckets, return_inverse=True, return_counts=True)[1:]
    # A template that many texts share would give all pairs of them; neighbours in the list are enough.
    small = sizes[1][sizes[0]] <= _MOST_IN_A_BUCKET
    found = []
    for step in range(1, _MOST_IN_A_BUCKET):
        same = buckets[step:] == buckets[:-step]
        if not same.any():
            break
        firsts = np.flatnonzero(same if step == 1 else same & small[:-step])
        found.append(rows[firsts] * n_texts + rows[firsts + step])
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _signatures(words: Sequence[Sequence[str]]) -> Int[np.ndarray, "texts hashes"]:
    """The least of each of 60 hashes over a text's pairs of words; texts of one word or none have no pairs."""
    rng = generator(0, "minhash")
    factors = rng.integers(1, _PRIME, size=_BANDS * _ROWS, dtype=np.uint64)[:, None]
    shifts = rng.integers(0, _PRIME, size=_BANDS * _ROWS, dtype=np.uint64)[:, None]
    signatures = np.full((len(words), _BANDS * _ROWS), _PRIME, dtype=np.uint32)
    for start in range(0, len(words), _CHUNK):
        rows = [row for row in range(start, min(start + _CHUNK, len(words))) if len(words[row]) > 1]
        if not rows:
            continue
        codes = [_codes(words[row]) for row in rows]
        begins = np.cumsum([0, *(len(code) for code in codes[:-1])])
        hashed = (factors * np.concatenate(codes)[None, :] + shifts) % _PRIME
        signatures[rows] = np.minimum.reduceat(hashed, begins, axis=1).T
    return signatures


def _codes(words: Sequence[str]) -> Int[np.ndarray, " pairs"]:
    single = np.array([_code(word) for word in words], dtype=np.uint64)
    pairs: np.ndarray = (single[:-1] * np.uint64(31_337) + single[1:]) % np.uint64(_PRIME)
    return pairs


@lru_cache(maxsize=200_000)
def _code(word: str) -> int:
    # Not hash(): that one differs from run to run.
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))
