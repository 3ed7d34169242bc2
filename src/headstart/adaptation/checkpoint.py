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
class Plan:
    """How the schedule goes on, so that it comes to its end with the last epoch that there is time for.

    Attributes:
        last: How many epochs there will be; a part of one, if there is time for no more.
        since: How many were done when this was planned.
        share: The share of the schedule that was done then.
    """

    last: float
    since: int = 0
    share: float = 0.0

    def done(self, epochs: float) -> float:
        """The share of the schedule that is done after so many epochs.

        Args:
            epochs: From `since` to `last`.
        """
        return min(1.0, self.share + (1 - self.share) * (epochs - self.since) / (self.last - self.since))


@dataclass(frozen=True, slots=True)
class Position:
    """How far a training is. Random numbers and rates follow from it, so they need not be kept.

    Attributes:
        identity: What is trained on what and how, as hashes by name.
        epochs: Those that are done.
        rate: What all rates are multiplied by: 1, and less after the loss has diverged.
        steps: Those that are done.
        pieces: In how many pieces each batch is computed.
        plan: How the schedule goes; a training that is taken up is planned anew.
        notes: What went wrong on the way.
    """

    identity: dict[str, str]
    epochs: tuple[Epoch, ...] = ()
    rate: float = 1.0
    steps: int = 0
    pieces: int = 1
    notes: tuple[str, ...] = ()
    plan: Plan | None = None


def snapshot(weights: Mapping[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer, averages: Tensors) -> Tensors:
    """A copy of what is trained and of what is remembered of it, by kind and name.

    Args:
        weights: By name.
        optimiser: Of exactly these weights.
        averages: Of these weights, or nothing.
    """
    tensors = named(copies(weights), "weight") | named(copies(averages), "average")
    for name, weight in weights.items():
        tensors |= {f"{key}/{name}": torch.as_tensor(value).clone() for key, value in optimiser.state[weight].items()}
    return tensors


def restore(
    tensors: Tensors, weights: Mapping[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer, averages: Tensors
) -> None:
    """Put back what `snapshot` copied.

    Args:
        tensors: From `snapshot` or `read`; the `best` weights are left alone.
        weights: By the same names.
        optimiser: Of these weights.
        averages: Of these weights, or nothing; they are written to.
    """
    optimiser.state.clear()
    # Steps are counted on the CPU, wherever the weights are, unless the optimiser is fused.
    at_weights = {
        parameter: bool(group.get("fused") or group.get("capturable"))
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assign(weights, of_kind(tensors, "weight"))
    assign(averages, of_kind(tensors, "average"))
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind in ("weight", "average", "best"):
            continue
        weight = weights[name]
        if kind == "step":
            optimiser.state[weight][kind] = tensor.to(weight.device if at_weights[weight] else "cpu", copy=True)
        elif tensor.shape == weight.shape:
            # In the weight's own order in memory, which a file does not keep and a fused optimiser relies on.
            optimiser.state[weight][kind] = torch.empty_like(weight, dtype=tensor.dtype).copy_(tensor)
        else:
            optimiser.state[weight][kind] = tensor.to(weight.device, copy=True)


def named(tensors: Mapping[str, torch.Tensor], kind: str) -> Tensors:
    """Tensors with names that say of what kind they are.

    Args:
        tensors: By name.
        kind: What `of_kind` takes.
    """
    return {f"{kind}/{name}": tensor for name, tensor in tensors.items()}


def of_kind(tensors: Tensors, kind: str) -> Tensors:
    """The tensors of one kind, by their plain names.

    Args:
        tensors: Among others those of `named`.
        kind: Which.
    """
    return {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{kind}/")}


def copies(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Copies that need no gradient.

    Args:
        tensors: By name.
    """
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def assign(into: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    """Write values into tensors that are there.

    Args:
        into: By name.
        values: By the same names.
    """
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(values[name])


def write(file: Path, tensors: Tensors, position: Position) -> None:
    """Replace a checkpoint in one step; when that fails, the one before stays.

    Args:
        file: Where.
        tensors: From `snapshot`, and what `named` calls `best`.
        position: Where the training is.

    Raises:
        OutputError: If it cannot be written.
    """
    new = file.with_suffix(f".{os.getpid()}")
    try:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, new, metadata={_RECORD: to_json(position, indent=0)})
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
