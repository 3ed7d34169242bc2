"""Where a network runs and in which number format, decided without importing torch where that is possible."""

from __future__ import annotations

import functools
import os
import platform
import re
from pathlib import Path
from typing import Literal

from headstart._checks import did_you_mean
from headstart.errors import OptionError

Precision = Literal["bfloat16", "float32"]

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 with AVX512-BF16 or AMX; Arm with the BF16 extension
_DEVICES = ("auto", "cpu", "cuda", "mps")
_DRIVERS = ("/proc/driver/nvidia", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, and either within Windows' Linux


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively; elsewhere it is emulated and slower than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not cpuinfo.exists():
        return False
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    return flags is not None and bool(_BFLOAT16_FLAGS & set(flags[1].split()))


def _gpu_has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def pick_device(device: str = "auto") -> str:
    """The device that `auto` stands for, or the given one after a check.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1`, … or `mps`.

    Raises:
        OptionError: If the device is unknown or not there.
    """
    kind, _, number = device.partition(":")
    if kind not in _DEVICES or not (device in _DEVICES or (kind == "cuda" and number.isdecimal())):
        raise OptionError(
            f"the device must be auto, cpu, cuda, cuda:NUMBER or mps, but got {device!r}",
            hint=did_you_mean(device, _DEVICES),
        )
    if kind == "cpu":
        return "cpu"
    # Asking torch costs seconds, so `auto` asks only where the operating system shows a driver.
    may_have_gpu = platform.system() in {"Darwin", "Windows"} or any(Path(file).exists() for file in _DRIVERS)
    if kind == "auto" and (not may_have_gpu or os.environ.get("CUDA_VISIBLE_DEVICES") == ""):
        return "cpu"
    import torch

    if kind in {"auto", "cuda"} and torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count():
        return "cuda" if kind == "auto" else device
    if kind in {"auto", "mps"} and torch.backends.mps.is_available():
        return "mps"
    if kind == "auto":
        return "cpu"
    raise OptionError(f"the device {device!r} is not available on this machine", hint="Use --device cpu.")


def pick_precision(precision: str, device: str) -> Precision:
    """The number format that `auto` stands for on a device.

    Args:
        precision: `auto`, `bfloat16` or `float32`.
        device: As `pick_device` returned it.

    Raises:
        OptionError: If the precision is unknown.
    """
    if precision == "auto":
        fast = _gpu_has_bfloat16() if device.startswith("cuda") else device == "cpu" and cpu_has_bfloat16()
        return "bfloat16" if fast else "float32"
    if precision == "bfloat16":
        return "bfloat16"
    if precision == "float32":
        return "float32"
    raise OptionError(
        f"the precision must be auto, bfloat16 or float32, but got {precision!r}",
        hint=did_you_mean(precision, ["auto", "bfloat16", "float32"]),
    )
