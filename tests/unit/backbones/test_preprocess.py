"""Images to the squares that networks see. Equality with timm's pixels: tests/parity/test_preprocess.py."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headstart.backbones.preprocess import decoded_px, prepare_image, resized_px
from headstart.backbones.spec import ImageInput

INPUT = ImageInput(64, 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (3, 60_000), (60_000, 2), (64, 64), (73, 73), (500, 375)])
def test_any_shape_becomes_a_square_of_bytes(size: tuple[int, int]) -> None:
    picture = prepare_image(Image.new("RGB", size, (10, 20, 30)), INPUT)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert (picture == (10, 20, 30)).all()


def test_the_middle_is_kept_of_a_line() -> None:
    strip = np.zeros((2, 40_000, 3), dtype=np.uint8)
    strip[:, 19_990:20_010] = 255
    assert prepare_image(Image.fromarray(strip), INPUT).min() == 255


def test_squash_sees_all_of_the_picture() -> None:
    pixels = np.zeros((40, 200, 3), dtype=np.uint8)
    pixels[:, :20] = 255
    squash = ImageInput(64, 1.0, "bilinear", (0, 0, 0), (1, 1, 1), crop_mode="squash")
    centre = ImageInput(64, 1.0, "bilinear", (0, 0, 0), (1, 1, 1))
    assert prepare_image(Image.fromarray(pixels), squash).max() == 255
    assert prepare_image(Image.fromarray(pixels), centre).max() == 0


def test_one_decoding_serves_all_usual_sizes() -> None:
    sizes = [(224, 0.875), (240, 0.882), (260, 0.89), (16, 1.0), (288, 0.9)]
    assert {decoded_px(ImageInput(px, crop, "bicubic", (0, 0, 0), (1, 1, 1))) for px, crop in sizes} == {320}
    large = ImageInput(384, 1.0, "bicubic", (0, 0, 0), (1, 1, 1))
    assert decoded_px(large) == resized_px(large) == 384
