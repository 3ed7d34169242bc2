"""The preprocessing that belongs to weights for images: the same function at extraction and at prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from headstart.backbones.spec import ImageInput

if TYPE_CHECKING:
    from PIL.Image import Image

_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}  # the values of PIL.Image.Resampling


def prepare_image(image: Image, wanted: ImageInput) -> UInt8[np.ndarray, "height width 3"]:
    """Resize the shorter side, then crop the centre, as timm's and torchvision's evaluation transforms do.

    Normalisation is left to the backbone, which does it on its own device; until then a pixel costs one byte.

    Args:
        image: An RGB image.
        wanted: The preprocessing of the backbone.

    Returns:
        A square of `wanted.size_px` pixels a side.
    """
    size = wanted.size_px
    shorter = int(size / wanted.crop)
    width, height = image.size
    # torchvision.transforms.functional.resize truncates the longer side; equal results need the same rule.
    if width <= height:
        target = (shorter, max(shorter, int(shorter * height / width)))
    else:
        target = (max(shorter, int(shorter * width / height)), shorter)
    if target != image.size:
        image = image.resize(target, _RESAMPLING[wanted.interpolation])
    left, top = round((target[0] - size) / 2.0), round((target[1] - size) / 2.0)
    return np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)


def resized_px(wanted: ImageInput) -> int:
    """Length in pixels of the shorter side after resizing: what a decoder must deliver at least."""
    return int(wanted.size_px / wanted.crop)
