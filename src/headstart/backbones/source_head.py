"""The classifier that a backbone was pretrained with: what it makes of new data shows how near the data is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from safetensors.numpy import load

from headstart.errors import BackboneError

SOURCE_HEAD = "source_head.safetensors"


@dataclass(frozen=True, eq=False)
class SourceHead:
    """A linear classifier on the `last` layer of its backbone.

    Attributes:
        weight: One row a class of the source.
        bias: One number a class of the source.
    """

    weight: Float32[np.ndarray, "classes width"]
    bias: Float32[np.ndarray, " classes"]

    def logits(self, last_features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items classes"]:
        """What the complete network would answer, before its softmax.

        Args:
            last_features: Of the layer `last` alone.
        """
        return np.asarray(last_features @ self.weight.T + self.bias)


def read_source_head(file: Path, name: str) -> SourceHead:
    """The classifier in a file.

    Args:
        file: `source_head.safetensors`, verified.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If it cannot be read.
    """
    try:
        tensors = load(file.read_bytes())
        return SourceHead(tensors["weight"], tensors["bias"])
    except (OSError, KeyError, SafetensorError) as error:
        raise BackboneError(
            f"the source classifier of {name!r} cannot be read: {error}", hint=f"Remove {file.parent} and try again."
        ) from error
