"""Opens a bundle, after checking that it is what was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
from safetensors import SafetensorError
from safetensors.numpy import load_file

from headstart._fingerprint import sha256_file
from headstart._records import from_json
from headstart.adaptation.predictor import Predictor
from headstart.backbones import Local
from headstart.backbones.resolve import open_verified
from headstart.bundles.manifest import HEAD, MANIFEST, SCHEMA, Manifest
from headstart.errors import BundleError


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model that can be shipped.

    Attributes:
        folder: Where it lies.
        manifest: What it is.
        predictor: Its head.
        backbones: By name.
    """

    folder: Path
    manifest: Manifest
    predictor: Predictor
    backbones: dict[str, Local]


class _Header(msgspec.Struct):
    schema: str = ""


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle, or the bundle of a run, and check the sha256 of every file.

    Args:
        path: The folder of a bundle or of a run.

    Raises:
        BundleError: If there is none, a file is missing or was changed, or its schema is from a newer version.
    """
    given = Path(path)
    folder = given / "bundle" if (given / "bundle" / MANIFEST).exists() else given
    if not (folder / MANIFEST).exists():
        what = "is no folder" if not given.is_dir() else f"has no {MANIFEST}"
        raise BundleError(
            f"{str(path)!r} is no bundle and no run: it {what}",
            hint="Give the folder that `headstart fit` wrote, or the bundle in it.",
        )
    manifest = _read_manifest(folder)
    _check_files(folder, manifest)
    try:
        head = load_file(folder / HEAD)
        predictor = Predictor(manifest.classes, manifest.parts, head["weight"], head["bias"], manifest.temperature)
    except (OSError, KeyError, SafetensorError) as error:
        raise BundleError(f"the head of {str(folder)!r} cannot be read: {error}", hint=_AGAIN) from error
    backbones = {name: open_verified(folder / place) for name, place in manifest.backbones.items()}
    return Bundle(folder, manifest, predictor, backbones)


_AGAIN = "Copy the bundle again, or fit again."


def _read_manifest(folder: Path) -> Manifest:
    try:
        text = (folder / MANIFEST).read_bytes()
        schema = from_json(text, _Header).schema
        if schema == SCHEMA:
            return from_json(text, Manifest)
    except (OSError, ValueError) as error:
        raise BundleError(f"the manifest of {str(folder)!r} cannot be read: {error}", hint=_AGAIN) from error
    raise BundleError(
        f"the bundle {str(folder)!r} has the schema {schema!r}, and this version of headstart knows {SCHEMA!r}",
        hint="Update headstart: pip install --upgrade headstart",
    )


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        file = folder / name
        # A manifest is data from elsewhere: it must not name files outside of its folder.
        if not file.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"the bundle {str(folder)!r} names a file outside of itself: {name!r}", hint=_AGAIN)
        if not file.is_file():
            raise BundleError(f"the bundle {str(folder)!r} lacks the file {name!r}", hint=_AGAIN)
        if sha256_file(file) != expected:
            raise BundleError(
                f"the file {name!r} of the bundle {str(folder)!r} is not the one that was written "
                f"(sha256 must begin with {expected[:12]})",
                hint=_AGAIN,
            )
    needed = {HEAD, *(f"{place}/spec.json" for place in manifest.backbones.values())}
    if not needed <= set(manifest.files):
        raise BundleError(f"the manifest of {str(folder)!r} does not cover {sorted(needed - set(manifest.files))}")
