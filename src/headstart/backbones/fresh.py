"""A backbone's network as nobody has trained it: what a result is worth without the pretrained weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float

from headstart._randomness import generator
from headstart.backbones.backbone import Batch
from headstart.backbones.loaders import loader
from headstart.backbones.resolve import Local
from headstart.errors import BackboneError


@dataclass(frozen=True, eq=False)
class Fresh:
    """A network with random weights, in float32.

    Attributes:
        network: Holds its parameters, which all ask for a gradient.
        last: From prepared items to the layer `last`, in the mode of `network`; gradients flow back through it.
    """

    network: torch.nn.Module
    last: Callable[[Batch], Float[torch.Tensor, "items width"]]


def can_be_fresh(local: Local) -> bool:
    """Whether the library of a backbone can make its network anew.

    Args:
        local: Files on this disk.
    """
    return hasattr(loader(local.spec.loader), "fresh")


def fresh(local: Local, *, seed: int, device: str = "cpu") -> Fresh:
    """The network of a backbone with the random weights that its library gives a new one; no weights are read.

    Args:
        local: Files on this disk.
        seed: Of the weights, 0 or greater; the same on every device.
        device: As from `pick_device`.

    Raises:
        BackboneError: If the library cannot make the network anew.
    """
    make: Any = getattr(loader(local.spec.loader), "fresh", None)
    if make is None:
        raise BackboneError(
            f"{local.spec.name!r} cannot be trained from scratch, because its network comes with its weights",
            hint="Choose a network of timm, torchvision or transformers, or the quick control.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "fresh").integers(2**63)))
        made: Fresh = make(local.spec, local.folder, device)
    made.network.train().requires_grad_(requires_grad=True)
    return made
