"""What trains, at what rate, and what happens to it at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

Trains = Literal["all", "biases", "one", "adapters"]
"""What moves above a cut; see `FineTune`."""


def keep_asking(network: torch.nn.Module, stages: Sequence[torch.nn.Module], trains: Trains) -> None:
    """Let fewer parameters ask for a gradient; those that did not ask before do not ask now.

    Args:
        network: Whose parameters ask.
        stages: Parts of it, lowest first.
        trains: `biases` keeps biases and norms (BitFit, Ben Zaken et al. 2021, arXiv:2106.10199); `one` keeps the
            lowest stage (surgical fine-tuning, Lee et al. 2022, arXiv:2210.11466); anything else keeps all.
    """
    if trains == "biases":
        small = {
            id(parameter)
            for module in network.modules()
            for name, parameter in module.named_parameters(recurse=False)
            if name == "bias" or "norm" in type(module).__name__.lower()
        }
    elif trains == "one":
        small = {id(parameter) for parameter in stages[0].parameters()}
    else:
        return
    for parameter in network.parameters():
        parameter.requires_grad = parameter.requires_grad and id(parameter) in small


class Ladder:
    """Stages that are released one after the other, the highest first (ULMFiT, Howard and Ruder 2018, 1801.06146).

    What lies outside the stages is always free, and so is the highest stage with something to train.
    """

    def __init__(self, stages: Sequence[torch.nn.Module], every: int) -> None:
        """Remember what asks for a gradient now.

        Args:
            stages: Lowest first.
            every: Epochs after which the next one is released; 0 releases all at once.
        """
        asking = [[each for each in stage.parameters() if each.requires_grad] for stage in reversed(stages)]
        self._steps, self._every = [step for step in asking if step], every

    def release(self, epoch: int) -> None:
        """Let those parameters ask for a gradient that may be trained in an epoch, and no others.

        Args:
            epoch: Counted from 0.
        """
        for height, step in enumerate(self._steps):
            for parameter in step:
                parameter.requires_grad = height * self._every <= epoch


def parameter_groups(
    network: torch.nn.Module,
    head: torch.nn.Module,
    stages: Sequence[torch.nn.Module],
    *,
    lr: float,
    stage_decay: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Groups for an optimiser, each with its highest rate as `lr` and again as `peak_lr`.

    Each stage learns `stage_decay` times as fast as the one above it (ULMFiT's discriminative rates); the head and what
    lies outside the stages learn at the full rate. Biases and norms, which have one dimension, do not decay.

    Args:
        network: Of which the parameters that ask for a gradient are taken.
        head: All of which is trained.
        stages: Parts of the network, lowest first.
        lr: The highest rate of the head.
        stage_decay: In (0, 1]; 1 for one rate everywhere.
        weight_decay: As AdamW means it.
    """
    depth = {id(parameter): above for above, stage in enumerate(reversed(stages)) for parameter in stage.parameters()}
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for parameter in (*network.parameters(), *head.parameters()):
        if parameter.requires_grad:
            rate, decays = lr * stage_decay ** depth.get(id(parameter), 0), parameter.ndim > 1
            decay = weight_decay if decays else 0.0
            new = {"params": [], "lr": rate, "peak_lr": rate, "weight_decay": decay}
            groups.setdefault((rate, decays), new)["params"].append(parameter)
    return list(groups.values())


def train_mode(network: torch.nn.Module) -> None:
    """Training mode, but BatchNorm keeps the statistics of its pretraining: a few small batches have worse ones.

    Args:
        network: Whose dropout becomes active.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def interpolate(weights: Mapping[str, torch.Tensor], start: Mapping[str, torch.Tensor], share: float) -> None:
    """Move weights back towards where they started, in place: (1 − share) · start + share · trained (WiSE-FT).

    Args:
        weights: The trained weights by name.
        start: Where each started.
        share: 1 leaves them as they are, 0 undoes the training.
    """
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(torch.lerp(start[name].to(weight), weight, share))
