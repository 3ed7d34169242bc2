"""What makes features what they are: two matrices may be mixed only when their namespaces are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from headstart._checks import did_you_mean
from headstart._fingerprint import fingerprint
from headstart.errors import OptionError
from headstart.features._encoding import decode, encode

__all__ = ["Dtype", "Namespace"]

Dtype = Literal["bfloat16", "float32"]


@dataclass(frozen=True)
class Namespace:
    """The identity of one kind of features.

    Attributes:
        weights_sha256: Of the file with the backbone's weights.
        preprocessing: All that happens to an item before the backbone sees it, as JSON-able values.
        layers: Name and width of each layer whose output is kept; a row holds them side by side in this order.
        dtype: What the backbone computes in, and what the store keeps; rows are always given back as float32.
        view: `plain`, or the name of an augmented view.
        backbone: What people call the backbone. It is no part of the identity.
    """

    weights_sha256: str
    preprocessing: Mapping[str, object] = field(hash=False)
    layers: tuple[tuple[str, int], ...]
    dtype: Dtype
    view: str = "plain"
    backbone: str = ""

    def __post_init__(self) -> None:
        """Check the two fields on which the layout of a row depends.

        Raises:
            OptionError: If the dtype is unknown, there is no layer, or a layer has no width.
        """
        if self.dtype not in get_args(Dtype):
            raise OptionError(
                f"the dtype of features must be bfloat16 or float32, but got {self.dtype!r}",
                hint=did_you_mean(self.dtype, get_args(Dtype)),
            )
        if not self.layers or any(width < 1 for _, width in self.layers):
            raise OptionError(
                f"features need at least one layer, each at least 1 wide, but got {self.layers!r}",
                hint="Give (name, width) for each layer.",
            )

    @property
    def id(self) -> str:
        """The fingerprint of all but the backbone's name."""
        return fingerprint([self.weights_sha256, self.preprocessing, self.layers, self.dtype, self.view])

    @property
    def width(self) -> int:
        """How many numbers one row has: the widths of the layers together."""
        return sum(width for _, width in self.layers)

    def rounded(self, rows: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows width"]:
        """The rows as a store gives them back: rounded to `dtype` (half to even), held in float32.

        Use these after computing, so that the first run and later ones see the same numbers.
        """
        return decode(encode(rows, self.dtype), self.dtype)
