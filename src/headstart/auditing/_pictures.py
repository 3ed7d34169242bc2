"""How alike two small pictures are, whichever of them is a resized, compressed, cropped or mirrored copy of the other.

A copy with a crop shows a window of the other picture. So each picture is enlarged step by step, and every window of
the size of a thumbnail is compared with the other picture and its mirror image, by the normalised correlation of what
is left when the local mean is taken away. Photographs of the same thing from another moment differ in these details
even where their coarse pattern is the same.

Measured with the copies of `benchmarks/audit.py`: resized and recompressed ones have a likeness of 0.99 and more, crops
of 10 % one of 0.92 and more; the most alike others (the same face in another photograph, the same hand, drawings of
guitars) stay below that, most of them below 0.85.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32, Int

SIDE = 48
"""Height and width of the pictures that are compared, in pixels."""

_GLANCE, _COARSE = 12, 24
_SMALLEST_WINDOW = 0.8  # of a side: a crop that takes more away is another picture
_MARGIN = 2  # pixels at the edges of a window that are not compared: the local mean there knows nothing of the outside
_BOX = 5
_NOT_HOPELESS, _PROMISING = 0.8, 0.85  # a likeness below these, at a glance and coarsely, is never that of a copy
_REACH = 3  # fine pixels and sizes around the coarse optimum that are looked at
_ITEMS_AT_A_TIME, _PAIRS_AT_A_TIME = 64, 1024
_BLANK = 1e-3  # details of less contrast are noise


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
    used, inverse = np.unique(pairs, return_inverse=True)
    shown, within = pictures[used], inverse.reshape(pairs.shape)
    hopeful = np.flatnonzero(_at_a_glance(_shrunk(shown, _GLANCE), within) >= _NOT_HOPELESS)
    best: dict[int, _Match] = {}
    for match in _matches(_shrunk(shown, _COARSE), hopeful.tolist(), within[hopeful].tolist()):
        if match.pair not in best or best[match.pair].value < match.value:
            best[match.pair] = match
    for match in best.values():
        part = shown[match.part]
        found[match.pair] = _closely(shown[match.whole], part[:, ::-1] if match.mirrored else part, match.window)
    return found


def _shrunk(pictures: np.ndarray, side: int) -> np.ndarray:
    step = SIDE // side
    small: np.ndarray = pictures.reshape(len(pictures), side, step, side, step).mean(axis=(2, 4))
    return small


def _at_a_glance(small: np.ndarray, pairs: np.ndarray) -> Float32[np.ndarray, " pairs"]:
    """The likeness of each pair at a size at which all windows of all pictures are a small thing."""
    views, parts = _all_windows(small), _parts(small)
    found = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _PAIRS_AT_A_TIME):
        one, other = pairs[start : start + _PAIRS_AT_A_TIME].T
        there, back = (views[whole] @ parts[part].transpose(0, 2, 1) for whole, part in ((one, other), (other, one)))
        found[start : start + len(one)] = np.maximum(there.max(axis=(1, 2)), back.max(axis=(1, 2)))
    return found


def _parts(small: np.ndarray) -> np.ndarray:
    """Each picture and its mirror image, as unit rows to compare windows with."""
    inner = _inner(_details(small, small.shape[-1]))
    return _unit(np.stack([inner, inner[:, :, ::-1]], axis=1).reshape(len(small), 2, -1))


def _matches(coarse: np.ndarray, numbers: list[int], pairs: list[list[int]]) -> Iterator[_Match]:
    """Of each pair, in both directions, the best window at the coarse size, where that is promising."""
    windows, parts = _windows(_COARSE), _parts(coarse)
    members: dict[int, list[tuple[int, int]]] = {}
    for pair, (one, other) in zip(numbers, pairs, strict=True):
        members.setdefault(one, []).append((pair, other))
        members.setdefault(other, []).append((pair, one))
    order = list(members)
    for start in range(0, len(order), _ITEMS_AT_A_TIME):
        chunk = order[start : start + _ITEMS_AT_A_TIME]
        for item, views in zip(chunk, _all_windows(coarse[chunk]), strict=True):
            others = [other for _, other in members[item]]
            match = np.concatenate([views @ parts[others, 0].T, views @ parts[others, 1].T])
            places, values = match.argmax(axis=0), match.max(axis=0)
            for (pair, other), place, value in zip(members[item], places.tolist(), values.tolist(), strict=True):
                if value >= _PROMISING:
                    mirrored, window = divmod(place, len(windows))
                    yield _Match(pair, item, other, windows[window], bool(mirrored), value)


def _closely(whole: np.ndarray, part: np.ndarray, near: _Window) -> float:
    """The likeness at full size, around the window that was best at the coarse one."""
    scale = SIDE // _COARSE
    wanted = _unit(_inner(_details(part[None], SIDE)).reshape(1, -1))[0]
    best = 0.0
    for size in range(scale * near.size - _REACH, scale * near.size + _REACH + 1):
        if not SIDE <= size <= _largest(SIDE):
            continue
        details = _details(whole[None], size)[0]
        tops, lefts = (_around(scale * place, size - SIDE) for place in (near.top, near.left))
        views = np.lib.stride_tricks.sliding_window_view(details, (SIDE, SIDE))[
            tops[0] : tops[-1] + 1, lefts[0] : lefts[-1] + 1
        ]
        best = max(best, float((_unit(_inner(views).reshape(len(tops) * len(lefts), -1)) @ wanted).max()))
    return best


def _around(place: int, slack: int) -> range:
    return range(min(max(place - _REACH, 0), slack), min(place + _REACH, slack) + 1)


def _largest(side: int) -> int:
    return int(side / _SMALLEST_WINDOW)


@cache
def _windows(side: int) -> tuple[_Window, ...]:
    """Of a picture of this side, in the order of `_all_windows`."""
    return tuple(
        _Window(size, top, left)
        for size in range(side, _largest(side) + 1)
        for top in range(size - side + 1)
        for left in range(size - side + 1)
    )


def _all_windows(small: np.ndarray) -> np.ndarray:
    """Of each picture all windows, as unit rows."""
    parts, side = [], small.shape[-1]
    for size in range(side, _largest(side) + 1):
        details = _details(small, size)
        views = _inner(np.lib.stride_tricks.sliding_window_view(details, (side, side), axis=(1, 2)))
        parts.append(views.reshape(len(small), (size - side + 1) ** 2, -1))
    return _unit(np.concatenate(parts, axis=1))


def _inner(views: np.ndarray) -> np.ndarray:
    return views[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _details(pictures: np.ndarray, size: int) -> np.ndarray:
    """Pictures enlarged to a height and width and slightly smoothed, less their local mean."""
    smooth, mean = _operators(pictures.shape[-1], size)
    details: np.ndarray = smooth @ pictures @ smooth.T - mean @ pictures @ mean.T
    return details


@cache
def _operators(side: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that enlarge and smooth a row of pixels, and that take the local mean of the result.

    Smoothing is against the noise of resampling and compression; at the edges the last pixel is repeated outwards.
    """
    place = np.clip((np.arange(size) + 0.5) / size * side - 0.5, 0, side - 1)
    before = np.minimum(place.astype(int), side - 2)
    enlarge = np.zeros((size, side))
    enlarge[np.arange(size), before] = 1 - (place - before)
    enlarge[np.arange(size), before + 1] = place - before
    smooth = _along(size, (0.25, 0.5, 0.25)) @ enlarge
    return smooth.astype(np.float32), (_along(size, (1 / _BOX,) * _BOX) @ smooth).astype(np.float32)


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
