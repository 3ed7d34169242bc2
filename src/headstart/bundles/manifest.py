"""The contract of a bundle: what `manifest.json` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headstart.adaptation.predictor import Part
from headstart.backbones.precision import Precision
from headstart.data.dataset import Modality

SCHEMA = "headstart.bundle/1"
SCHEMA_OF_HEADS = "headstart.bundle/2"
"""Of bundles whose head is not linear: a version of headstart that knows linear ones alone asks to be updated."""
SCHEMA_OF_ENSEMBLES = "headstart.bundle/3"
"""Of bundles with several heads whose answers are averaged; likewise."""
MANIFEST = "manifest.json"
HEAD = "head.safetensors"
SETS = "sets.safetensors"
GATE = "gate.safetensors"
HEADS_FOLDER = "heads"
ENSEMBLE = "ensemble"
CARD = "README.md"
BACKBONES = "backbones"
SPEC = "spec.json"
KEY_DIGITS = 16


@dataclass(frozen=True, slots=True)
class GateFacts:
    """The gate of a bundle, but for the training items that it knows.

    Attributes:
        backbones: The names of those whose layer `last` it looks at.
        threshold: The largest distance that passes, from 0 to 2.
        neighbours: How many of the nearest items the distance is the mean of.
        passes: The share of held-out items that passed when the threshold was set.
    """

    backbones: tuple[str, ...]
    threshold: float
    neighbours: int
    passes: float


@dataclass(frozen=True, slots=True)
class HeadEntry:
    """One of several heads.

    Attributes:
        file: Its arrays; a path in the bundle, with forward slashes.
        head: The kind of the head, one of `HEADS`.
        parts: The blocks of features that it sees, in order.
        temperature: What its logits are divided by, above 0.
        weight: Its share in the average of probabilities, above 0; the weights of all heads sum to 1.
    """

    file: str
    head: str
    parts: tuple[Part, ...]
    temperature: float
    weight: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle is and which files belong to it.

    Attributes:
        modality: `image` or `text`.
        task: `classification`.
        classes: Class names, in the order of every answer.
        parts: The blocks of features that the head sees, in order; of several heads those of all, each once.
        backbones: For each backbone by name, its folder in the bundle.
        temperature: What logits are divided by, above 0; 1 where there are several heads, which have their own.
        precision: What the networks computed in when the head was fitted.
        version: The version of headstart that wrote it.
        created: Local time in ISO 8601.
        files: The sha256 of every other file, by its path in the bundle, with forward slashes.
        training_keys: The first 16 hex digits of the content key of each training item, sorted; empty where not known.
        head: The kind of the head, one of `HEADS`, or `ensemble` where there are several.
        schema: The version of this format.
        n_held_out: How many out-of-fold answers prediction sets rest on; 0 without such.
        gate: What flags unusual items; None without it.
        heads: The heads whose answers are averaged; empty where there is one.
    """

    modality: Modality
    task: Literal["classification"]
    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    backbones: dict[str, str]
    temperature: float
    precision: Precision
    version: str
    created: str
    files: dict[str, str] = field(default_factory=dict)
    training_keys: tuple[str, ...] = ()
    head: str = "linear"
    schema: str = SCHEMA
    n_held_out: int = 0
    gate: GateFacts | None = None
    heads: tuple[HeadEntry, ...] = ()
