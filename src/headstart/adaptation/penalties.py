"""What is added to the loss so that weights do not move further than the data asks for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int

_SHARPNESS = 0.88  # what calibrates the logits of a ResNet-50 on ImageNet, as the authors of co-tuning measured it


def l2_sp(
    weights: Mapping[str, torch.Tensor], start: Mapping[str, torch.Tensor], strength: float
) -> Float[torch.Tensor, ""]:
    """Half the strength times the squared distance from the starting point (Li, Grandvalet and Davoine, 2018).

    Args:
        weights: The present weights by name; those without a starting point, as of a new head, do not count.
        start: The pretrained weights.
        strength: 0 or greater.
    """
    distances = [(weight - start[name]).square().sum() for name, weight in weights.items() if name in start]
    return strength / 2 * torch.stack(distances).sum()


def spectral_shrinkage(last: Float[torch.Tensor, "items width"], strength: float) -> Float[torch.Tensor, ""]:
    """The strength times the smallest squared singular value of a batch (Chen et al. 2019, NeurIPS).

    Directions that say little are those that do not transfer, so what lies along them is shrunk.

    Args:
        last: The features of a batch.
        strength: 0 or greater; the paper has 0.001.
    """
    if not torch.isfinite(last).all():
        return last.sum()  # has diverged, which the loop sees; the decomposition would fail
    smallest: torch.Tensor = torch.linalg.svdvals(last)[-1]
    return strength * smallest.square()


def source_relation(
    source_logits: Float[np.ndarray, "items source_classes"], targets: Int[np.ndarray, " items"], n_classes: int
) -> Float[np.ndarray, "classes source_classes"]:
    """Which source classes items of each class look like: the mean of their calibrated source probabilities.

    That is p(source class | class) by the direct approach of co-tuning (You et al. 2020, NeurIPS).

    Args:
        source_logits: What the source classifier says before training.
        targets: The class of each item.
        n_classes: The number of classes; one without items has the mean of all.
    """
    scaled = _SHARPNESS * source_logits.astype(np.float64)
    likely = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    relation = np.tile(likely.mean(axis=0), (n_classes, 1))
    for target in np.unique(targets):
        relation[target] = likely[targets == target].mean(axis=0)
    return relation.astype(np.float32)
