"""The preprocessing that belongs to weights for images: the same function at extraction and at prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from headstart.backbones.spec import ImageInput

if TYPE_CHECKING:
    from PIL.Image import Image

RULES = 2
"""Part of the identity of features: goes up when the same file and the same `ImageInput` give other pixels."""

_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}  # the values of PIL.Image.Resampling
_MAX_ASPECT = 16
_USUAL_DECODED_PX = 320
_LEAST_AREA = 0.5
_LOG_ASPECT = math.log(4 / 3)


def prepare_image(image: Image, wanted: ImageInput) -> UInt8[np.ndarray, "height width 3"]:
    """Resize, then crop the centre, as timm's and torchvision's evaluation transforms do.

    Normalisation is left to the backbone, which does it on its own device; until then a pixel costs one byte.

    Args:
        image: An RGB image. Of one that is more than 16 times as long as wide only the middle is looked at.
        wanted: The preprocessing of the backbone.

    Returns:
        A square of `wanted.size_px` pixels a side.
    """
    size = wanted.size_px
    image = _without_far_ends(image)
    target = _target(image.size, wanted)
    if target != image.size:
        image = image.resize(target, _RESAMPLING[wanted.interpolation])
    halved = math.floor if wanted.crop_mode == "center-down" else round
    left, top = halved((target[0] - size) / 2.0), halved((target[1] - size) / 2.0)
    return np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)


def augment_image(image: Image, wanted: ImageInput, random: np.random.Generator) -> UInt8[np.ndarray, "height width 3"]:
    """A random crop, mirrored in half of the cases: what else the same thing could look like.

    Args:
        image: As for `prepare_image`.
        wanted: The preprocessing of the backbone.
        random: Decides; the same state gives the same picture.

    Returns:
        A square of `wanted.size_px` pixels a side, with at least half of the picture's area where the shape allows it.
    """
    image = _without_far_ends(image)
    share, aspect, x, y = random.uniform((_LEAST_AREA, -_LOG_ASPECT, 0, 0), (1, _LOG_ASPECT, 1, 1))
    area = share * image.width * image.height
    width = min(image.width, math.sqrt(area * math.exp(aspect)))
    height = min(image.height, math.sqrt(area / math.exp(aspect)))
    left, top = x * (image.width - width), y * (image.height - height)
    size = (wanted.size_px, wanted.size_px)
    crop = image.resize(size, _RESAMPLING[wanted.interpolation], box=(left, top, left + width, top + height))
    pixels = np.asarray(crop, dtype=np.uint8)
    return np.ascontiguousarray(pixels[:, ::-1]) if random.random() < 0.5 else pixels


def resized_px(wanted: ImageInput) -> int:
    """Length in pixels of the shorter side after resizing."""
    return int(wanted.size_px / wanted.crop)


def decoded_px(wanted: ImageInput) -> int:
    """What the shorter side of a decoded image must be good for, in pixels.

    A decoder may shrink a large JPEG by this number, and then the pixels depend on it. It is one number for all usual
    sizes, so that one decoding serves several backbones, and the company in which a backbone is computed does not
    change its features.
    """
    return max(_USUAL_DECODED_PX, resized_px(wanted))


def _target(size: tuple[int, int], wanted: ImageInput) -> tuple[int, int]:
    shorter = resized_px(wanted)
    if wanted.crop_mode == "squash":
        return shorter, shorter
    width, height = size
    # torchvision.transforms.functional.resize truncates the longer side; equal results need the same rule.
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def _without_far_ends(image: Image) -> Image:
    """A line of 2 × 60,000 pixels would need gigabytes once its shorter side is enlarged, for ends that are cut off."""
    width, height = image.size
    longest = _MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    keep_width, keep_height = min(width, longest), min(height, longest)
    left, top = (width - keep_width) // 2, (height - keep_height) // 2
    return image.crop((left, top, left + keep_width, top + keep_height))
