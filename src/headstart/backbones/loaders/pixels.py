"""What needs no pretrained knowledge: the picture itself, shrunk. Of 16 × 16 pixels it is the control for images."""

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

_THUMBNAIL_PX = 48

THUMBNAIL = BackboneSpec(
    name="thumbnail",
    modality="image",
    loader="pixels",
    architecture="brightness48",
    source=Source(origin="builtin", location="headstart", sha256="brightness48"),
    layers=(Layer("last", _THUMBNAIL_PX * _THUMBNAIL_PX),),
    n_params=0,
    image=ImageInput(_THUMBNAIL_PX, 1.0, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "squash"),
)
"""The brightness of the whole picture, squeezed into a square: what near-copies are told by."""

_BRIGHTNESS = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class PixelBackbone:
    """Pixels as features, 0 to 1; of a thumbnail their brightness."""

    spec: BackboneSpec

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """Each picture as one row, of 768 values or of 2,304."""
        pixels = np.asarray(batch, dtype=np.float32)
        if self.spec.width == THUMBNAIL.width:
            pixels = pixels @ _BRIGHTNESS
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
