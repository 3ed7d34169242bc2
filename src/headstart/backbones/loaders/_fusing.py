"""Puts activations into the convolutions before them, and weights into the layout that the processor wants.

Plain calls bring the weights into that layout anew for each batch, and an activation reads and writes all maps once
more. This is what torch's compiler does, without the compiler, which takes a minute to start, and this a tenth of a
second. On two EPYC cores in float32 it takes 7 to 9 % off a batch of the starters, whose features stay the same to the
last bit (benchmarks/passes.py).
"""

from __future__ import annotations

import copy
import platform
from typing import Any

import torch

from headstart.backbones.loaders._pairs import Run, replace_module, same_outputs, traced

_BATCH = 32  # that the layout is chosen for


class _Convolution(torch.nn.Module):
    """One of oneDNN's, by the operators that torch's compiler calls (torch/_inductor/mkldnn_ir.py)."""

    def __init__(self, plain: torch.nn.Conv2d, activation: torch.nn.Module | None, shape: torch.Size) -> None:
        super().__init__()
        self._where = [[*plain.padding], [*plain.stride], [*plain.dilation], plain.groups]
        self._bias = None if plain.bias is None else plain.bias.detach()
        self._kind, self._limits = "none", list[float]()
        if isinstance(activation, torch.nn.Hardtanh):  # ReLU6 is one
            self._kind, self._limits = "hardtanh", [activation.min_val, activation.max_val]
        elif activation is not None:
            self._kind = "relu"
        size = [_BATCH, *shape[1:]]
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(plain.weight.detach(), *self._where, size)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            *(maps, self._weight, self._bias, *self._where, self._kind, self._limits, "")
        )
        return found


def fuse_activations(network: Any, run: Run) -> Any:
    """A copy of a network for inference on this processor whose convolutions apply the activation behind them.

    Which module feeds which is found by running the example. Where this processor or this torch cannot do it, or any
    output would change, the network is returned as it is.

    Args:
        network: In evaluation mode, where it is going to run.
        run: Returns all outputs that are used later.
    """
    if not _can_fuse(network):
        return network
    with torch.inference_mode():
        found = traced(network, run, _is_clipping)
        activations, fused = dict(found.pairs), copy.deepcopy(network)
        try:
            for name, shape in found.shapes.items():
                if not _is_plain(plain := network.get_submodule(name)):
                    continue
                activation = activations.get(name)
                behind = network.get_submodule(activation) if activation else None
                replace_module(fused, name, _Convolution(plain, behind, shape))
                if activation:
                    replace_module(fused, activation, torch.nn.Identity())
            return fused if same_outputs(run(fused), found.outputs) else network
        except (AttributeError, RuntimeError, TypeError):  # another torch, or another processor
            return network


def _is_plain(module: torch.nn.Module) -> bool:
    """Whether it is a convolution that torch itself pads; some of timm's pad differently, or move their weights."""
    return type(module) is torch.nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _is_clipping(module: torch.nn.Module) -> bool:
    """Whether it is an activation that is the same before and after rounding."""
    return type(module) in (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.Hardtanh)


def _can_fuse(network: Any) -> bool:
    on_processor = all(each.device.type == "cpu" for each in network.parameters())
    return on_processor and platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
