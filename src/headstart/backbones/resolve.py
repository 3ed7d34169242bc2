"""From the name that a user typed to weights on this disk that are verified, and from there to a running backbone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from headstart._fingerprint import fingerprint, sha256_file
from headstart._records import from_json, to_json
from headstart.backbones.backbone import Backbone
from headstart.backbones.catalogue import catalogue, nearest_names
from headstart.backbones.hub_files import CONFIG, files_in, weights_file, weights_sha256
from headstart.backbones.loaders import loader
from headstart.backbones.locate import hub_folder, package_folder
from headstart.backbones.pins import Pin, check_pin, file_name, read_pin, write_pin
from headstart.backbones.precision import Precision
from headstart.backbones.preprocess import RULES
from headstart.backbones.source_head import SOURCE_HEAD, SourceHead, read_source_head
from headstart.backbones.spec import BackboneSpec, Source
from headstart.backbones.torch_hub import hash_prefix, verified_checkpoint
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
            `config.json` where the network is built with arguments of its own; beside them `source_head.safetensors`,
            which is no part of the backbone and in no bundle.
        sha256: Of each file of the backbone but `spec.json`.
    """

    spec: BackboneSpec
    folder: Path
    sha256: dict[str, str]


def resolve(name: str, home: Path, *, arch: str = "") -> Local:
    """Find, verify and, where needed, fetch a backbone.

    Args:
        name: A catalogued name, `timm/ARCHITECTURE.TAG` or `hf/OWNER/NAME` (both may end in `@REVISION`),
            `torchvision/ARCHITECTURE.WEIGHTS`, `keras/CLASS` of keras.applications, a local folder in timm's or
            transformers' own layout, a `.keras` file, or `local:FILE`, weights alone.
        home: headstart's home; imported weights are kept below it.
        arch: What network the weights in `local:FILE` belong to: timm's name, or `torchvision/NAME`.

    Raises:
        BackboneError: If the name is unknown, the weights are missing, changed or unfit, or the home cannot be written.
        OfflineError: If it would have to be fetched, and there is no network.
    """
    known = catalogue()
    if name in known:
        return _from_package(known[name], home)
    remote = hub_name(name)
    if remote is not None:
        return _from_hub(name, remote, home)
    if re.fullmatch(r"torchvision/\w+(\.\w+)?", name):
        return _from_torch_hub(name, home)
    if name.startswith("local:"):
        return _from_file(Path(os.path.expanduser(name.removeprefix("local:"))), arch, home)  # noqa: PTH111 - likewise
    if re.fullmatch(r"keras/\w+", name):
        return _from_keras(name, home)
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises where there is no such user
    if folder.suffix == ".keras":
        return _from_keras_file(folder.resolve(), home)
    if folder.is_dir():
        return _from_folder(folder.resolve(), local_name(name), home)
    raise BackboneError(
        f"no backbone is called {name!r}; a name is one of the catalogue, timm/NAME, hf/OWNER/NAME, "
        "torchvision/NAME, local:FILE or a local folder",
        hint=nearest_names(name),
    )


def local_name(name: str) -> str:
    """What the backbone in a folder or a file is called in its spec and in reports.

    Args:
        name: As the user wrote it: a folder, a `.keras` file, or `local:FILE`.
    """
    path = Path(os.path.expanduser(name.removeprefix("local:")))  # noqa: PTH111 - Path.expanduser raises, see `resolve`
    if name.startswith("local:"):
        return f"local/{path.stem}"
    return f"local/{path.resolve().stem if path.suffix == '.keras' else path.resolve().name}"


@dataclass(frozen=True, slots=True)
class HubName:
    """Where a name of the hub leads.

    Attributes:
        repository: On the hub.
        revision: A commit, branch or tag; empty for the newest.
        library: What describes and runs it: `timm` or `transformers`.
    """

    repository: str
    revision: str
    library: str


def hub_name(name: str) -> HubName | None:
    """What `timm/…` or `hf/…` stands for, or None for another kind of name.

    Args:
        name: As the user wrote it; `timm/resnet50` stands for timm's default weights of that architecture.

    Raises:
        BackboneError: If timm does not know the architecture.
    """
    match = re.fullmatch(r"(?P<path>timm/[\w.\-]+|hf/[\w.\-]+(/[\w.\-]+)?)(@(?P<revision>[\w.\-/]+))?", name)
    if match is None:
        return None
    path, revision = match["path"], match["revision"] or ""
    if path.startswith("hf/"):
        return HubName(path.removeprefix("hf/"), revision, "transformers")
    if "." not in path:
        from headstart.backbones.loaders.timm_images import hub_repository

        path = hub_repository(path.removeprefix("timm/"))
    return HubName(path, revision, "timm")


