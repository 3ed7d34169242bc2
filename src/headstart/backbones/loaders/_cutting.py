"""Runs a network up to a module, or from it on, whatever lies around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")
_INPUT = "hidden_states"  # what transformers calls it where it is no positional argument


class _Reached(Exception):  # noqa: N818 - it is caught a few lines below
    def __init__(self, activations: torch.Tensor) -> None:
        super().__init__()
        self.activations = activations


def input_of(module: torch.nn.Module, run: Callable[[], object]) -> torch.Tensor:
    """What a module is given; the network runs no further.

    Args:
        module: Part of the network.
        run: Sends something through the network; the module must be reached.

    Raises:
        RuntimeError: If it is not.
    """

    def stop(_: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Reached(inputs[0] if inputs else named[_INPUT])

    hook = module.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        run()
    except _Reached as reached:
        return reached.activations
    finally:
        hook.remove()
    raise RuntimeError("the network does not run this module")


def with_input(module: torch.nn.Module, activations: torch.Tensor, run: Callable[[], Result]) -> Result:
    """What a network returns when a module is given something else than it would be.

    Args:
        module: Part of the network.
        activations: What it is given.
        run: Sends something through the network.
    """

    def put(_: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        return ((activations, *inputs[1:]), named) if inputs else (inputs, {**named, _INPUT: activations})

    hook = module.register_forward_pre_hook(put, with_kwargs=True)
    try:
        return run()
    finally:
        hook.remove()
