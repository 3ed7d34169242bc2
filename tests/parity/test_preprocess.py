"""Our pixels are those of timm's own evaluation transform (timm.data.create_transform), bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headstart.backbones.catalogue import catalogue
from headstart.backbones.preprocess import prepare_image
from headstart.backbones.spec import ImageInput

SIZES = [(640, 480), (375, 500), (501, 333), (333, 501), (257, 257), (256, 256), (224, 224), (31, 17), (7, 90), (1, 1)]
INPUTS = {spec.name: spec.image for spec in catalogue().values() if spec.image is not None} | {
    "bilinear": ImageInput(96, 0.95, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "uncropped": ImageInput(97, 1.0, "bicubic", (0, 0, 0), (1, 1, 1)),
    "squash": ImageInput(96, 0.9, "bicubic", (0, 0, 0), (1, 1, 1), crop_mode="squash"),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("wanted", INPUTS.values(), ids=INPUTS)
def test_pixels_equal_those_of_timm(wanted: ImageInput, size: tuple[int, int]) -> None:
    from timm.data import create_transform

    width, height = size
    random = np.random.default_rng([width, height])
    image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    transform = create_transform(
        (3, wanted.size_px, wanted.size_px),
        interpolation=wanted.interpolation,
        crop_pct=wanted.crop,
        crop_mode=wanted.crop_mode,
        normalize=False,
    )
    theirs = np.asarray(transform(image).permute(1, 2, 0))
    np.testing.assert_array_equal(prepare_image(image, wanted), theirs)
