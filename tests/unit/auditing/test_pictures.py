"""The likeness of pictures: copies are above what calibration allows at most, others below what it allows at least."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from drawn import cropped, drawn, thumbnails
from PIL import Image, ImageOps

from headstart.auditing._pictures import SIDE, are_small, glance, glimpses, likeness, most_alike

COPY, OTHER = 0.97, 0.92

Change = Callable[[Image.Image], Image.Image]
CHANGES: dict[str, Change] = {
    "the same": lambda picture: picture,
    "resized": lambda picture: picture.resize((83, 71)),
    "mirrored": ImageOps.mirror,
    "brighter": lambda picture: picture.point(lambda value: 0.8 * value + 20),
    "cropped": cropped,
    "cropped and mirrored": lambda picture: ImageOps.mirror(cropped(picture, 14, 0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_copies_are_alike_in_both_orders(change: Change) -> None:
    originals = drawn(6)
    pictures = thumbnails([*originals, *map(change, originals)])
    pairs = np.column_stack([np.arange(6), np.arange(6, 12)])
    found = likeness(pictures, pairs)
    assert (found >= COPY).all()
    np.testing.assert_allclose(likeness(pictures, pairs[:, ::-1]), found, atol=1e-5)


def test_other_pictures_are_not_alike() -> None:
    pictures = thumbnails(drawn(24))
    pairs = np.array([(one, other) for one in range(24) for other in range(one)])
    assert (likeness(pictures, pairs) < OTHER).all()


def test_the_same_pair_has_the_same_likeness_among_others() -> None:
    originals = drawn(10)
    pictures = thumbnails([*originals, *map(cropped, originals)])
    pairs = np.array([(one, other) for one in range(20) for other in range(one)])
    together = likeness(pictures, pairs)
    alone = [likeness(pictures, pair[None])[0] for pair in pairs]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_whole_picture_against_itself_is_the_correlation_of_its_details() -> None:
    # By brute force: noise is added at full size, and the window that fits is the whole.
    picture = thumbnails(drawn(1))[0]
    noise = np.random.default_rng(0).normal(0, 0.02, picture.shape).astype(np.float32)
    pair = np.stack([picture, picture + noise])

    def details(values: np.ndarray) -> np.ndarray:
        padded = np.pad(values, 3, mode="edge")
        weights = np.array([1, 6, 15, 20, 15, 6, 1]) / 64
        for axis in (0, 1):
            padded = np.apply_along_axis(lambda line: np.convolve(line, weights, "valid"), axis, padded)
        around = np.pad(padded, 5, mode="edge")
        mean = np.lib.stride_tricks.sliding_window_view(around, (11, 11)).mean(axis=(2, 3))
        return (padded - mean)[4:-4:2, 4:-4:2].ravel()

    wanted = np.corrcoef(details(pair[0]), details(pair[1]))[0, 1]
    # The search may find a window that fits still better.
    assert wanted - 1e-4 <= likeness(pair, np.array([[0, 1]]))[0] <= 1


def test_blank_pictures_are_like_nothing() -> None:
    pictures = np.concatenate([np.full((2, SIDE, SIDE), 0.5, dtype=np.float32), thumbnails(drawn(1))])
    assert likeness(pictures, np.array([[0, 1], [0, 2]])).tolist() == [0, 0]
    assert not glance(pictures)[:2].any()
    assert likeness(pictures, np.empty((0, 2), dtype=np.int64)).shape == (0,)


def test_a_crop_is_seen_at_a_glance() -> None:
    originals = drawn(30)
    pictures = thumbnails([*originals, *(ImageOps.mirror(cropped(each)) for each in originals)])
    rows = glance(pictures)
    best = np.max([view @ rows.T for view in glimpses(pictures)], axis=0)[:30]
    best[np.arange(30), np.arange(30)] = -1
    assert (best.argmax(axis=1) == np.arange(30, 60)).all()


def test_each_picture_keeps_its_best_pairs() -> None:
    originals = drawn(12)
    pictures = thumbnails([*originals, *map(cropped, originals)])
    pairs = np.array([(one, other) for other in range(24) for one in range(other)])
    kept = most_alike(pictures, pairs, 1)
    assert {(row, row + 12) for row in range(12)} <= set(map(tuple, kept.tolist()))
    assert len(kept) <= 24
    assert most_alike(pictures, pairs[:0], 1).shape == (0, 2)


def test_pictures_that_were_enlarged_are_known() -> None:
    pictures = drawn(20)
    assert not are_small(thumbnails(pictures))
    small = [picture.resize((24, 24), Image.Resampling.BOX) for picture in pictures]
    assert are_small(thumbnails([picture.resize((144, 144), Image.Resampling.BILINEAR) for picture in small]))
    assert not are_small(np.zeros((3, SIDE, SIDE), dtype=np.float32))
