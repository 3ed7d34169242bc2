"""What adaptation hands over: features in, probabilities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float64

from headstart.adaptation.heads.forms import Head
from headstart.evaluation.calibration import softmax
from headstart.features.extract import Features

_ROWS = 512


@dataclass(frozen=True, slots=True)
class Part:
    """A block of columns that a head sees.

    Attributes:
        backbone: The name of the backbone.
        layer: The name of one of its layers.
    """

    backbone: str
    layer: str


def side_by_side(features: Mapping[str, Features], parts: Sequence[Part]) -> Float[np.ndarray, "items width"]:
    """The columns of several layers, also of several backbones, in the order of the parts.

    Args:
        features: By the name of the backbone.
        parts: What to take.
    """
    blocks = [features[part.backbone].layer(part.layer) for part in parts]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


class AnyPredictor(Protocol):
    """What becomes a model: one head, or the average of several."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the columns of its answers."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The layers that it sees, each once."""

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones that it needs, each once."""

    @property
    def members(self) -> tuple[tuple[Predictor, float], ...]:
        """The heads behind it, each with its share in the answer; the shares sum to 1."""

    def probabilities(self, features: Mapping[str, Features]) -> Float64[np.ndarray, "items classes"]:
        """The probability of each class for each item.

        Args:
            features: By the name of the backbone; every row must be there.
        """


@dataclass(frozen=True, eq=False)
class Predictor:
    """A head on raw features: whatever scaling it was fitted with is part of it.

    Attributes:
        classes: The class names, in the order of the columns of its answers.
        parts: What it sees.
        head: What turns that into logits.
        temperature: What logits are divided by before the softmax, fitted out-of-fold.
    """

    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    head: Head
    temperature: float

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones that it needs, each once."""
        return tuple(dict.fromkeys(part.backbone for part in self.parts))

    @property
    def members(self) -> tuple[tuple[Predictor, float], ...]:
        """Itself alone."""
        return ((self, 1.0),)

    def probabilities(self, features: Mapping[str, Features]) -> Float64[np.ndarray, "items classes"]:
        """The probability of each class for each item.

        Args:
            features: By the name of the backbone; every row must be there.
        """
        n_items = len(features[self.parts[0].backbone].values)
        # Block by block, because all rows in float64 would be the largest array of a whole run.
        blocks = []
        for start in range(0, n_items, _ROWS):
            some = {name: each.take(slice(start, start + _ROWS)) for name, each in features.items()}
            blocks.append(self.head.logits(side_by_side(some, self.parts).astype(np.float64)))
        return np.asarray(softmax(np.concatenate(blocks), self.temperature), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The weighted average of what several heads say; those on the same backbone share its features.

    Attributes:
        members: The heads, each with its weight; the weights are above 0 and sum to 1.
    """

    members: tuple[tuple[Predictor, float], ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, the same for all members."""
        return self.members[0][0].classes

    @property
    def parts(self) -> tuple[Part, ...]:
        """The layers that any member sees, each once."""
        return tuple(dict.fromkeys(part for member, _ in self.members for part in member.parts))

    @property
    def backbones(self) -> tuple[str, ...]:
        """The backbones that it needs, each once."""
        return tuple(dict.fromkeys(part.backbone for part in self.parts))

    def probabilities(self, features: Mapping[str, Features]) -> Float64[np.ndarray, "items classes"]:
        """The probability of each class for each item.

        Args:
            features: By the name of the backbone; every row must be there.
        """
        averaged = sum(weight * member.probabilities(features) for member, weight in self.members)
        return np.asarray(averaged, dtype=np.float64)
