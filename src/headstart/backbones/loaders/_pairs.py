"""Which module of a network takes what a convolution gives: found by running an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Run = Callable[[Any], Sequence[Any]]
"""Sends an example through a network and returns every output that is kept."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What an example says of a network.

    Attributes:
        outputs: What running it returned.
        pairs: The names of convolutions and of the modules that take their outputs, where each runs once.
        shapes: Of what each convolution was given, by its name.
    """

    outputs: Sequence[Any]
    pairs: list[tuple[str, str]]
    shapes: dict[str, torch.Size]


def traced(network: Any, run: Run, follows: Callable[[Any], bool]) -> Trace:
    """Run an example, and see which module takes what a convolution gives. Not in `inference_mode`: see `_version`.

    Args:
        network: In evaluation mode.
        run: Returns all outputs that are used later.
        follows: Whether a module is of the kind that is looked for behind a convolution.
    """
    names = {module: name for name, module in network.named_modules()}
    made_by: dict[int, tuple[str, torch.Tensor, int]] = {}  # holding the tensors keeps their ids unique
    found: list[tuple[str, str]] = []
    calls: Counter[str] = Counter()
    shapes: dict[str, torch.Size] = {}

    def after_convolution(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        calls[names[module]] += 1
        if inputs:
            shapes[names[module]] = inputs[0].shape
        made_by[id(output)] = (names[module], output, output._version)

    def before_follower(module: torch.nn.Module, inputs: Any) -> None:
        calls[names[module]] += 1
        maker, made, version = made_by.get(id(inputs[0]), ("", None, 0)) if inputs else ("", None, 0)
        # One that was written into since, as a shortcut is added in place, is no longer what the convolution gave.
        if made is not None and made._version == version:
            found.append((maker, names[module]))

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


def same_outputs(new: Sequence[Any], old: Sequence[Any], *, tolerance: float) -> bool:
    """Whether outputs are tensors that agree.

    Args:
        new: Of the changed network.
        old: Of the network as it was.
        tolerance: How long the difference may be for an output of length 1.
    """
    return all(_close(one, other, tolerance) for one, other in zip(new, old, strict=True))


def _close(new: Any, old: Any, tolerance: float) -> bool:
    if not (torch.is_tensor(new) and torch.is_tensor(old)):
        return False
    return bool((new.float() - old.float()).norm() <= tolerance * old.float().norm())
