"""Puts activations into the convolutions before them, and weights into the layout that the processor wants.

Plain calls bring the weights into that layout anew for each batch, and an activation reads and writes all maps once
more. This is what torch's compiler does, without the compiler, which takes a minute to start, and this a tenth of a
second. On two EPYC cores in float32 it takes 7 to 9 % off a batch of the starters, whose features stay the same to the
last bit (benchmarks/passes.py).
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from headstart.backbones.loaders._pairs import Run, Trace, replace_module, same_outputs, traced

_BATCH = 32  # that the layout is chosen for
_TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 1e-2}
"""Of the output's length: sums in another order, in as many layers as networks have."""


class _Convolution(torch.nn.Module):
    """One of oneDNN's, by the operators that torch's compiler calls (torch/_inductor/mkldnn_ir.py).

    Its weights are in a layout of the processor's: it cannot be copied, moved or saved.
    """

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
    """A network for inference on this processor whose convolutions apply the activation behind them.

    It shares with the given one what it does not replace, and neither is changed. Which module feeds which is found by
    running the example. Where outputs would change, activations stay where they are, and where that is not enough, or
    this processor or this torch cannot do it, the network is returned as it is.

    Args:
        network: In evaluation mode, where it is going to run.
        run: Returns all outputs that are used later.
    """
    plain = {name: each for name, each in network.named_modules() if _is_plain(each)}
    dtypes = {each.dtype for each in network.parameters()}
    if not plain or len(dtypes) > 1 or not _can_fuse(network) or not _has_operators(*dtypes):
        return network
    with torch.no_grad():
        found = traced(network, run, _is_clipping)
        for activations in (dict(found.pairs), {}):
            fused = _replaced(network, plain, activations, found)
            try:
                outputs = run(fused)
            except AttributeError:  # something looks into a convolution
                return network
            if same_outputs(outputs, found.outputs, tolerance=_TOLERANCES[next(iter(dtypes))]):
                return fused
    return network


def _replaced(network: Any, plain: Mapping[str, torch.nn.Conv2d], activations: Mapping[str, str], found: Trace) -> Any:
    """The network in a second frame, with convolutions of oneDNN's in the place of those that ran."""
    fused = copy.deepcopy(network, {id(each): each for each in (*network.parameters(), *network.buffers())})
    for name in plain.keys() & found.shapes.keys():
        activation = activations.get(name)
        behind = network.get_submodule(activation) if activation else None
        replace_module(fused, name, _Convolution(plain[name], behind, found.shapes[name]))
        if activation:
            replace_module(fused, activation, torch.nn.Identity())
    return fused


def _is_plain(module: torch.nn.Module) -> bool:
    """Whether it is a convolution that torch itself pads; some of timm's pad differently, or move their weights."""
    return type(module) is torch.nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _is_clipping(module: torch.nn.Module) -> bool:
    """Whether it is an activation that is the same before and after rounding."""
    return type(module) in (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.Hardtanh)


def _can_fuse(network: Any) -> bool:
    """Whether the network is on a processor that oneDNN is made for, and the user has not turned that off."""
    on_processor = all(each.device.type == "cpu" for each in network.parameters())
    return on_processor and platform.machine() in ("x86_64", "AMD64") and bool(torch.backends.mkldnn.enabled)


@cache
def _has_operators(dtype: torch.dtype) -> bool:
    """Whether this torch has the operators, which are not public, and this processor has them in such a precision."""
    if dtype not in _TOLERANCES:
        return False
    example = torch.ones(1, 8, 4, 4, dtype=dtype).contiguous(memory_format=torch.channels_last)
    plain = torch.nn.Conv2d(8, 8, 1, device="meta")
    plain.weight = torch.nn.Parameter(torch.ones(8, 8, 1, 1, dtype=dtype), requires_grad=False)
    plain.bias = None
    try:
        with torch.no_grad():
            return bool((_Convolution(plain, torch.nn.ReLU6(), example.shape)(example) == 6).all())
    except (AttributeError, RuntimeError, TypeError):
        return False
