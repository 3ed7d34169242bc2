"""The control for images: no pretrained knowledge."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headstart.backbones.loaders import loader
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local, load
from headstart.backbones.spec import Source


def test_features_are_the_pixels_from_0_to_1_row_by_row(tmp_path: Path) -> None:
    picture = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    picture[0, 0, 1] = (255, 51, 0)
    features = load(Local(PIXELS, tmp_path, {}), precision="bfloat16").forward(picture)
    assert features.dtype == np.float32
    assert features.shape == (1, 768)
    np.testing.assert_allclose(features[0, :6], [0, 0, 0, 1, 0.2, 0], atol=1e-7)


def test_there_is_one_spec_and_nothing_to_import(tmp_path: Path) -> None:
    pixels = loader("pixels")
    assert pixels.describe(tmp_path, "any", Source("folder", "x")) is PIXELS
    pixels.import_weights(PIXELS, tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []
