"""The control for images: the picture itself, shrunk to 16 × 16 pixels. No pretrained knowledge at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from headstart.backbones.backbone import Batch
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source

_SIZE_PX = 16

PIXELS = BackboneSpec(
    name="pixels",
    modality="image",
    loader="pixels",
    architecture="pixels16",
    source=Source(origin="builtin", location="headstart", sha256="pixels16"),
    layers=(Layer("last", _SIZE_PX * _SIZE_PX * 3),),
    n_params=0,
    image=ImageInput(_SIZE_PX, 1.0, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
)


@dataclass(frozen=True)
class PixelBackbone:
    """Pixels as features, 0 to 1."""

    spec: BackboneSpec

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """Each picture as one row of 768 values."""
        pixels = np.asarray(batch, dtype=np.float32)
        return pixels.reshape(len(pixels), -1) / np.float32(255.0)


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The one spec that there is."""
    del folder, name, source
    return PIXELS


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """There are no weights."""
    del spec, source_folder, folder


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> PixelBackbone:
    """The pixels, on any device."""
    del folder, device, precision
    return PixelBackbone(spec)