def _from_package(spec: BackboneSpec, home: Path) -> Local:
    folder = _folder_of(spec.name, spec.source.sha256, home)
    if not _is_complete(folder):
        return _import(spec, package_folder(spec.source), folder)
    local = open_local(folder)
    if local.spec != spec:
        # The catalogue has learnt new facts, such as other layers, since the weights were imported.
        with _writing(folder):
            write_local(spec, folder)
        local = replace(local, spec=spec)
    return local


def _from_hub(name: str, remote: HubName, home: Path) -> Local:
    """What the name stood for when it was first used; nothing is asked of the hub when that is in the home."""
    pin = read_pin(name, home)
    if pin is None:
        return renew(name, remote, home)
    known = _folder_of(name, fingerprint(pin.sha256), home)
    if _is_complete(known):
        return open_local(known)
    # A new version of timm may have other default weights, in another repository.
    return renew(name, replace(remote, repository=pin.repository, revision=pin.revision), home)


def renew(
    name: str,
    remote: HubName,
    home: Path,
    *,
    accept: bool = False,
    on_bytes: Callable[[int], None] | None = None,
) -> Local:
    """Take the files that a name of the hub stands for now, and record them.

    Args:
        name: As the user wrote it.
        remote: Where it leads.
        home: headstart's home.
        accept: Take them even if they are not the ones that were recorded.
        on_bytes: As for `hub_folder`.

    Raises:
        BackboneError: If the files have changed since they were recorded, or as `resolve`.
        OfflineError: If they must be fetched, and there is no network.
    """
    pin = read_pin(name, home)
    folder, commit = hub_folder(remote.repository, remote.revision, on_bytes=on_bytes)
    hashes = _hashes(folder)
    if pin is not None and not accept:
        check_pin(pin, hashes)
    source = Source(origin="hub", location=remote.repository, revision=commit)
    local = _describe_and_import(folder, name, source, remote.library, home)
    with _writing(home):
        write_pin(Pin(name, remote.repository, commit, hashes), home)
    return local


def _from_folder(folder: Path, name: str, home: Path) -> Local:
    there = files_in(folder)
    if CONFIG not in there or not weights_file(there):
        raise BackboneError(
            f"the folder {str(folder)!r} is no backbone: it must hold {CONFIG}, and {WEIGHTS} or pytorch_model.bin",
            hint="Save it with model.save_pretrained(folder), or timm.models.save_for_hf(model, folder).",
        )
    config = (folder / CONFIG).read_text(encoding="utf-8", errors="replace")
    library = "timm" if '"architecture"' in config else "transformers"
    return _describe_and_import(folder, name, Source(origin="folder", location=str(folder)), library, home)


def _describe_and_import(folder: Path, name: str, source: Source, library: str, home: Path) -> Local:
    """Import once for each content of the files, whatever the folder is called and whoever changed it since."""
    hashes = _hashes(folder)
    known = _folder_of(name, fingerprint(hashes), home)
    if _is_complete(known):
        return open_local(known)
    file = weights_file(hashes)
    source = replace(source, file=file, sha256=weights_sha256(folder / file, name))
    return _import(loader(library).describe(folder, name, source), folder, known)


def _hashes(folder: Path) -> dict[str, str]:
    return {file: sha256_file(folder / file) for file in files_in(folder)}


def _from_torch_hub(name: str, home: Path) -> Local:
    from headstart.backbones.loaders.torchvision_images import weights_url

    url = weights_url(name.removeprefix("torchvision/"))
    # What was imported needs its origin no more, and the beginning of its hash is known without it.
    pattern = f"{_folder_of(name, hash_prefix(url)[:8], home).name}*"
    for known in sorted((home / "backbones").glob(pattern)):
        if _is_complete(known):
            return open_local(known)
    file, digest = verified_checkpoint(url, name)
    source = Source(origin="url", location=url, file=file.name, sha256=digest)
    spec = loader("torchvision").describe(file.parent, name, source)
    return _import(spec, file.parent, _folder_of(name, digest, home))


def _from_file(file: Path, arch: str, home: Path) -> Local:
    if not file.is_file():
        raise BackboneError(f"there is no file of weights {str(file)!r}", hint="Write local:PATH/TO/FILE.safetensors.")
    if not arch:
        raise BackboneError(
            f"the weights in {file.name!r} do not say what network they belong to",
            hint="Add --arch resnet50, or another of timm's names, or --arch torchvision/NAME.",
        )
    digest, name = sha256_file(file), local_name(f"local:{file}")
    known = _folder_of(name, fingerprint([digest, arch]), home)
    if _is_complete(known):
        return open_local(known)
    if arch.startswith("torchvision/"):
        from headstart.backbones.loaders.torchvision_images import describe_checkpoint
    else:
        from headstart.backbones.loaders.timm_images import describe_checkpoint
    folder = file.resolve().parent
    source = Source(origin="file", location=str(folder), file=file.name, sha256=digest)
    architecture = arch.removeprefix("torchvision/").removeprefix("timm/")
    return _import(describe_checkpoint(architecture, name, source), folder, known)


