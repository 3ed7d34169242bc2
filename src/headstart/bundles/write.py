"""Writes a bundle: a folder with all that prediction needs, and nothing that runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from headstart._fingerprint import sha256_file
from headstart._records import to_json
from headstart.adaptation.predictor import Predictor
from headstart.backbones import Local
from headstart.bundles.manifest import BACKBONES, CARD, HEAD, MANIFEST, Manifest
from headstart.errors import OutputError


def write_bundle(
    folder: Path, predictor: Predictor, backbones: Mapping[str, Local], *, manifest: Manifest, card: str
) -> Path:
    """Write a bundle; the manifest comes last, so a folder without one is not a bundle.

    Args:
        folder: Where; it is made.
        predictor: The head.
        backbones: By name, at least those that the predictor needs.
        manifest: What to say; `backbones` and `files` are filled in here.
        card: The model card, in Markdown.

    Returns:
        The folder.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {
                "weight": np.ascontiguousarray(predictor.weight, dtype=np.float32),
                "bias": np.ascontiguousarray(predictor.bias, dtype=np.float32),
            },
            folder / HEAD,
        )
        (folder / CARD).write_text(card, encoding="utf-8")
        files = {name: sha256_file(folder / name) for name in (HEAD, CARD)}
        places: dict[str, str] = {}
        for number, name in enumerate(predictor.backbones):
            place = f"{BACKBONES}/{number}"
            files |= _copy_backbone(backbones[name], folder, place)
            places[name] = place
        complete = replace(manifest, backbones=places, files=files)
        (folder / MANIFEST).write_text(to_json(complete), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the bundle cannot be written to {str(folder)!r}: {error.strerror or error}",
            hint="Free some space or choose another --out; the features that were computed are kept.",
        ) from error
    return folder


def _copy_backbone(local: Local, folder: Path, place: str) -> dict[str, str]:
    """Copy the files of a backbone; a hard link where the disk allows it costs neither time nor space."""
    target = folder / place
    target.mkdir(parents=True, exist_ok=True)
    for name in ("spec.json", *local.sha256):
        _link_or_copy(local.folder / name, target / name)
    hashes = {f"{place}/{name}": digest for name, digest in local.sha256.items()}
    return {**hashes, f"{place}/spec.json": sha256_file(target / "spec.json")}


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
