"""Reads weights for every loader, with one sentence for every way in which a file can be broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from headstart.errors import BackboneError


def read_weights(file: Path, name: str) -> dict[str, Any]:
    """The tensors of a safetensors file by name.

    Args:
        file: The file.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If it cannot be read or is damaged.
    """
    try:
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise BackboneError(
            f"the weights of {name!r} are no readable safetensors file: {error}", hint="Fetch or save them again."
        ) from error
