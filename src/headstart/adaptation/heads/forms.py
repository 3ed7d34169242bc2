"""What heads are once they are fitted: arrays, and the numpy that turns features into logits.

This is all of a head that a bundle holds, so nothing here trains, and nothing here needs more than numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

import numpy as np
from jaxtyping import Float, Int

_NEAREST = 1e-6
"""Cosine distances below this are rounding, so a copy of an item weighs a million times as much as its opposite."""


class Head(Protocol):
    """A fitted head: a frozen dataclass of arrays. The same rows give the same logits in any batch, up to rounding."""

    kind: ClassVar[str]

    def logits(self, features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items classes"]:
        """The logits of some items; their softmax are the probabilities."""

    def fits(self, n_classes: int, width: int) -> bool:
        """Whether the shapes of its arrays belong to so many classes and columns."""


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A linear map from features to logits.

    Attributes:
        weight: One row for each class.
        bias: One number for each class.
    """

    weight: Float[np.ndarray, "classes width"]
    bias: Float[np.ndarray, " classes"]
    kind: ClassVar[str] = "linear"

    def logits(self, features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items classes"]:
        """The logits of some items; their softmax are the probabilities."""
        logits: np.ndarray = features @ self.weight.T + self.bias
        return logits

    def fits(self, n_classes: int, width: int) -> bool:
        """Whether the shapes of its arrays belong to so many classes and columns."""
        return self.weight.shape == (n_classes, width) and self.bias.shape == (n_classes,)


@dataclass(frozen=True, eq=False)
class UnitHead:
    """A linear map from directions to logits: features are shifted, scaled and brought to length 1 before it.

    Attributes:
        mean: What is subtracted from each column.
        scale: What each column is divided by, greater than 0.
        weight: One row for each class.
        bias: One number for each class.
    """

    mean: Float[np.ndarray, " width"]
    scale: Float[np.ndarray, " width"]
    weight: Float[np.ndarray, "classes width"]
    bias: Float[np.ndarray, " classes"]
    kind: ClassVar[str] = "unit"

    def logits(self, features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items classes"]:
        """The logits of some items; their softmax are the probabilities."""
        logits: np.ndarray = unit_rows((features - self.mean) / self.scale) @ self.weight.T + self.bias
        return logits

    def fits(self, n_classes: int, width: int) -> bool:
        """Whether the shapes of its arrays belong to so many classes and columns."""
        return (
            self.mean.shape == self.scale.shape == (width,)
            and self.weight.shape == (n_classes, width)
            and self.bias.shape == (n_classes,)
        )


@dataclass(frozen=True, eq=False)
class NeighbourHead:
    """A vote of the nearest of some items that it remembers; see `neighbour_logits`.

    Attributes:
        mean: What is subtracted from each column.
        scale: What each column is divided by, greater than 0.
        items: The directions of the items that may vote, rows of length 1.
        votes: For each of them 1 for its class, else 0.
        k: How many vote.
    """

    mean: Float[np.ndarray, " width"]
    scale: Float[np.ndarray, " width"]
    items: Float[np.ndarray, "remembered width"]
    votes: Float[np.ndarray, "remembered classes"]
    k: Int[np.ndarray, ""]
    kind: ClassVar[str] = "neighbours"

    def logits(self, features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items classes"]:
        """The logits of some items; their softmax are the probabilities."""
        directions = unit_rows((features - self.mean) / self.scale).astype(np.float32)
        return neighbour_logits(directions @ self.items.T, self.votes, int(self.k))

    def fits(self, n_classes: int, width: int) -> bool:
        """Whether the shapes of its arrays belong to so many classes and columns."""
        n_items = len(self.items)
        return (
            self.mean.shape == self.scale.shape == (width,)
            and self.items.shape == (n_items, width)
            and self.votes.shape == (n_items, n_classes)
            and self.k.shape == ()
            and 1 <= int(self.k) <= n_items
        )


@dataclass(frozen=True, eq=False)
class Perceptron:
    """One hidden layer of rectified units.

    Attributes:
        hidden_weight: One row for each hidden unit.
        hidden_bias: One number for each hidden unit.
        weight: One row for each class.
        bias: One number for each class.
    """

    hidden_weight: Float[np.ndarray, "hidden width"]
    hidden_bias: Float[np.ndarray, " hidden"]
    weight: Float[np.ndarray, "classes hidden"]
    bias: Float[np.ndarray, " classes"]
    kind: ClassVar[str] = "perceptron"

    def logits(self, features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items classes"]:
        """The logits of some items; their softmax are the probabilities."""
        hidden = np.maximum(features @ self.hidden_weight.T + self.hidden_bias, 0)
        logits: np.ndarray = hidden @ self.weight.T + self.bias
        return logits

    def fits(self, n_classes: int, width: int) -> bool:
        """Whether the shapes of its arrays belong to so many classes and columns."""
        n_hidden = len(self.hidden_weight)
        return (
            self.hidden_weight.shape == (n_hidden, width)
            and self.hidden_bias.shape == (n_hidden,)
            and self.weight.shape == (n_classes, n_hidden)
            and self.bias.shape == (n_classes,)
        )


HEADS: dict[str, type[LinearHead] | type[UnitHead] | type[NeighbourHead] | type[Perceptron]] = {
    form.kind: form for form in (LinearHead, UnitHead, NeighbourHead, Perceptron)
}
"""Every kind of head, by its name in a manifest."""


def arrays_of(head: Head) -> dict[str, np.ndarray]:
    """The arrays of a head, by name.

    Args:
        head: One of `HEADS`.
    """
    return {field.name: getattr(head, field.name) for field in fields(HEADS[head.kind])}


def unit_rows(features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items width"]:
    """Each row divided by its length; a row of zeros stays.

    Args:
        features: One row for each item.
    """
    lengths = np.sqrt(np.einsum("iw,iw->i", features, features, dtype=np.float64))
    unit: np.ndarray = features / np.where(lengths > 0, lengths, 1.0)[:, None]
    return unit


def neighbour_logits(
    similarities: Float[np.ndarray, "items remembered"], votes: Float[np.ndarray, "remembered classes"], k: int
) -> Float[np.ndarray, "items classes"]:
    """The logarithm of what each class gets of the votes of an item's nearest neighbours.

    A neighbour's vote counts 1 / (1 − cosine), as with scikit-learn's `weights="distance"`, and those as near as the
    k-th vote too, so that the order of the items plays no part. Beside the k votes there is one that is shared by all
    classes, so no class gets nothing.

    Args:
        similarities: The cosine of each item with each that may vote; minus infinity takes the vote away.
        votes: For each that may vote 1 for its class, else 0.
        k: How many vote, 1 or more; all, if there are fewer.
    """
    n_remembered, n_classes = votes.shape
    nearest = min(k, n_remembered)
    reach = np.partition(similarities, n_remembered - nearest, axis=1)[:, n_remembered - nearest, None]
    near = (similarities >= reach - _NEAREST) & np.isfinite(similarities)
    weights = np.where(near, 1 / np.maximum(1 - similarities, _NEAREST), 0.0)
    ballots = weights @ votes
    shares = ballots / np.maximum(ballots.sum(axis=1, keepdims=True), _NEAREST)
    logits: np.ndarray = np.log(k * shares + 1 / n_classes)
    return logits
