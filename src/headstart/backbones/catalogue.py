"""The backbones that headstart knows by name, read from the TOML files in catalogue_data."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources

import msgspec

from headstart.backbones.spec import BackboneSpec


@functools.cache
def catalogue() -> dict[str, BackboneSpec]:
    """Every catalogued spec by name, in the order of the files (cheapest first within a file)."""
    specs: dict[str, BackboneSpec] = {}
    folder = resources.files("headstart.backbones") / "catalogue_data"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".toml"):
            entries = tomllib.loads(file.read_text(encoding="utf-8"))["backbone"]
            specs |= {spec.name: spec for spec in msgspec.convert(entries, list[BackboneSpec])}
    return specs


def starters(modality: str) -> tuple[BackboneSpec, ...]:
    """The catalogued backbones of a modality whose weights come inside Python packages, cheapest first.

    Args:
        modality: `image` or `text`.
    """
    packaged = [spec for spec in catalogue().values() if spec.modality == modality and spec.source.origin == "package"]
    return tuple(sorted(packaged, key=lambda spec: spec.gflops))
