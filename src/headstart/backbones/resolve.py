"""From the name that a user typed to weights on this disk that are verified, and from there to a running backbone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from headstart._checks import did_you_mean
from headstart._fingerprint import fingerprint, sha256_file
from headstart._records import from_json, to_json
from headstart.backbones.backbone import Backbone
from headstart.backbones.catalogue import catalogue
from headstart.backbones.loaders import loader
from headstart.backbones.locate import HUB_FILES, hub_folder, package_folder
from headstart.backbones.precision import Precision
from headstart.backbones.preprocess import RULES
from headstart.backbones.spec import BackboneSpec, Source
from headstart.errors import BackboneError

SPEC = "spec.json"
WEIGHTS = "model.safetensors"
_NEW_SPEC = ".new-spec-"
_SCRATCH = ".importing-"
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Local:
    """A backbone whose files are on this disk in headstart's own layout, the one that bundles carry too.

    Attributes:
        spec: What it is.
        folder: Holds `spec.json`, `model.safetensors`, for texts `config.json` and `tokenizer.json`, and for images
            `config.json` where the network is built with arguments of its own.
        sha256: Of each file in the folder but `spec.json`.
    """

    spec: BackboneSpec
    folder: Path
    sha256: dict[str, str]


def resolve(name: str, home: Path) -> Local:
    """Find, verify and, where needed, fetch a backbone.

    Args:
        name: A catalogued name, `timm/ARCHITECTURE.TAG`, `hf/OWNER/NAME`, or a local folder in timm's or transformers'
            own layout.
        home: headstart's home; imported weights are kept below it.

    Raises:
        BackboneError: If the name is unknown, the weights are missing, changed or unfit, or the home cannot be written.
        OfflineError: If it would have to be fetched, and there is no network.
    """
    known = catalogue()
    if name in known:
        return _from_package(known[name], home)
    if re.fullmatch(r"timm/[\w.\-]+", name):
        return _from_hub(name, name if "." in name else _default_of_timm(name), "timm", home)
    if re.fullmatch(r"hf/[\w.\-]+(/[\w.\-]+)?", name):
        return _from_hub(name, name.removeprefix("hf/"), "transformers", home)
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises where there is no such user
    if folder.is_dir():
        return _from_folder(folder.resolve(), f"local/{folder.resolve().name}", home)
    raise BackboneError(
        f"no backbone is called {name!r}; a name is one of the catalogue, timm/NAME, hf/OWNER/NAME or a local folder",
        hint=did_you_mean(name, known),
    )


def _default_of_timm(name: str) -> str:
    """`timm/resnet50` stands for timm's default weights of that architecture."""
    from headstart.backbones.loaders.timm_images import hub_repository

    return hub_repository(name.removeprefix("timm/"))


def _from_package(spec: BackboneSpec, home: Path) -> Local:
    folder = _folder_of(spec.name, spec.source.sha256, home)
    if not (folder / SPEC).exists():
        return _import(spec, package_folder(spec.source), folder)
    local = open_local(folder)
    if local.spec != spec:
        # The catalogue has learnt new facts, such as other layers, since the weights were imported.
        with _writing(folder):
            write_local(spec, folder)
        local = replace(local, spec=spec)
    return local


def _from_hub(name: str, repository: str, library: str, home: Path) -> Local:
    folder, commit = hub_folder(repository)
    source = Source(origin="hub", location=repository, revision=commit)
    return _describe_and_import(folder, name, source, library, home)


def _from_folder(folder: Path, name: str, home: Path) -> Local:
    if not (folder / "config.json").exists() or not (folder / WEIGHTS).exists():
        raise BackboneError(
            f"the folder {str(folder)!r} is no backbone: it must hold config.json and {WEIGHTS}",
            hint="Save it with model.save_pretrained(folder), or timm.models.save_for_hf(model, folder).",
        )
    config = (folder / "config.json").read_text(encoding="utf-8", errors="replace")
    library = "timm" if '"architecture"' in config else "transformers"
    return _describe_and_import(folder, name, Source(origin="folder", location=str(folder)), library, home)


def _describe_and_import(folder: Path, name: str, source: Source, library: str, home: Path) -> Local:
    """Import once for each content of the files, whatever the folder is called and whoever changed it since."""
    hashes = {file: sha256_file(folder / file) for file in HUB_FILES if (folder / file).exists()}
    known = _folder_of(name, fingerprint(hashes), home)
    if (known / SPEC).exists():
        return open_local(known)
    source = replace(source, file=WEIGHTS, sha256=hashes[WEIGHTS])
    return _import(loader(library).describe(folder, name, source), folder, known)


