"""A small bundle whose backbones are the pixels and a file that nobody runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headstart.adaptation.gate import Gate, unit_blocks
from headstart.adaptation.heads.forms import LinearHead, Perceptron
from headstart.adaptation.predictor import AnyPredictor, Ensemble, Part, Predictor
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local, open_local, write_local
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source
from headstart.bundles import Manifest, write_bundle
from headstart.evaluation.conformal import HeldOut

SPEC = BackboneSpec(
    name="tiny",
    modality="image",
    loader="timm",
    architecture="tiny",
    source=Source("folder", "tiny", "model.safetensors", "abc"),
    layers=(Layer("early", 3), Layer("last", 5)),
    n_params=8,
    image=ImageInput(32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
)
CLASSES = ("cat", "dog", "owl")


def tiny(folder: Path) -> Local:
    """A backbone of files that are never loaded."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    write_local(SPEC, folder)
    return open_local(folder)


def pixels(folder: Path) -> Local:
    """A backbone that runs without weights and without torch."""
    folder.mkdir(parents=True)
    write_local(PIXELS, folder)
    return open_local(folder)


def predictor(parts: tuple[Part, ...], width: int, *, classes: tuple[str, ...] = CLASSES) -> Predictor:
    """A head of random numbers."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(len(classes), width)).astype(np.float32)
    bias = rng.normal(size=len(classes)).astype(np.float32)
    return Predictor(classes, parts, LinearHead(weight, bias), 1.5)


def ensemble(parts: tuple[Part, ...], width: int) -> Ensemble:
    """A linear head and a perceptron on the same features, each with its own temperature."""
    rng = np.random.default_rng(1)
    sizes = ((4, width), (4,), (len(CLASSES), 4), (len(CLASSES),))
    perceptron = Perceptron(*(rng.normal(size=size).astype(np.float32) for size in sizes))
    return Ensemble(((predictor(parts, width), 0.625), (Predictor(CLASSES, parts, perceptron, 0.7), 0.375)))


def manifest(head: AnyPredictor) -> Manifest:
    """What a fit would say of it."""
    return Manifest(
        modality="image",
        task="classification",
        classes=head.classes,
        parts=(),
        backbones={},
        temperature=1.0,
        precision="float32",
        version="0.1.0",
        created="2026-01-01T00:00:00+00:00",
    )


def held_out() -> HeldOut:
    """The scores of fifty items, of which some belong together."""
    rng = np.random.default_rng(1)
    return HeldOut.of(rng.random(50), rng.integers(40, size=50))


def gate(name: str, width: int, *, threshold: float = 0.25) -> Gate:
    """A gate that knows twenty random directions."""
    return Gate((name,), unit_blocks([np.random.default_rng(2).normal(size=(20, width))]), threshold)


def doubting(folder: Path) -> Path:
    """A bundle of the tiny backbone with sets and a gate, below `folder`."""
    local = tiny(folder / "home" / "tiny")
    head = predictor((Part("tiny", "last"), Part("tiny", "early")), 8)
    extras = {"held_out": held_out(), "gate": gate("tiny", 5)}
    return write_bundle(folder / "bundle", head, {"tiny": local}, manifest=manifest(head), card="# card\n", **extras)


def written(folder: Path) -> Path:
    """A bundle of the tiny backbone, below `folder`."""
    local = tiny(folder / "home" / "tiny")
    head = predictor((Part("tiny", "last"), Part("tiny", "early")), 8)
    return write_bundle(folder / "bundle", head, {"tiny": local}, manifest=manifest(head), card="# card\n")


def of_pixels(folder: Path, *, several: bool = False, **extras: HeldOut | Gate) -> Path:
    """A bundle that predicts from pixels, below `folder`, with one head or several."""
    local = pixels(folder / "home" / "pixels")
    head = (ensemble if several else predictor)((Part("pixels", "last"),), PIXELS.width)
    return write_bundle(folder / "bundle", head, {"pixels": local}, manifest=manifest(head), card="# card\n", **extras)
