"""How alike two small pictures are, whichever of them is a resized, compressed, cropped or mirrored copy of the other.

A copy with a crop shows a window of the other picture. So each picture is enlarged step by step, and every window of
the size of a thumbnail is compared with the other picture and its mirror image, by the normalised correlation of what
is left when the local mean is taken away. Photographs of the same thing from another moment differ in these details
even where their coarse pattern is the same.

Measured with the copies of `benchmarks/audit.py`: resized and recompressed ones have a likeness of 0.99 and more, crops
of 10 % mostly one of 0.97 and more; the most alike others (the same face in another photograph, the same hand, drawings
of guitars) reach 0.94 to 0.97. Pictures of 32 pixels a side that were shrunk, cropped and compressed have 0.78 to 0.97.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from jaxtyping import Float32, Int

SIDE = 48
"""Height and width of the pictures that are compared, in pixels."""

_SMALLEST_WINDOW = 0.8  # of a side: a crop that takes more away is another picture
_NOT_HOPELESS, _PROMISING = 0.75, 0.85  # a likeness below these, at a glance and coarsely, is never that of a copy
_HARDLY_WORSE = 0.05  # at a glance: then either picture may be the one that shows a part of the other
_REACH = 3  # fine pixels and sizes around the coarse optimum that are looked at
_ITEMS_AT_A_TIME, _PAIRS_AT_A_TIME, _MOST_THREADS = 64, 1024, 8
_SAMPLED = 500
_BLANK = 1e-3  # details of less contrast are noise


@dataclass(frozen=True)
class _Scale:
    """How pictures are looked at.

    Attributes:
        side: Height and width in pixels.
        smooth: Weights of neighbouring pixels, against the noise of resampling and compression.
        box: Pixels of a local mean.
        margin: Pixels at the edges of a window that are not compared: the local mean there does not know the outside.
        step: Every how manyth pixel is compared.
    """

    side: int
    smooth: tuple[float, ...]
    box: int
    margin: int
    step: int = 1

    @property
    def largest(self) -> int:
        """Of how many pixels a side a picture is of which the smallest window has the size of a thumbnail."""
        return int(self.side / _SMALLEST_WINDOW)


_BINOMIAL = (0.25, 0.5, 0.25)
_GLIMPSE = _Scale(12, _BINOMIAL, 5, 1)
_GLANCE = _Scale(12, _BINOMIAL, 5, 2)
_COARSE = _Scale(24, _BINOMIAL, 5, 2)
_FINE = _Scale(SIDE, (1 / 64, 6 / 64, 15 / 64, 20 / 64, 15 / 64, 6 / 64, 1 / 64), 11, 4, 2)
"""The details of the coarse scale, but from any place: what is finer than that does not survive small files."""

_GLIMPSED = 13
"""Of how many pixels a side a picture is of whose corners and middle crops of about 10 % are known again."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A square of an enlarged picture.

    Attributes:
        size: Height and width that the whole picture is enlarged to.
        top: First row.
        left: First column.
    """

    size: int
    top: int
    left: int


@dataclass(frozen=True, slots=True)
class _Match:
    """Where a picture looks like a window of another.

    Attributes:
        pair: Which pair it is about.
        whole: The picture that has the window.
        part: The other one.
        window: Of the coarse picture.
        mirrored: Whether the part is mirrored.
        value: The coarse likeness.
    """

    pair: int
    whole: int
    part: int
    window: _Window
    mirrored: bool
    value: float


def are_small(pictures: Float32[np.ndarray, "items side side"]) -> bool:
    """Whether most pictures were enlarged to this size, and so lack its finest details.

    Args:
        pictures: Brightness from 0 to 1, `SIDE` pixels a side.
    """
    some = pictures[:: max(1, len(pictures) // _SAMPLED)]
    levels = [some]
    for weights in (_COARSE.smooth, _FINE.smooth):
        smooth = _along(SIDE, weights).astype(np.float32)
        levels.append(smooth @ some @ smooth.T)
    finest, next_finest = (np.square(one - other).mean(axis=(1, 2)) for one, other in itertools.pairwise(levels))
    known = next_finest > _BLANK**2
    return bool(known.any()) and float(np.median(finest[known] / next_finest[known])) < 1


def glance(pictures: Float32[np.ndarray, "items side side"]) -> Float32[np.ndarray, "items details"]:
    """What is seen of each picture at a glance: unit rows whose inner product is a likeness.

    Args:
        pictures: Brightness from 0 to 1, `SIDE` pixels a side.
    """
    small = _shrunk(pictures, _GLIMPSE)
    return _flat(_inner(_details(small, _GLIMPSE, _GLIMPSE.side), _GLIMPSE))


def glimpses(
    pictures: Float32[np.ndarray, "items side side"], *, of_crops: bool = True
) -> Iterator[Float32[np.ndarray, "items details"]]:
    """What `glance` would see of crops of each picture, and of the mirror images of it and of these.

    Args:
        pictures: Brightness from 0 to 1, `SIDE` pixels a side.
        of_crops: Whether crops are to be seen at all, and not only the whole picture and its mirror image.
    """
    small, side = _shrunk(pictures, _GLIMPSE), _GLIMPSE.side
    whole = _inner(_details(small, _GLIMPSE, side), _GLIMPSE)
    yield _flat(whole)
    yield _flat(whole[:, :, ::-1])
    if not of_crops:
        return
    slack = _GLIMPSED - side
    enlarged = _details(small, _GLIMPSE, _GLIMPSED)
    for top, left in ((0, 0), (0, slack), (slack, 0), (slack, slack)):
        part = _inner(enlarged[:, top : top + side, left : left + side], _GLIMPSE)
        yield _flat(part)
        yield _flat(part[:, :, ::-1])


def most_alike(
    pictures: Float32[np.ndarray, "items side side"], pairs: Int[np.ndarray, "pairs 2"], k: int
) -> Int[np.ndarray, "kept 2"]:
    """Those pairs that are worth to be looked at: at a glance among the k most alike of one of their pictures.

    Args:
        pictures: Brightness from 0 to 1, `SIDE` pixels a side.
        pairs: Positions of two pictures each.
        k: How many pairs of each picture.
    """
    alike = np.maximum(*_both_ways(pictures, pairs))
    rows = np.flatnonzero(alike >= _NOT_HOPELESS)
    items, of_pair = pairs[rows].T.ravel(), np.tile(rows, 2)
    order = np.lexsort((-alike[of_pair], items))
    begins = np.flatnonzero(np.diff(items[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    kept: np.ndarray = pairs[np.unique(of_pair[order[rank < k]])]
    return kept


def likeness(
    pictures: Float32[np.ndarray, "items side side"], pairs: Int[np.ndarray, "pairs 2"]
) -> Float32[np.ndarray, " pairs"]:
    """For each pair how alike its pictures are, at most 1; 0 where they are clearly different or one is blank.

    Args:
        pictures: Brightness from 0 to 1, `SIDE` pixels a side.
        pairs: Positions of two pictures each.
    """
    found = np.zeros(len(pairs), dtype=np.float32)
    if not len(pairs):
        return found
    ways = np.stack(_both_ways(pictures, pairs))
    hopeful = ways >= np.maximum(ways.max(axis=0) - _HARDLY_WORSE, _NOT_HOPELESS)
    best: dict[int, _Match] = {}
    with ThreadPoolExecutor(_n_threads()) as threads:
        for way, ordered in zip(hopeful, (pairs, pairs[:, ::-1]), strict=True):
            rows = np.flatnonzero(way)
            rows = rows[np.argsort(ordered[rows, 0], kind="stable")]  # the windows of a picture are made once
            pieces = np.array_split(rows, _n_threads())
            for matches in threads.map(partial(_all_matches, pictures, ordered), pieces):
                for match in matches:
                    if match.pair not in best or best[match.pair].value < match.value:
                        best[match.pair] = match
        ordered_matches = sorted(best.values(), key=lambda match: match.pair)
        for match, alike in zip(ordered_matches, threads.map(partial(_judge, pictures), ordered_matches), strict=True):
            found[match.pair] = alike
    return found


def _all_matches(pictures: np.ndarray, pairs: np.ndarray, rows: np.ndarray) -> list[_Match]:
    return list(_matches(pictures, rows.tolist(), pairs[rows].tolist()))


def _judge(pictures: np.ndarray, match: _Match) -> float:
    part = pictures[match.part]
    return _closely(pictures[match.whole], part[:, ::-1] if match.mirrored else part, match.window)


def _n_threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)


def _shrunk(pictures: np.ndarray, scale: _Scale) -> np.ndarray:
    mean = _means(scale.side)
    small: np.ndarray = mean @ pictures @ mean.T
    return small


@cache
def _means(side: int) -> np.ndarray:
    """The matrix that shrinks a row of pixels."""
    step = SIDE // side
    return np.repeat(np.eye(side, dtype=np.float32) / step, step, axis=1)


def _both_ways(
    pictures: np.ndarray, pairs: np.ndarray
) -> tuple[Float32[np.ndarray, " pairs"], Float32[np.ndarray, " pairs"]]:
    """How alike some window of the first of each pair is to the second, and some window of the second to the first."""
    with ThreadPoolExecutor(2) as threads:
        there, back = threads.map(partial(_at_a_glance, pictures), (pairs, pairs[:, ::-1]))
    return there, back


def _at_a_glance(pictures: np.ndarray, pairs: np.ndarray) -> Float32[np.ndarray, " pairs"]:
    """How alike some window of the first picture of each pair is to the second, where that costs little."""
    if not len(pairs):
        return np.zeros(0, dtype=np.float32)
    used, inverse = np.unique(pairs[:, 1], return_inverse=True)
    parts = np.concatenate(
        [_parts(pictures[some], _GLANCE) for some in np.array_split(used, len(used) // _PAIRS_AT_A_TIME + 1)]
    )
    found = np.empty(len(pairs), dtype=np.float32)
    order = np.argsort(pairs[:, 0], kind="stable")
    for rows in np.array_split(order, len(order) // _PAIRS_AT_A_TIME + 1):
        wholes, whole = np.unique(pairs[rows, 0], return_inverse=True)
        views = _all_windows(pictures[wholes], _GLANCE)
        found[rows] = (views[whole] @ parts[inverse[rows]].transpose(0, 2, 1)).max(axis=(1, 2))
    return found


def _parts(pictures: np.ndarray, scale: _Scale) -> np.ndarray:
    """Each picture and its mirror image, as unit rows to compare windows with."""
    inner = _inner(_details(_shrunk(pictures, scale), scale, scale.side), scale)
    return _unit(np.stack([inner, inner[:, :, ::-1]], axis=1).reshape(len(pictures), 2, -1))


def _matches(pictures: np.ndarray, numbers: list[int], pairs: list[list[int]]) -> Iterator[_Match]:
    """Of each pair the window of the first that is most like the second at the coarse size, where that is promising."""
    windows = _windows(_COARSE)
    members: dict[int, list[tuple[int, int]]] = {}
    for pair, (whole, part) in zip(numbers, pairs, strict=True):
        members.setdefault(whole, []).append((pair, part))
    wholes = list(members)
    for start in range(0, len(wholes), _ITEMS_AT_A_TIME):
        chunk = wholes[start : start + _ITEMS_AT_A_TIME]
        asked = sorted({part for whole in chunk for _, part in members[whole]})
        place_of, parts = {part: place for place, part in enumerate(asked)}, _parts(pictures[asked], _COARSE)
        for whole, views in zip(chunk, _all_windows(pictures[chunk], _COARSE), strict=True):
            rows = [place_of[part] for _, part in members[whole]]
            match = np.concatenate([views @ parts[rows, 0].T, views @ parts[rows, 1].T])
            places, values = match.argmax(axis=0), match.max(axis=0)
            for (pair, part), place, value in zip(members[whole], places.tolist(), values.tolist(), strict=True):
                if value >= _PROMISING:
                    mirrored, window = divmod(place, len(windows))
                    yield _Match(pair, whole, part, windows[window], bool(mirrored), value)


def _closely(whole: np.ndarray, part: np.ndarray, near: _Window) -> float:
    """The likeness at full size, around the window that was best at the coarse one."""
    ratio = SIDE // _COARSE.side
    wanted = _unit(_inner(_details(part[None], _FINE, SIDE), _FINE).reshape(1, -1))[0]
    best = 0.0
    for size in range(ratio * near.size - _REACH, ratio * near.size + _REACH + 1):
        if not SIDE <= size <= _FINE.largest:
            continue
        details = _details(whole[None], _FINE, size)[0]
        tops, lefts = (_around(ratio * place, size - SIDE) for place in (near.top, near.left))
        views = np.lib.stride_tricks.sliding_window_view(details, (SIDE, SIDE))[
            tops[0] : tops[-1] + 1, lefts[0] : lefts[-1] + 1
        ]
        best = max(best, float((_unit(_inner(views, _FINE).reshape(len(tops) * len(lefts), -1)) @ wanted).max()))
    return best


def _around(place: int, slack: int) -> range:
    return range(min(max(place - _REACH, 0), slack), min(place + _REACH, slack) + 1)


@cache
def _windows(scale: _Scale) -> tuple[_Window, ...]:
    """Of a picture at this scale, in the order of `_all_windows`."""
    return tuple(
        _Window(size, top, left)
        for size in range(scale.side, scale.largest + 1)
        for top in range(size - scale.side + 1)
        for left in range(size - scale.side + 1)
    )


def _all_windows(pictures: np.ndarray, scale: _Scale) -> np.ndarray:
    """Of each picture all windows, as unit rows."""
    parts, small, side = [], _shrunk(pictures, scale), scale.side
    for size in range(side, scale.largest + 1):
        details = _details(small, scale, size)
        views = _inner(np.lib.stride_tricks.sliding_window_view(details, (side, side), axis=(1, 2)), scale)
        parts.append(views.reshape(len(small), (size - side + 1) ** 2, -1))
    return _unit(np.concatenate(parts, axis=1))


def _inner(views: np.ndarray, scale: _Scale) -> np.ndarray:
    inside = slice(scale.margin, -scale.margin, scale.step)
    return views[..., inside, inside]


def _flat(views: np.ndarray) -> Float32[np.ndarray, "items details"]:
    return _unit(views.reshape(len(views), -1))


def _details(pictures: np.ndarray, scale: _Scale, size: int) -> np.ndarray:
    """Pictures enlarged to a height and width and slightly smoothed, less their local mean."""
    smooth, mean = _operators(scale, size)
    details: np.ndarray = smooth @ pictures @ smooth.T - mean @ pictures @ mean.T
    return details


@cache
def _operators(scale: _Scale, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that enlarge and smooth a row of pixels, and that take the local mean of the result.

    At the edges the last pixel is repeated outwards.
    """
    side = scale.side
    place = np.clip((np.arange(size) + 0.5) / size * side - 0.5, 0, side - 1)
    before = np.minimum(place.astype(int), side - 2)
    enlarge = np.zeros((size, side))
    enlarge[np.arange(size), before] = 1 - (place - before)
    enlarge[np.arange(size), before + 1] = place - before
    smooth = _along(size, scale.smooth) @ enlarge
    return smooth.astype(np.float32), (_along(size, (1 / scale.box,) * scale.box) @ smooth).astype(np.float32)


def _along(size: int, weights: tuple[float, ...]) -> np.ndarray:
    matrix = np.zeros((size, size))
    for shift, weight in enumerate(weights, start=-(len(weights) // 2)):
        np.add.at(matrix, (np.arange(size), np.clip(np.arange(size) + shift, 0, size - 1)), weight)
    return matrix


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows without their mean, of length 1; those without details are zero."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    lengths = np.sqrt(np.einsum("...w,...w->...", rows, rows))[..., None]
    unit: np.ndarray = rows * np.where(lengths > _BLANK * rows.shape[-1] ** 0.5, 1 / np.maximum(lengths, _BLANK), 0)
    return unit
