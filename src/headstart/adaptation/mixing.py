"""Two items made one: activations of a batch are mixed with those of the same batch in another order.

Mixed where a network is cut, this is manifold mixup at one layer (Verma et al. 2018, arXiv:1806.05236). Random numbers
are those of torch, which the loop seeds for each epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from headstart.errors import OptionError


@dataclass(frozen=True, eq=False)
class Mixed:
    """A batch that was mixed.

    Attributes:
        activations: As given, each with its partner in it.
        partner: The position of what was mixed into each item.
        share: How much of each is the item itself, from 0 to 1; the rest is its partner.
    """

    activations: Float[torch.Tensor, "items ..."]
    partner: Int[torch.Tensor, " items"]
    share: float


def mix(activations: Float[torch.Tensor, "items ..."], *, mixup: float, cutmix: float) -> Mixed:
    """Mix a batch; where both ways are asked for, one of them is drawn.

    Args:
        activations: Of images at a cut; for cutmix these are maps: items × height × width × channels.
        mixup: The share is drawn from Beta(mixup, mixup) (Zhang et al. 2017, arXiv:1710.09412); 0 for none.
        cutmix: The same for a box that is cut out and replaced (Yun et al. 2019, arXiv:1905.04899); 0 for none.

    Raises:
        OptionError: If a box is to be cut out of what is no map.
    """
    if cutmix and activations.ndim != 4:
        raise OptionError(
            "cutmix must have maps to cut a box out of, but this network passes on tokens",
            hint="Use mixup, which fits any network for images, or a convolutional one.",
        )
    cuts = bool(cutmix) and (not mixup or bool(torch.rand(()) < 0.5))
    alpha = cutmix if cuts else mixup
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    partner = torch.randperm(len(activations)).to(activations.device)
    if not cuts:
        return Mixed(torch.lerp(activations[partner], activations, share), partner, share)
    height, width = activations.shape[1:3]
    rows, columns = _span(height, math.sqrt(1 - share)), _span(width, math.sqrt(1 - share))
    mixed = activations.clone()
    mixed[:, rows, columns] = activations[partner][:, rows, columns]
    covered = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mixed(mixed, partner, 1 - covered / (height * width))


def _span(length: int, part: float) -> slice:
    """So much of a side around a random centre; what sticks out is cut off, as in the paper."""
    half, centre = round(length * part) / 2, int(torch.randint(length, ()))
    return slice(max(0, math.ceil(centre - half)), min(length, math.ceil(centre + half)))