def _from_keras(name: str, home: Path) -> Local:
    # What was imported needs its origin no more, nor the seconds in which Keras says which file that is.
    for known in sorted((home / "backbones").glob(f"{_folder_of(name, '', home).name}*")):
        if _is_complete(known):
            return open_local(known)
    from headstart.backbones.loaders.keras_images import cached_weights

    file, url = cached_weights(name.removeprefix("keras/"))
    source = Source(origin="url", location=url, file=file.name, sha256=sha256_file(file))
    spec = loader("keras").describe(file.parent, name, source)
    return _import(spec, file.parent, _folder_of(name, source.sha256, home))


def _from_keras_file(file: Path, home: Path) -> Local:
    if not file.is_file():
        raise BackboneError(f"there is no Keras network {str(file)!r}", hint="Save it with model.save('model.keras').")
    name, digest = local_name(str(file)), sha256_file(file)
    known = _folder_of(name, digest, home)
    if _is_complete(known):
        return open_local(known)
    source = Source(origin="file", location=str(file.parent), file=file.name, sha256=digest)
    return _import(loader("keras").describe(file.parent, name, source), file.parent, known)


def _folder_of(name: str, digest: str, home: Path) -> Path:
    return home / "backbones" / f"{file_name(name)}-{digest[:12]}"


def _is_complete(folder: Path) -> bool:
    """Whether there is an import, and it looked for a source classifier, as older versions did not."""
    return (folder / SPEC).exists() and _read_record(folder).source_head is not None


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
                # Another process was faster, somebody removed files, or an older version kept fewer.
                if not (folder / SPEC).exists():
                    shutil.rmtree(folder, ignore_errors=True)
                    partial.replace(folder)
                elif not _is_complete(folder):
                    for file in sorted(partial.iterdir(), key=lambda file: file.name == SPEC):
                        file.replace(folder / file.name)
    return open_local(folder)


def _verify_original(spec: BackboneSpec, weights: Path) -> None:
    again = f"Install version {spec.source.revision} of {spec.source.location!r} again."
    if not weights.exists():
        raise BackboneError(
            f"the weights of {spec.name!r} are not where they should be: {spec.source.file!r} in "
            f"{spec.source.location!r} is missing",
            hint=again,
        )
    found = weights_sha256(weights, spec.name)
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
    """What `spec.json` says.

    Attributes:
        spec: What it is.
        sha256: Of each file of the backbone.
        source_head: The sha256 of the classifier beside it; empty where the weights have none, and None where an older
            version did not look for it.
    """

    spec: BackboneSpec
    sha256: dict[str, str]
    source_head: str | None = None


def write_local(spec: BackboneSpec, folder: Path) -> None:
    """Write `spec.json` for a folder whose other files are complete; an older one is replaced in one step."""
    hashes = {
        file.name: sha256_file(file)
        for file in sorted(folder.iterdir())
        if file.name != SPEC and not file.name.startswith(_NEW_SPEC)
    }
    source_head = hashes.pop(SOURCE_HEAD, "")
    record = _LocalRecord(spec, hashes, source_head)
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
    record = _read_record(folder)
    return Local(record.spec, folder, record.sha256)


def _read_record(folder: Path) -> _LocalRecord:
    try:
        return from_json((folder / SPEC).read_bytes(), _LocalRecord)
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"the backbone in {folder.name!r} has no readable spec.json", hint="Remove the folder and try again."
        ) from error


def load(local: Local, *, device: str = "cpu", precision: Precision = "float32") -> Backbone:
    """Run a backbone whose files are on this disk.

    Args:
        local: What `resolve` or `open_local` returned.
        device: As from `pick_device`.
        precision: As from `pick_precision`.
    """
    return loader(local.spec.loader).load(local.spec, local.folder, device, precision)


def source_head(local: Local) -> SourceHead | None:
    """The linear classifier that the backbone was pretrained with, or None where there is none.

    Args:
        local: What `resolve` returned; a bundle does not carry the classifier.

    Raises:
        BackboneError: If its file was changed or cannot be read.
    """
    file = local.folder / SOURCE_HEAD
    if local.spec.source.origin == "builtin" or not file.exists():
        return None
    if sha256_file(file) != _read_record(local.folder).source_head:
        raise BackboneError(
            f"the file {SOURCE_HEAD!r} of the backbone {local.spec.name!r} was changed",
            hint=f"Remove {local.folder} and try again.",
        )
    return read_source_head(file, local.spec.name)


def preprocessing_of(local: Local) -> dict[str, object]:
    """What happens to an item before the network, as JSON: part of the identity of features."""
    return {
        "image": to_json(local.spec.image, indent=0),
        "text": to_json(local.spec.text, indent=0),
        "tokenizer": local.sha256.get("tokenizer.json", ""),
        "rules": RULES,
    }
