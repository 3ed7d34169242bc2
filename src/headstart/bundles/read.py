"""Opens a bundle, after checking that it is what was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from headstart._fingerprint import sha256_file
from headstart._records import from_json
from headstart.adaptation.gate import LAST, Gate
from headstart.adaptation.heads.forms import HEADS, Head, arrays_of
from headstart.adaptation.predictor import AnyPredictor, Ensemble, Predictor
from headstart.backbones.resolve import Local, open_verified
from headstart.bundles.manifest import (
    GATE,
    HEAD,
    MANIFEST,
    SCHEMA,
    SCHEMA_OF_ENSEMBLES,
    SCHEMA_OF_HEADS,
    SETS,
    SPEC,
    HeadEntry,
    Manifest,
)
from headstart.errors import BackboneError, BundleError
from headstart.evaluation.conformal import HeldOut

_AGAIN = "Copy the bundle again, or fit again."
_FAMILY = SCHEMA.partition("/")[0]
_KNOWN = (SCHEMA, SCHEMA_OF_HEADS, SCHEMA_OF_ENSEMBLES)
_WEIGHTS_OFF = 1e-6  # that the sum of weights may be off by


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model that can be shipped.

    Attributes:
        folder: Where it lies.
        manifest: What it is.
        predictor: Its head, or several.
        backbones: By name.
        held_out: What prediction sets follow from; None in bundles without them.
        gate: What flags unusual items; None in bundles without it.
    """

    folder: Path
    manifest: Manifest
    predictor: AnyPredictor
    backbones: dict[str, Local]
    held_out: HeldOut | None = None
    gate: Gate | None = None


class _Header(msgspec.Struct):
    schema: str = ""


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle, or the bundle of a run, and check the sha256 of every file.

    Args:
        path: The folder of a bundle or of a run.

    Raises:
        BundleError: If there is none, a file is missing, was changed or is not one that was written, its parts do not
            fit together, or its schema is from a newer version.
    """
    folder = _folder_of(Path(path).expanduser())
    manifest = _read_manifest(folder)
    _check_files(folder, manifest)
    backbones = {name: _open_backbone(folder, place, manifest) for name, place in manifest.backbones.items()}
    predictor = _open_heads(folder, manifest, backbones)
    return Bundle(
        folder, manifest, predictor, backbones, _open_sets(folder, manifest), _open_gate(folder, manifest, backbones)
    )


def _folder_of(given: Path) -> Path:
    for folder in (given / "bundle", given):
        if (folder / MANIFEST).is_file():
            return folder
    what = f"it has no {MANIFEST}" if given.is_dir() else "there is no such folder"
    raise BundleError(
        f"{str(given)!r} is no bundle and no run: {what}",
        hint="Give the folder that `headstart fit` wrote, or the bundle in it.",
    )


def _read_manifest(folder: Path) -> Manifest:
    try:
        text = (folder / MANIFEST).read_bytes()
        schema = from_json(text, _Header).schema
        if schema in _KNOWN:
            return from_json(text, Manifest)
    except (OSError, ValueError) as error:
        raise BundleError(f"the manifest of {str(folder)!r} cannot be read: {error}", hint=_AGAIN) from error
    is_newer = schema.startswith(f"{_FAMILY}/")
    raise BundleError(
        f"the bundle {str(folder)!r} has the schema {schema!r}, "
        f"and this version of headstart knows {', '.join(map(repr, _KNOWN))}",
        hint="Update headstart: pip install --upgrade headstart" if is_newer else _AGAIN,
    )


def _check_files(folder: Path, manifest: Manifest) -> None:
    needed = {entry.file: True for entry in _heads_of(manifest)}
    needed |= {SETS: manifest.n_held_out > 0, GATE: manifest.gate is not None}
    for name, is_needed in needed.items():
        if is_needed and name not in manifest.files:
            raise BundleError(f"the manifest of {str(folder)!r} does not cover {name!r}", hint=_AGAIN)
    for name, expected in manifest.files.items():
        if not _is_inside(name):
            raise BundleError(f"the bundle {str(folder)!r} names a file outside of itself: {name!r}", hint=_AGAIN)
        file = folder / name
        if not file.is_file():
            raise BundleError(f"the bundle {str(folder)!r} lacks the file {name!r}", hint=_AGAIN)
        try:
            found = sha256_file(file)
        except OSError as error:
            raise BundleError(
                f"the file {name!r} of the bundle {str(folder)!r} cannot be read: {error.strerror}",
                hint="Check who may read it.",
            ) from error
        if found != expected:
            raise BundleError(
                f"the file {name!r} of the bundle {str(folder)!r} is not the one that was written "
                f"(sha256 must begin with {expected[:12]}, but begins with {found[:12]})",
                hint=_AGAIN,
            )


def _is_inside(name: str) -> bool:
    """Whether a path stays in its folder on every system. A manifest is data from elsewhere."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not set(name) & {"\\", ":", "\0"}


def _open_backbone(folder: Path, place: str, manifest: Manifest) -> Local:
    """A backbone of the bundle; a loader reads whatever lies in its folder, so nothing there may be uncovered."""
    if f"{place}/{SPEC}" not in manifest.files:
        raise BundleError(f"the manifest of {str(folder)!r} does not cover {f'{place}/{SPEC}'!r}", hint=_AGAIN)
    try:
        local = open_verified(folder / place)
    except BackboneError as error:
        raise BundleError(f"the backbone {place!r} of {str(folder)!r} cannot be read: {error}", hint=_AGAIN) from error
    covered = {name: manifest.files.get(f"{place}/{name}") for name in local.sha256}
    present = {file.name for file in (folder / place).iterdir() if not file.name.startswith(".")}
    foreign = sorted(present - set(covered) - {SPEC})
    if covered != local.sha256 or foreign:
        what = foreign[0] if foreign else next(name for name in covered if covered[name] != local.sha256[name])
        raise BundleError(f"the manifest of {str(folder)!r} does not cover {f'{place}/{what}'!r}", hint=_AGAIN)
    return local


