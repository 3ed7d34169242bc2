"""Features without a network: classes are clouds of points, as far apart as a test wants."""

from __future__ import annotations

import numpy as np

from headstart.adaptation.strategies import Linear, OutOfFold
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source
from headstart.evaluation.records import Estimate
from headstart.features.extract import Features
from headstart.search.candidates import Candidate, Proposal

INPUT = ImageInput(32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def spec(
    name: str, *, layers: tuple[tuple[str, int], ...] = (("last", 4),), gflops: float = 1.0, n_params: int = 10
) -> BackboneSpec:
    """A backbone that exists on paper."""
    return BackboneSpec(
        name=name,
        modality="image",
        loader="timm",
        architecture=name,
        source=Source("folder", name, sha256=name),
        layers=tuple(Layer(layer, width) for layer, width in layers),
        n_params=n_params,
        gflops=gflops,
        image=INPUT,
    )


def features(backbone: BackboneSpec, targets: np.ndarray, *, apart: float, seed: int = 0) -> Features:
    """Points around one centre a class, `apart` standard deviations from the origin in every layer."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(int(targets.max()) + 1, backbone.width))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    values = (centres[targets] + rng.normal(size=(len(targets), backbone.width))).astype(np.float32)
    return Features(backbone, values, np.ones(len(targets), dtype=bool))


def candidate(
    right: np.ndarray,
    *,
    name: str = "a",
    gflops: float = 1.0,
    log_loss: float = 0.5,
    layers: str = "last",
    width: int = 4,
) -> Candidate:
    """A candidate that got these items right."""
    n = len(right)
    value = float(right.mean())
    proposal = Proposal(layers, (spec(name, layers=(("early", 3), ("last", width)), gflops=gflops),))
    return Candidate(
        proposal=proposal,
        strategy=Linear(proposal.parts),
        out_of_fold=OutOfFold(np.zeros((n, 2)), {"l2": 1e-3}, 1.0),
        right=right,
        accuracy=Estimate(value, value, value, n),
        log_loss=Estimate(log_loss, log_loss, log_loss, n),
        seconds=0.1,
    )


def right(n: int, n_right: int) -> np.ndarray:
    """The first so many of n items are right."""
    return np.arange(n) < n_right
