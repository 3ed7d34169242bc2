"""Small made pictures that have structure, as photographs have, and changed copies of them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from headstart.auditing.copies import PICTURE_SIDE

_SIDE = 144


def drawn(n: int, seed: int = 0) -> list[Image.Image]:
    """Pictures of overlapping rectangles on a gradient."""
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(n):
        slope = random.uniform(-60, 60, 2)
        ramp = np.linspace(-1, 1, _SIDE)
        picture = 128 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :]
        for _ in range(14):
            top, left = random.integers(0, _SIDE - 12, 2)
            height, width = random.integers(10, 60, 2)
            picture[top : top + height, left : left + width] += random.uniform(-70, 70)
        pictures.append(Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)))
    return pictures


def thumbnails(pictures: list[Image.Image]) -> np.ndarray:
    """What `find_copies` is given of pictures."""
    size = (PICTURE_SIDE, PICTURE_SIDE)
    shrunk = [np.asarray(picture.resize(size, Image.Resampling.BOX)) for picture in pictures]
    return np.stack(shrunk).astype(np.float32) / 255


def cropped(picture: Image.Image, top: int = 5, left: int = 9) -> Image.Image:
    """Without a tenth of its height and width."""
    side = round(0.9 * _SIDE)
    return picture.crop((left, top, left + side, top + side))
