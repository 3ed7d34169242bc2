"""Which module of a network takes what a convolution gives: found by running an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_TOLERANCE = 1e-3

Run = Callable[[Any], Sequence[Any]]
"""Sends an example through a network and returns every output that is kept."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What an example says of a network.

    Attributes:
        outputs: What running it returned.
        pairs: The names of convolutions and of the modules that take their outputs, where each runs once.
        shapes: What each convolution was given, by its name.
    """

    outputs: Sequence[Any]
    pairs: list[tuple[str, str]]
    shapes: dict[str, torch.Size]


def traced(network: Any, run: Run, follows: Callable[[Any], bool]) -> Trace:
    """Run an example, and see which module takes what a convolution gives.

    Args:
        network: In evaluation mode.
        run: Returns all outputs that are used later.
        follows: Whether a module is of the kind that is looked for behind a convolution.
    """
    names = {module: name for name, module in network.named_modules()}
    made_by: dict[int, tuple[str, torch.Tensor]] = {}  # holding the tensors keeps their ids unique
    found: list[tuple[str, str]] = []
    calls: Counter[str] = Counter()
    shapes: dict[str, torch.Size] = {}

    def after_convolution(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        shapes[names[module]] = inputs[0].shape
        calls[names[module]] += 1
        made_by[id(output)] = (names[module], output)

    def before_follower(module: torch.nn.Module, inputs: Any) -> None:
        calls[names[module]] += 1
        if id(inputs[0]) in made_by:
            found.append((made_by[id(inputs[0])][0], names[module]))

    hooks = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            hooks.append(module.register_forward_hook(after_convolution))
        elif follows(module):
            hooks.append(module.register_forward_pre_hook(before_follower))
    try:
        outputs = run(network)
    finally:
        for hook in hooks:
            hook.remove()
    behind = Counter(convolution for convolution, _ in found)
    once = [pair for pair in found if calls[pair[0]] == calls[pair[1]] == behind[pair[0]] == 1]
    return Trace(outputs, once, shapes)


def replace_module(network: Any, name: str, module: torch.nn.Module) -> None:
    """Put a module in the place of another.

    Args:
        network: Is changed.
        name: Of the other, with dots.
        module: What takes its place.
    """
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, module)


def same_outputs(new: Sequence[Any], old: Sequence[Any]) -> bool:
    """Whether outputs are tensors that agree to a thousandth of their length.

    Args:
        new: Of the changed network.
        old: Of the network as it was.
    """
    return all(_close(one, other) for one, other in zip(new, old, strict=True))


def _close(new: Any, old: Any) -> bool:
    if not (torch.is_tensor(new) and torch.is_tensor(old)):
        return False
    return bool((new - old).norm() <= _TOLERANCE * old.norm())
