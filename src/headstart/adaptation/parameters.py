"""What trains, at what rate, and what happens to it at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


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
