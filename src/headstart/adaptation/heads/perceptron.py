"""One hidden layer with dropout, trained on the leading directions of the features.

The layer is trained on at most 256 principal components: a step then costs the same whatever the width, and the
components are folded back into its weights at the end. They come from a randomised range finder (Halko et al. 2011,
arXiv:0909.4061), which uses no targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from headstart._randomness import generator
from headstart.adaptation.heads.forms import Perceptron

if TYPE_CHECKING:
    import torch

EVERY = 10
"""Steps between two looks at the items that are held out."""
_N_COMPONENTS = 256
_MORE = 20
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the layer is trained.

    Attributes:
        hidden: Its units.
        dropout: The share of them that each step leaves out, 0 to below 1.
        weight_decay: As of AdamW: what a weight loses in a step, per learning rate.
        learning_rate: Of AdamW, constant.
    """

    hidden: int
    dropout: float
    weight_decay: float
    learning_rate: float


def components(
    features: Float[np.ndarray, "items width"], *, seed: int
) -> tuple[Float[np.ndarray, "items components"], Float[np.ndarray, "width components"]]:
    """The features along their principal components, of mean square 1 together, and what to multiply features with.

    Args:
        features: Centred.
        seed: Of the range finder.
    """
    rank = min(_N_COMPONENTS + _MORE, *features.shape)
    start = generator(seed, "components").normal(size=(features.shape[1], rank)).astype(np.float32)
    found = np.linalg.qr(features @ start)[0]
    for _ in range(_ROUNDS):
        found = np.linalg.qr(features @ (features.T @ found))[0]
    axes = np.linalg.svd(found.T @ features, full_matrices=False)[2][:_N_COMPONENTS]
    along = features @ axes.T
    size = float(np.sqrt(np.mean(np.square(along))))
    basis = axes.T / (size if size > 0 else 1.0)
    return (features @ basis).astype(np.float32), basis.astype(np.float32)


def train(
    seen: Float[np.ndarray, "items components"],
    targets: Int[np.ndarray, " items"],
    unseen: Float[np.ndarray, "others components"],
    *,
    recipe: Recipe,
    steps: int,
    n_classes: int,
    seed: int,
) -> tuple[Float[np.ndarray, "looks others classes"], Perceptron]:
    """Train on all items at once, and look at others every `EVERY` steps and at the end.

    Args:
        seen: The training items.
        targets: The class of each.
        unseen: The items to look at.
        recipe: How to train.
        steps: How long.
        n_classes: The number of classes.
        seed: Of the first weights and of dropout.

    Returns:
        The logits of the others at each look, and the layer as it is at the end.
    """
    import torch
    from torch.nn import functional

    random = torch.Generator().manual_seed(seed)
    width, rows, others = seen.shape[1], torch.from_numpy(seen), torch.from_numpy(unseen)
    classes = torch.from_numpy(targets.astype(np.int64))
    weights = [
        _drawn(recipe.hidden, width, random),
        torch.zeros(recipe.hidden),
        _drawn(n_classes, recipe.hidden, random),
        torch.zeros(n_classes),
    ]
    for weight in weights:
        weight.requires_grad_()
    optimiser = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    looks = []
    kept = 1 - recipe.dropout
    for step in range(1, steps + 1):
        hidden = functional.relu(functional.linear(rows, weights[0], weights[1]))
        mask = torch.empty_like(hidden).bernoulli_(kept, generator=random) / kept
        loss = functional.cross_entropy(functional.linear(hidden * mask, weights[2], weights[3]), classes)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % EVERY == 0 or step == steps:
            with torch.no_grad():
                hidden = functional.relu(functional.linear(others, weights[0], weights[1]))
                looks.append(functional.linear(hidden, weights[2], weights[3]).numpy())
    return np.stack(looks), Perceptron(*(weight.detach().numpy() for weight in weights))


def _drawn(n_out: int, n_in: int, random: torch.Generator) -> torch.Tensor:
    """First weights that keep the size of what goes through rectified units (He et al. 2015, arXiv:1502.01852)."""
    import torch

    return torch.randn(n_out, n_in, generator=random).mul_((2 / n_in) ** 0.5)
