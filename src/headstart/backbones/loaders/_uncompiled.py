"""Imports libraries of networks without torch's compiler, which takes longer to import than torch itself.

Nothing here compiles. But timm marks some functions for the compiler to leave alone, and torchvision asks which devices
it knows, both while they are imported, and either brings in all of it: four of the seven seconds before the first
picture.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo"
_UTILITIES = f"{_COMPILER}.utils"


class _StandIn(ModuleType):
    """Answers the one question; whoever asks another gets the compiler itself."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        """None is, so what asks computes as usual."""
        del device_type
        return False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_UTILITIES) is self:
            del sys.modules[_UTILITIES]
        return getattr(importlib.import_module(_UTILITIES), name)


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """While it is open, an import neither needs the compiler nor gets it, unless it was imported before."""
    if _COMPILER in sys.modules:
        yield
        return
    disable, stand_in = torch.compiler.disable, _StandIn(_UTILITIES)
    torch.compiler.disable = _unmarked
    sys.modules[_UTILITIES] = stand_in
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_UTILITIES) is stand_in:
            del sys.modules[_UTILITIES]


def _unmarked(fn: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """A function as it is, in the place of torch's mark."""
    return (lambda marked: marked) if fn is None else fn
