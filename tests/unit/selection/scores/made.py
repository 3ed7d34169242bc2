"""Made features that tell classes apart by a chosen amount."""

from __future__ import annotations

import numpy as np


def made(
    n_items: int, width: int, n_classes: int = 3, *, apart: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(n_items) % n_classes)
    noise = rng.standard_normal((n_items, width)) * np.arange(1, width + 1) ** -0.3
    return (apart * rng.standard_normal((n_classes, width))[targets] + noise).astype(np.float32), targets


def unit_scale(features: np.ndarray) -> np.ndarray:
    """Centred, and brought to a mean squared length of 1."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    return centred / np.sqrt(np.square(centred).sum(axis=1).mean())
