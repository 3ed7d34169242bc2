"""The strategy `views`: a linear head that is fitted on several pictures of each training image.

Each image is seen as it is and in random crops, mirrored in half of the cases. The crops' features are computed once
and kept, so the head learns from augmented images without another pass for each epoch. It predicts from the plain
picture, so serving costs what it costs with `linear`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies._seen import scaled
from headstart.adaptation.strategies.contract import MOST_VIEWS, OutOfFold
from headstart.adaptation.strategies.settings import check_settings, real, whole, word
from headstart.evaluation.calibration import fit_temperature
from headstart.features.extract import Features


@dataclass(frozen=True, slots=True)
class Views:
    """Multinomial logistic regression on scaled layers of all views, of which each counts as its share of an item.

    Attributes:
        parts: The layers that the head sees.
        n_views: Views of each training item, the plain one included.
        l2: The strength of the penalty; None chooses the one with the lowest out-of-fold log loss on plain views.
        scaling: Whether columns are divided by the square root of their deviation (`soften`) or by all of it.
    """

    parts: tuple[Part, ...]
    n_views: int = whole(4, 2, MOST_VIEWS, search=False)
    l2: float | None = real(None, 1e-5, 1e3, log=True)
    scaling: Literal["soften", "standardise"] = word("soften", "standardise")
    name: ClassVar[str] = "views"
    modalities: ClassVar[tuple[str, ...]] = ("image",)
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
        """Choose the strength of the penalty; a fold holds out all views of an item, and the plain one is predicted.

        Args:
            features: Of the training items, with their views, by the name of the backbone.
            targets: The class of each item.
            folds: The fold of each item.
            n_classes: The number of classes.
            seed: Plays no part.

        Raises:
            OptionError: If there are fewer views than asked for.
        """
        seen, _ = self._scaled(features)
        path = logistic.cross_validate(
            seen,
            targets,
            folds,
            n_classes=n_classes,
            strengths=None if self.l2 is None else [self.l2],
            n_views=self.n_views,
            overwrite=True,
        )
        logits = path.oof_logits[path.best].astype(np.float64)
        return OutOfFold(logits, {"l2": path.l2}, fit_temperature(logits, targets))

    def fit(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        *,
        classes: tuple[str, ...],
        chosen: OutOfFold,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> Predictor:
        """The head on all views of all training items, with what cross-validation chose.

        Args:
            features: Of the training items, with their views, by the name of the backbone.
            targets: The class of each item.
            classes: The class names.
            chosen: The strength of the penalty and the temperature.
            seed: Plays no part.

        Raises:
            OptionError: If there are fewer views than asked for.
        """
        seen, scaling = self._scaled(features)
        many = np.tile(targets, self.n_views)
        head = logistic.fit(seen, many, l2=self._penalty(chosen), n_classes=len(classes), overwrite=True)
        return Predictor(classes, self.parts, scaling.fold_into(head), chosen.temperature)

    def n_numbers(self, *, width: int, n_classes: int, n_items: int) -> int:  # noqa: ARG002 - every item leaves as many
        """One weight for each column and one bias, for each class."""
        return n_classes * (width + 1)

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
        """The logits of the plain views of all items from heads that were fitted on all views of subsets of them.

        Args:
            features: Of the training items, with their views, by the name of the backbone.
            targets: The class of each item.
            masks: Which items are in which subset.
            n_classes: The number of classes.
            chosen: The strength of the penalty and the temperature.
            seed: Plays no part.

        Raises:
            OptionError: If there are fewer views than asked for.
        """
        seen, _ = self._scaled(features)
        many, wide = np.tile(targets, self.n_views), np.tile(masks, (1, self.n_views))
        l2 = self._penalty(chosen)
        return logistic.fit_subsets(seen, many, wide, l2=l2, n_classes=n_classes, overwrite=True)[:, : len(targets)]

    def _penalty(self, chosen: OutOfFold) -> float:
        """For rows that count once each: all have the same share, so the penalty can be multiplied instead."""
        return float(chosen.chosen["l2"]) * self.n_views

    def _scaled(self, features: Mapping[str, Features]) -> tuple[Float[np.ndarray, "rows width"], Scaling]:
        return scaled(features, self.parts, self.scaling, n_views=self.n_views)
