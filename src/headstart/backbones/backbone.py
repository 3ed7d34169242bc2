"""The contract of a loaded backbone."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float32

from headstart.backbones.spec import BackboneSpec

Batch = np.ndarray | list[str]
"""Prepared items: images as a uint8 array (items × height × width × 3), texts as they are."""


class Backbone(Protocol):
    """A pretrained network that is ready to run.

    Guarantees: frozen and in evaluation mode; the result of an item does not depend on the rest of its batch beyond
    rounding; it never touches the network; not safe for several threads at once.
    """

    @property
    def spec(self) -> BackboneSpec:
        """What it is."""

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch: all layers of the spec, side by side in its order."""
