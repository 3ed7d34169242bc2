"""Where a training is, as one file of safetensors: a kill between writing two files cannot tear them apart."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from headstart._records import from_json, to_json
from headstart.adaptation.epochs import Epoch
from headstart.errors import OptionError, OutputError

Tensors = dict[str, torch.Tensor]
_RECORD = "headstart.training/1"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a training is. Random numbers and rates follow from it, so they need not be kept.

    Attributes:
        identity: What is trained on what and how, as hashes by name.
        epochs: Those that are done.
        rate: What all rates are multiplied by: 1, and less after the loss has diverged.
    """

    identity: dict[str, str]
    epochs: tuple[Epoch, ...] = ()
    rate: float = 1.0


def snapshot(weights: Mapping[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer) -> Tensors:
    """A copy of what is trained and of what the optimiser remembers of it.

    Args:
        weights: By name.
        optimiser: Of exactly these weights.
    """
    tensors = {f"weight/{name}": weight.detach().clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        tensors |= {f"{key}/{name}": torch.as_tensor(value).clone() for key, value in optimiser.state[weight].items()}
    return tensors


def restore(tensors: Tensors, weights: Mapping[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer) -> None:
    """Put back what `snapshot` copied.

    Args:
        tensors: From `snapshot` or `read`.
        weights: By the same names.
        optimiser: Of these weights.
    """
    optimiser.state.clear()
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "weight":
            with torch.no_grad():
                weights[name].copy_(tensor)
        else:
            # AdamW counts its steps on the CPU, wherever the weights are.
            device = tensor.device if kind == "step" else weights[name].device
            optimiser.state[weights[name]][kind] = tensor.to(device, copy=True)


def write(file: Path, tensors: Tensors, position: Position) -> None:
    """Replace a checkpoint in one step; when that fails, the one before stays.

    Args:
        file: Where.
        tensors: From `snapshot`.
        position: Where the training is.

    Raises:
        OutputError: If it cannot be written.
    """
    new = file.with_suffix(f".{os.getpid()}")
    try:
        save_file(tensors, new, metadata={_RECORD: to_json(position, indent=0)})
        new.replace(file)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"the training cannot be kept in {str(file)!r}: {error}",
            hint="Make room and start again: it goes on from the last epoch that was kept.",
        ) from error
    finally:
        new.unlink(missing_ok=True)


def read(file: Path, identity: dict[str, str]) -> tuple[Tensors, Position] | None:
    """The checkpoint in a file, or None where there is none.

    Args:
        file: What `write` wrote.
        identity: What is to be trained now.

    Raises:
        OptionError: If the file is damaged, or belongs to a training of something else; the message says of what.
    """
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            position = from_json((opened.metadata() or {})[_RECORD], Position)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise OptionError(
            f"the training in {str(file)!r} cannot be read: {error}",
            hint="Remove the file to start from the beginning.",
        ) from error
    differs = [name for name in identity if position.identity.get(name) != identity[name]]
    if differs:
        raise OptionError(
            f"the training in {str(file)!r} is one with other {' and '.join(differs)}",
            hint="Remove the file to start from the beginning, or start again what was begun.",
        )
    return tensors, position
