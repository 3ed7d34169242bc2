"""The strategy `knn`: the nearest training items vote. Nothing is fitted, so classes may have any shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.heads.forms import NeighbourHead, neighbour_logits
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies._seen import best_of, directions
from headstart.adaptation.strategies.contract import OutOfFold
from headstart.adaptation.strategies.settings import check_settings, whole
from headstart.features.extract import Features

_TRIED = (1, 3, 5, 9, 15, 25, 50)
_ROWS = 512


@dataclass(frozen=True, slots=True)
class Knn:
    """The vote of the k training items of the nearest direction, nearer ones counting more; see `neighbour_logits`.

    Attributes:
        parts: The layers that the head sees.
        k: How many vote; None chooses the number with the lowest out-of-fold log loss.
    """

    parts: tuple[Part, ...]
    k: int | None = whole(None, 1, 1000, log=True)
    name: ClassVar[str] = "knn"
    modalities: ClassVar[tuple[str, ...]] = ("image", "text")
    n_views: ClassVar[int] = 1
    is_random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            OptionError: If one is outside its range.
        """
        check_settings(self)

    def cross_validate(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        folds: Int[np.ndarray, " items"],
        *,
        n_classes: int,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> OutOfFold:
        """Choose k and predict every item from those of the other folds."""
        (units, _), votes = directions(features, self.parts), np.eye(n_classes)[targets]
        tried = tuple(k for k in _TRIED if k < len(targets)) if self.k is None else (self.k,)
        logits = np.empty((len(tried), len(targets), n_classes))
        for fold in np.unique(folds):
            rows, others = np.flatnonzero(folds == fold), folds != fold
            for some in np.split(rows, range(_ROWS, len(rows), _ROWS)):
                similarities = units[some] @ units[others].T
                for each, k in zip(logits, tried, strict=True):
                    each[some] = neighbour_logits(similarities, votes[others], k)
        return best_of(logits, [{"k": k} for k in tried], targets)

    def fit(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        *,
        classes: tuple[str, ...],
        chosen: OutOfFold,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> Predictor:
        """All training items, remembered."""
        units, scaling = directions(features, self.parts)
        votes = np.eye(len(classes), dtype=np.float32)[targets]
        k = np.array(min(int(chosen.chosen["k"]), len(targets)))
        head = NeighbourHead(scaling.mean, scaling.scale, units, votes, k)
        return Predictor(classes, self.parts, head, chosen.temperature)

    def n_numbers(self, *, width: int, n_classes: int, n_items: int) -> int:
        """Mean and scale of each column, k, and all items with their classes."""
        return 2 * width + 1 + n_items * (width + n_classes)

    def fit_subsets(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        masks: Bool[np.ndarray, "subsets items"],
        *,
        n_classes: int,
        chosen: OutOfFold,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> Float[np.ndarray, "subsets items classes"]:
        """The logits of all items from the votes of subsets of them."""
        (units, _), votes = directions(features, self.parts), np.eye(n_classes)[targets]
        logits = np.empty((*masks.shape, n_classes), dtype=np.float32)
        for start in range(0, len(targets), _ROWS):
            rows = slice(start, start + _ROWS)
            similarities = units[rows] @ units.T
            for each, mask in zip(logits, masks, strict=True):
                each[rows] = neighbour_logits(similarities[:, mask], votes[mask], int(chosen.chosen["k"]))
        return logits
