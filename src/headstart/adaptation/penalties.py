"""What is added to the loss so that weights do not move further than the data asks for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float


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
