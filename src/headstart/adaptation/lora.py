"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685), by peft: W + 2·BA, of which B and A are trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from headstart._randomness import generator
from headstart.errors import BackboneError

_SCALE = 2  # peft's alpha over the rank


def adapt(network: torch.nn.Module, stages: Sequence[torch.nn.Module], name: str, *, rank: int, seed: int) -> None:
    """Put adapters beside the linear layers of stages; they alone ask for a gradient then.

    Args:
        network: Changed in place, until `merge`.
        stages: Parts of it.
        name: What the backbone is called, for the message.
        rank: The rows of A; no more than a layer has are made.
        seed: Of A; B is 0, so that nothing changes before training.

    Raises:
        BackboneError: If the stages have no linear layer.
    """
    inside = {id(module) for stage in stages for module in stage.modules()}
    layers = [
        each
        for each, module in network.named_modules()
        if type(module) is torch.nn.Linear and id(module) in inside and module.weight.requires_grad
    ]
    if not layers:
        raise BackboneError(
            f"adapters need linear layers to stand beside, but the trained stages of {name!r} have none",
            hint="Choose a vision transformer or a network for texts; for a convolutional one use trains=biases.",
        )
    import peft  # takes seconds, which others than adapters need not

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "adapters").integers(2**63)))
        peft.inject_adapter_in_model(peft.LoraConfig(r=rank, lora_alpha=_SCALE * rank, target_modules=layers), network)


def changes(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What the adapters add to each weight, with a gradient, by name.

    Args:
        network: With adapters.
    """
    return {name: module.get_delta_weight("default") for name, module in _adapted(network)}


def merge(network: torch.nn.Module) -> None:
    """Add what the adapters learnt to the weights and take the adapters out: it is an ordinary network again.

    Args:
        network: With adapters; changed in place.
    """
    for name, module in _adapted(network):
        module.merge()
        network.set_submodule(name, module.get_base_layer())


def _adapted(network: torch.nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in network.named_modules() if hasattr(module, "lora_A")]