def _folder_of(name: str, digest: str, home: Path) -> Path:
    return home / "backbones" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '--', name)}-{digest[:12]}"


def _import(spec: BackboneSpec, source_folder: Path, folder: Path) -> Local:
    """Verify the original weights and write them in headstart's own layout; visible only when complete."""
    _verify_original(spec, source_folder / spec.source.file)
    with _writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_SCRATCH) as scratch:
            partial = Path(scratch) / "backbone"
            partial.mkdir()
            loader(spec.loader).import_weights(spec, source_folder, partial)
            write_local(spec, partial)
            try:
                partial.replace(folder)
            except OSError:
                # Another process was faster, or somebody removed files.
                if not (folder / SPEC).exists():
                    shutil.rmtree(folder, ignore_errors=True)
                    partial.replace(folder)
    return open_local(folder)


def _verify_original(spec: BackboneSpec, weights: Path) -> None:
    again = f"Install version {spec.source.revision} of {spec.source.location!r} again."
    if not weights.exists():
        raise BackboneError(
            f"the weights of {spec.name!r} are not where they should be: {spec.source.file!r} in "
            f"{spec.source.location!r} is missing",
            hint=again,
        )
    found = sha256_file(weights)
    if found != spec.source.sha256:
        raise BackboneError(
            f"the weights of {spec.name!r} are not the ones of the catalogue: sha256 must be "
            f"{spec.source.sha256[:16]}…, but is {found[:16]}…",
            hint=again,
        )


def _remove_leftovers(folder: Path) -> None:
    """A killed import leaves its scratch folder; one that is a day old belongs to nobody."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):
            if time.time() - scratch.stat().st_mtime > _DAY_S:
                shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BackboneError(
            f"the backbone cannot be kept in {str(folder)!r}: {reason}",
            hint="Make room, or set HEADSTART_HOME to a folder that can be written to.",
        ) from error


@dataclass(frozen=True, slots=True)
class _LocalRecord:
    spec: BackboneSpec
    sha256: dict[str, str]


def write_local(spec: BackboneSpec, folder: Path) -> None:
    """Write `spec.json` for a folder whose other files are complete; an older one is replaced in one step."""
    files = sorted(file for file in folder.iterdir() if file.name != SPEC and not file.name.startswith(_NEW_SPEC))
    record = _LocalRecord(spec, {file.name: sha256_file(file) for file in files})
    # Bundles may share the older file by a hard link, so it is replaced and never written into.
    new = folder / f"{_NEW_SPEC}{os.getpid()}"
    new.write_text(to_json(record), encoding="utf-8")
    new.replace(folder / SPEC)


def open_local(folder: Path) -> Local:
    """Open a backbone in headstart's own layout and verify every file.

    Raises:
        BackboneError: If a file is missing or was changed.
    """
    local = open_verified(folder)
    for name, expected in local.sha256.items():
        if not (folder / name).exists() or sha256_file(folder / name) != expected:
            raise BackboneError(
                f"the file {name!r} of the backbone {local.spec.name!r} is missing or was changed",
                hint=f"Remove {folder} and try again.",
            )
    return local


def open_verified(folder: Path) -> Local:
    """Open a backbone whose files the caller has verified against a manifest of its own.

    Raises:
        BackboneError: If `spec.json` is missing or damaged.
    """
    try:
        record = from_json((folder / SPEC).read_bytes(), _LocalRecord)
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"the backbone in {folder.name!r} has no readable spec.json", hint="Remove the folder and try again."
        ) from error
    return Local(record.spec, folder, record.sha256)


def load(local: Local, *, device: str = "cpu", precision: Precision = "float32") -> Backbone:
    """Run a backbone whose files are on this disk.

    Args:
        local: What `resolve` or `open_local` returned.
        device: As from `pick_device`.
        precision: As from `pick_precision`.
    """
    return loader(local.spec.loader).load(local.spec, local.folder, device, precision)


def preprocessing_of(local: Local) -> dict[str, object]:
    """What happens to an item before the network, as JSON: part of the identity of features."""
    return {
        "image": to_json(local.spec.image, indent=0),
        "text": to_json(local.spec.text, indent=0),
        "tokenizer": local.sha256.get("tokenizer.json", ""),
        "rules": RULES,
    }
