"""Packages that only some installations have."""

from __future__ import annotations

import importlib
from types import ModuleType

from headstart.errors import BackboneError, HeadstartError


def import_extra(module: str, *, extra: str, purpose: str, error: type[HeadstartError] = BackboneError) -> ModuleType:
    """Import a module that belongs to an extra.

    Args:
        module: The module's name.
        extra: The extra of headstart that installs it.
        purpose: What it is needed for, in a few words.
        error: The error to raise; its words are the same for each.

    Raises:
        HeadstartError: If it is not installed; the hint has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise error(
            f"{purpose} needs the package {module!r}, which is not installed",
            hint=f"Run: pip install 'headstart[{extra}]'",
        ) from missing
