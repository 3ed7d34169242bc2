"""What one item costs: the order in which backbones are tried, and the prediction of time, hang on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def counted(run: Callable[[], Result]) -> tuple[Result, float]:
    """What a function returns, and the billions of multiply–adds that it took.

    `torch.utils.flop_counter` counts matrix products, convolutions and attention, and two operations for each
    multiply–add.

    Args:
        run: Sends one item through a network on the CPU.
    """
    from torch.utils.flop_counter import FlopCounterMode  # with triton: only a backbone that is new needs it

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        result = run()
    return result, counter.get_total_flops() / 2e9
