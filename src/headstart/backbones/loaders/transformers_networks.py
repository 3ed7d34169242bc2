"""Runs what transformers' AutoModel knows: which of the two kinds a folder holds, its configuration says.

transformers takes seconds to import. Where it is not needed, for the most common kind of network, it is not imported.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

from headstart.backbones.backbone import Backbone
from headstart.backbones.fresh import Fresh
from headstart.backbones.loaders import Loader
from headstart.backbones.loaders._bert import open_bert, write_bert
from headstart.backbones.loaders._texts import cut_text, open_text
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, Source
from headstart.backbones.stages import Cut


class _Kind(Loader, Protocol):
    """What there is for texts and for images."""

    def fresh(self, spec: BackboneSpec, folder: Path, device: str) -> Fresh:
        """The network with random weights."""


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a folder in the hub's layout; of an image–text model, that of its image tower.

    Raises:
        BackboneError: If transformers does not know the architecture, or a file that it needs is missing.
    """
    from headstart.backbones.loaders._transformers import read_config, sees_images

    return _kind(is_image=sees_images(read_config(folder, name))).describe(folder, name, source)


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Write configuration, weights and, for texts, the tokenizer."""
    _kind(is_image=spec.image is not None).import_weights(spec, source_folder, folder)


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> Backbone:
    """The network with the weights of `import_weights`."""
    if spec.image is None and (network := open_bert(folder, spec.name)) is not None:
        return open_text(spec, folder, network, device, precision)
    return _kind(is_image=spec.image is not None).load(spec, folder, device, precision)


def fresh(spec: BackboneSpec, folder: Path, device: str) -> Fresh:
    """The network with random weights, to be trained."""
    return _kind(is_image=spec.image is not None).fresh(spec, folder, device)


def cut(spec: BackboneSpec, folder: Path, n_stages: int | None, device: str, precision: Precision) -> Cut:
    """The network in two parts; of those for texts, see `can_be_cut`.

    Raises:
        OptionError: If the network has fewer layers.
        BackboneError: As `load`.
    """
    if (network := open_bert(folder, spec.name)) is not None:
        write = partial(write_bert, network, folder, name=spec.name)
        return cut_text(spec, folder, network, n_stages, device, precision, write=write)
    from headstart.backbones.loaders import transformers_texts

    return transformers_texts.cut(spec, folder, n_stages, device, precision)


def _kind(*, is_image: bool) -> _Kind:
    from headstart.backbones.loaders import transformers_images, transformers_texts

    return transformers_images if is_image else transformers_texts
