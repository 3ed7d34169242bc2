"""Writes a bundle: a folder with all that prediction needs, and nothing that runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from headstart._fingerprint import sha256_file
from headstart._records import to_json
from headstart.adaptation.gate import Gate
from headstart.adaptation.heads.forms import Head, arrays_of
from headstart.adaptation.predictor import AnyPredictor
from headstart.backbones.resolve import Local
from headstart.bundles.manifest import (
    BACKBONES,
    CARD,
    ENSEMBLE,
    GATE,
    HEAD,
    HEADS_FOLDER,
    MANIFEST,
    SCHEMA,
    SCHEMA_OF_ENSEMBLES,
    SCHEMA_OF_HEADS,
    SETS,
    SPEC,
    GateFacts,
    HeadEntry,
    Manifest,
)
from headstart.errors import OutputError
from headstart.evaluation.conformal import HeldOut


def write_bundle(
    folder: Path,
    predictor: AnyPredictor,
    backbones: Mapping[str, Local],
    *,
    manifest: Manifest,
    card: str,
    held_out: HeldOut | None = None,
    gate: Gate | None = None,
) -> Path:
    """Write a bundle; the manifest comes last, so a folder without one is not a bundle.

    Args:
        folder: Where; it is made.
        predictor: The head, or several.
        backbones: By name, at least those that the predictor needs.
        manifest: What to say; what follows from the other arguments is filled in here.
        card: The model card, in Markdown.
        held_out: What prediction sets follow from, if it is to give such.
        gate: What flags unusual items, if it is to do that.

    Returns:
        The folder.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).write_text(card, encoding="utf-8")
        described, heads = _write_heads(folder, predictor, manifest)
        files = {name: sha256_file(folder / name) for name in (*heads, CARD)}
        if held_out is not None:
            (folder / SETS).write_bytes(save({"scores": held_out.scores, "weights": held_out.weights}))
            files[SETS] = sha256_file(folder / SETS)
        facts = None
        if gate is not None:
            (folder / GATE).write_bytes(save({"references": np.ascontiguousarray(gate.references)}))
            files[GATE] = sha256_file(folder / GATE)
            facts = GateFacts(gate.backbones, gate.threshold, gate.neighbours, gate.passes)
        places: dict[str, str] = {}
        for number, name in enumerate(predictor.backbones):
            places[name] = f"{BACKBONES}/{number}"
            files |= _copy_backbone(backbones[name], folder, places[name])
        n_held_out = 0 if held_out is None else len(held_out.scores)
        complete = replace(described, backbones=places, files=files, n_held_out=n_held_out, gate=facts)
        (folder / MANIFEST).write_text(to_json(complete), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the bundle cannot be written to {str(folder)!r}: {error.strerror or error}",
            hint="Make room or choose another --out, where you may write; the features that were computed are kept.",
        ) from error
    return folder


def _write_heads(folder: Path, predictor: AnyPredictor, manifest: Manifest) -> tuple[Manifest, list[str]]:
    """Write the arrays of each head; returns the manifest that describes them, and their files."""
    (first, _), *others = predictor.members
    if not others:
        _write_arrays(folder / HEAD, first.head)
        schema = SCHEMA if first.head.kind == "linear" else SCHEMA_OF_HEADS
        one = replace(
            manifest, head=first.head.kind, parts=first.parts, temperature=first.temperature, heads=(), schema=schema
        )
        return one, [HEAD]
    (folder / HEADS_FOLDER).mkdir(exist_ok=True)
    heads = tuple(
        HeadEntry(f"{HEADS_FOLDER}/{number}.safetensors", each.head.kind, each.parts, each.temperature, weight)
        for number, (each, weight) in enumerate(predictor.members)
    )
    for entry, (each, _) in zip(heads, predictor.members, strict=True):
        _write_arrays(folder / entry.file, each.head)
    several = replace(
        manifest, head=ENSEMBLE, parts=predictor.parts, temperature=1.0, heads=heads, schema=SCHEMA_OF_ENSEMBLES
    )
    return several, [entry.file for entry in heads]


def _write_arrays(file: Path, head: Head) -> None:
    # Bytes, because safetensors' own writer makes files that nobody but their owner may read.
    file.write_bytes(save({name: _plain(each) for name, each in arrays_of(head).items()}))


def _plain(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float32 if values.dtype.kind == "f" else np.int64, order="C")


def _copy_backbone(local: Local, folder: Path, place: str) -> dict[str, str]:
    """Copy the files of a backbone; returns their hashes.

    A copy, not a hard link: whoever edited a linked bundle would edit the cache of every later run with it.
    """
    target = folder / place
    target.mkdir(parents=True, exist_ok=True)
    for name in (SPEC, *local.sha256):
        shutil.copyfile(local.folder / name, target / name)
    hashes = {f"{place}/{name}": digest for name, digest in local.sha256.items()}
    return {**hashes, f"{place}/{SPEC}": sha256_file(target / SPEC)}
