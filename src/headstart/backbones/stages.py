"""A backbone in two parts: what stays frozen runs once for each item, what is trained runs in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from headstart.backbones.backbone import Batch
from headstart.backbones.loaders import can_be_cut, loader
from headstart.backbones.precision import Precision
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec
from headstart.errors import BackboneError, OptionError

_ROUNDING = {"float32": 1e-4, "bfloat16": 3e-2}  # relative: sums in another order; folded norms

Activations = Float[torch.Tensor, "items ..."]
"""What flows over the cut: items × height × width × channels, or items × tokens × width, padded at the end."""
Lengths = Int[torch.Tensor, " items"]
"""How many tokens each text has; images have none."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A network that is cut below one of its stages.

    Attributes:
        lower: From prepared items to activations, frozen and in evaluation mode.
        upper: From activations to the layer `last`, in the mode of `network`.
        whole: From prepared items to the layer `last` without a cut, in evaluation mode.
        network: Holds the parameters of `upper`, in float32; those that can be trained ask for a gradient.
        stages: The stages above the cut, lowest first. What is in none of them, such as a last norm, counts to the
            highest.
        save: Writes the complete network with its present weights as the loader reads it.
    """

    lower: Callable[[Batch], tuple[Activations, Lengths | None]]
    upper: Callable[[Activations, Lengths | None], Float[torch.Tensor, "items width"]]
    whole: Callable[[Batch], Float[torch.Tensor, "items width"]]
    network: torch.nn.Module
    stages: tuple[torch.nn.Module, ...]
    save: Callable[[Path], None]

    @property
    def trained(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that ask for a gradient, by name."""
        return {name: each for name, each in self.network.named_parameters() if each.requires_grad}


def cut(local: Local, n_stages: int | None, *, device: str = "cpu", precision: Precision = "float32") -> Cut:
    """Load a backbone in two parts.

    The two are tried on an example: together they must give what the whole network gives, and a parameter is trained
    if a gradient reaches it.

    Args:
        local: Files on this disk.
        n_stages: How many stages lie above the cut, from 1 to all, or None for all; what comes before the first one is
            never trained.
        device: As from `pick_device`.
        precision: What the lower part computes in.

    Raises:
        OptionError: If the network has fewer stages.
        BackboneError: If networks of this kind cannot be cut.
    """
    spec = local.spec
    if not can_be_cut(spec):
        raise _uncuttable(spec)
    make: Any = loader(spec.loader)
    made: Cut = make.cut(spec, local.folder, n_stages, device, precision)
    example = _example(spec)
    made.network.eval()
    for parameter in made.network.parameters():
        parameter.requires_grad = True
    expected = made.whole(example).float()
    try:
        last = made.upper(*made.lower(example))
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _uncuttable(spec) from error
    if last.shape != expected.shape or not (last - expected).norm() <= _ROUNDING[precision] * expected.norm():
        raise _uncuttable(spec)
    last.sum().backward()  # type: ignore[no-untyped-call]
    for parameter in made.network.parameters():
        parameter.requires_grad = parameter.grad is not None
        parameter.grad = None
    return made


def boundary(names: list[str], n_stages: int | None, spec: BackboneSpec) -> int:
    """The position of the lowest stage above the cut.

    Args:
        names: All stages, lowest first.
        n_stages: How many are to be trained; None for all.
        spec: Of the backbone, for the message.

    Raises:
        OptionError: If there are fewer.
        BackboneError: If there are none.
    """
    if not names:
        raise _uncuttable(spec)
    if n_stages is None:
        return 0
    if not 1 <= n_stages <= len(names):
        raise OptionError(
            f"the number of trained stages of {spec.name!r} must be from 1 to {len(names)}, but got {n_stages}",
            hint="Train fewer stages: the last ones matter most.",
        )
    return len(names) - n_stages


def _uncuttable(spec: BackboneSpec) -> BackboneError:
    """The error for a network that has no stages which could be run on their own."""
    return BackboneError(
        f"the weights of {spec.name!r} cannot be moved, because {spec.architecture!r} cannot be run in two parts",
        hint="Choose a network of timm for images, an encoder of transformers for texts, or the strategy linear.",
    )


def _example(spec: BackboneSpec) -> Batch:
    if spec.image is None:
        return ["one text", "and another one, which is a little longer"]
    size = spec.image.size_px
    return np.linspace(0, 255, 2 * size * size * 3).reshape(2, size, size, 3).astype(np.uint8)
