"""One library a file: the only place that imports, or stands in for, what runs networks.

Each module has the same three functions. `describe(folder, name, source)` reads a folder in the library's own layout
and returns a spec. `import_weights(spec, source_folder, folder)` writes `model.safetensors` (Keras: `model.keras`) and
what else `load` needs.
`load(spec, folder, device, precision)` returns a backbone.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from headstart.backbones.backbone import Backbone
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, Source

_MODULES = {
    "keras": "keras_images",
    "pixels": "pixels",
    "timm": "timm_images",
    "torchvision": "torchvision_images",
    "transformers": "transformers_networks",
}


_CUT = {"timm": "image", "transformers": "text"}


class Loader(Protocol):
    """What a loader module offers."""

    def describe(self, folder: Path, name: str, source: Source) -> BackboneSpec:
        """The spec of the weights in a folder that has the library's own layout."""

    def import_weights(self, spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
        """Write `model.safetensors` and the other files that `load` needs to `folder`."""

    def load(self, spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> Backbone:
        """The backbone, ready to run."""


def can_be_cut(spec: BackboneSpec) -> bool:
    """Whether networks of this kind are run in two parts, as moving their weights needs; of one a trial tells.

    Args:
        spec: Of the backbone.
    """
    return _CUT.get(spec.loader) == spec.modality


def loader(name: str) -> Loader:
    """The loader of that name; imports its library only now.

    Args:
        name: As in `BackboneSpec.loader`.
    """
    return cast("Loader", importlib.import_module(f"headstart.backbones.loaders.{_MODULES[name]}"))
