"""The strategy `prototype`: the nearest class mean. Nothing is learnt but means, so little can go wrong with few items.

Snell et al. 2017 (arXiv:1703.05175), on centred directions as in SimpleShot (Wang et al. 2019, arXiv:1911.04623).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.heads import prototypes
from headstart.adaptation.heads.forms import UnitHead
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies._seen import best_of, directions
from headstart.adaptation.strategies.contract import OutOfFold
from headstart.adaptation.strategies.settings import check_settings, real
from headstart.features.extract import Features


@dataclass(frozen=True, slots=True)
class Prototype:
    """The class whose mean direction has the largest cosine, with a temperature fitted out-of-fold.

    Attributes:
        parts: The layers that the head sees.
        shrinkage: How many items that say nothing are added to each class, so that means of few items count for less;
            None chooses the number with the lowest out-of-fold log loss.
    """

    parts: tuple[Part, ...]
    shrinkage: float | None = real(None, 0.0, 100.0)
    name: ClassVar[str] = "prototype"
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
        """Choose the shrinkage and predict every item out-of-fold."""
        units, _ = directions(features, self.parts)
        tried = prototypes.SHRINKAGES if self.shrinkage is None else (self.shrinkage,)
        logits = np.empty((len(tried), len(targets), n_classes))
        for fold in np.unique(folds):
            out = folds == fold
            for each, shrinkage in zip(logits, tried, strict=True):
                weight, bias = prototypes.fit(units[~out], targets[~out], shrinkage=shrinkage, n_classes=n_classes)
                each[out] = units[out] @ weight.T + bias
        return best_of(logits, [{"shrinkage": shrinkage} for shrinkage in tried], targets)

    def fit(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        *,
        classes: tuple[str, ...],
        chosen: OutOfFold,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> Predictor:
        """The means of all training items."""
        units, scaling = directions(features, self.parts)
        shrinkage = float(chosen.chosen["shrinkage"])
        weight, bias = prototypes.fit(units, targets, shrinkage=shrinkage, n_classes=len(classes))
        head = UnitHead(scaling.mean, scaling.scale, weight.astype(np.float32), bias.astype(np.float32))
        return Predictor(classes, self.parts, head, chosen.temperature)

    def n_numbers(self, *, width: int, n_classes: int, n_items: int) -> int:  # noqa: ARG002 - every item leaves as many
        """Mean and scale of each column, then one weight for each column and one bias, for each class."""
        return 2 * width + n_classes * (width + 1)

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
        """The logits of all items from the means of subsets of them."""
        units, _ = directions(features, self.parts)
        shrinkage = float(chosen.chosen["shrinkage"])
        logits = np.empty((*masks.shape, n_classes), dtype=np.float32)
        for each, mask in zip(logits, masks, strict=True):
            weight, bias = prototypes.fit(units[mask], targets[mask], shrinkage=shrinkage, n_classes=n_classes)
            each[:] = units @ weight.T + bias
        return logits