def _heads_of(manifest: Manifest) -> tuple[HeadEntry, ...]:
    """The heads, also where there is one."""
    return manifest.heads or (HeadEntry(HEAD, manifest.head, manifest.parts, manifest.temperature, 1.0),)


def _open_heads(folder: Path, manifest: Manifest, backbones: Mapping[str, Local]) -> AnyPredictor:
    entries = _heads_of(manifest)
    heads = [_open_head(folder, entry) for entry in entries]
    problems = (_misfit(manifest, entry, head, backbones) for entry, head in zip(entries, heads, strict=True))
    problem = next(filter(None, problems), "") or _misweighed(entries)
    if problem:
        raise BundleError(f"the parts of {str(folder)!r} do not fit together: {problem}", hint=_AGAIN)
    members = tuple(
        (Predictor(manifest.classes, entry.parts, head, entry.temperature), entry.weight)
        for entry, head in zip(entries, heads, strict=True)
    )
    return Ensemble(members) if manifest.heads else members[0][0]


def _open_sets(folder: Path, manifest: Manifest) -> HeldOut | None:
    if not manifest.n_held_out:
        return None
    scores, weights = _arrays(folder, SETS, "scores", "weights")
    fits = scores.shape == weights.shape == (manifest.n_held_out,) and scores.dtype.kind == weights.dtype.kind == "f"
    if not (fits and (np.diff(scores) >= 0).all() and (weights > 0).all() and np.isfinite(scores + weights).all()):
        raise BundleError(
            f"the prediction sets of {str(folder)!r} need {manifest.n_held_out} scores in order, each with a weight",
            hint=_AGAIN,
        )
    return HeldOut(scores, weights)


def _open_gate(folder: Path, manifest: Manifest, backbones: Mapping[str, Local]) -> Gate | None:
    if (facts := manifest.gate) is None:
        return None
    (references,) = _arrays(folder, GATE, "references")
    widths = {name: each.width for name, local in backbones.items() for each in local.spec.layers if each.name == LAST}
    known = all(name in widths for name in facts.backbones)
    width = sum(widths[name] for name in facts.backbones) if known else 0
    fits = references.ndim == 2 and len(references) > 0 and references.shape[1] == width > 0
    if not (fits and np.isfinite(references).all() and 0 <= facts.threshold <= 2 and facts.neighbours > 0):
        raise BundleError(
            f"the gate of {str(folder)!r} does not fit its backbones: its items are of shape {references.shape}, "
            f"the layers of width {width}",
            hint=_AGAIN,
        )
    return Gate(facts.backbones, references.astype(np.float16), facts.threshold, facts.neighbours, facts.passes)


def _arrays(folder: Path, file: str, *names: str) -> list[np.ndarray]:
    try:
        found = load((folder / file).read_bytes())
        return [found[name] for name in names]
    except (OSError, KeyError, SafetensorError) as error:
        raise BundleError(f"the file {file!r} of {str(folder)!r} cannot be read: {error}", hint=_AGAIN) from error


def _open_head(folder: Path, entry: HeadEntry) -> Head:
    try:
        form = HEADS[entry.head]
        found = load((folder / entry.file).read_bytes())
        head: Head = form(**{field.name: found[field.name] for field in fields(form)})
    except (OSError, KeyError, SafetensorError) as error:
        raise BundleError(f"the head of {str(folder)!r} cannot be read: {error}", hint=_AGAIN) from error
    return head


def _misfit(manifest: Manifest, entry: HeadEntry, head: Head, backbones: Mapping[str, Local]) -> str:
    """What does not fit, or nothing: hashes say that files are as written, not that they belong together."""
    widths = {(name, each.name): each.width for name, local in backbones.items() for each in local.spec.layers}
    strangers = [part for part in entry.parts if (part.backbone, part.layer) not in widths]
    if strangers:
        return f"no backbone {strangers[0].backbone!r} with a layer {strangers[0].layer!r} is in it"
    n_classes, width = len(manifest.classes), sum(widths[part.backbone, part.layer] for part in entry.parts)
    if n_classes < 2 or len(set(manifest.classes)) < n_classes:
        return f"at least two different classes are needed, but it has {list(manifest.classes)}"
    arrays = arrays_of(head)
    if not head.fits(n_classes, width):
        shapes = " and ".join(str(each.shape) for each in arrays.values())
        return f"{n_classes} classes and features of width {width} have a head of shape {shapes}"
    if not (all(np.isfinite(each).all() for each in arrays.values()) and 0 < entry.temperature < np.inf):
        return "the head and its temperature must be finite numbers, the temperature above 0"
    other = next((local.spec for local in backbones.values() if local.spec.modality != manifest.modality), None)
    return "" if other is None else f"{other.name!r} sees {other.modality}s, and the bundle {manifest.modality}s"


def _misweighed(entries: Sequence[HeadEntry]) -> str:
    weights = [entry.weight for entry in entries]
    is_average = all(weight > 0 for weight in weights) and abs(sum(weights) - 1) < _WEIGHTS_OFF
    return "" if is_average else f"the weights of heads must be above 0 and sum to 1, but they are {weights}"
