"""Runs what transformers' AutoModel knows: which of the two kinds a folder holds, its configuration says."""

from __future__ import annotations

from pathlib import Path

from headstart.backbones.backbone import Backbone
from headstart.backbones.fresh import Fresh
from headstart.backbones.loaders import Loader, transformers_images, transformers_texts
from headstart.backbones.loaders._transformers import read_config, sees_images
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, Source
from headstart.backbones.stages import Cut, uncuttable

_TEXTS: Loader = transformers_texts
_IMAGES: Loader = transformers_images


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a folder in the hub's layout; of an image–text model, that of its image tower.

    Raises:
        BackboneError: If transformers does not know the architecture, or a file that it needs is missing.
    """
    kind = _IMAGES if sees_images(read_config(folder, name)) else _TEXTS
    return kind.describe(folder, name, source)


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Write configuration, weights and, for texts, the tokenizer."""
    (_TEXTS if spec.image is None else _IMAGES).import_weights(spec, source_folder, folder)


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> Backbone:
    """The network with the weights of `import_weights`."""
    return (_TEXTS if spec.image is None else _IMAGES).load(spec, folder, device, precision)


def fresh(spec: BackboneSpec, folder: Path, device: str) -> Fresh:
    """The network with random weights, to be trained."""
    make = transformers_texts.fresh if spec.image is None else transformers_images.fresh
    return make(spec, folder, device)


def cut(spec: BackboneSpec, folder: Path, n_stages: int | None, device: str, precision: Precision) -> Cut:
    """The network in two parts; image towers cannot be cut.

    Raises:
        OptionError: If the network has fewer layers.
        BackboneError: If it is an image tower, or as `load`.
    """
    if spec.image is not None:
        raise uncuttable(spec)
    return transformers_texts.cut(spec, folder, n_stages, device, precision)
