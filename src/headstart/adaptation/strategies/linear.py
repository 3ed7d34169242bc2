"""The strategy `linear`: nothing of the backbone moves, a linear head is fitted on its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.predictor import Part, Predictor, side_by_side
from headstart.evaluation.calibration import fit_temperature
from headstart.features.extract import Features


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What a strategy does on training items that it did not see.

    Attributes:
        logits: For each item, from the head that was fitted on the other folds.
        l2: The strength of the penalty with the lowest out-of-fold log loss.
        temperature: What makes these logits calibrated, fitted on them.
    """

    logits: Float[np.ndarray, "items classes"]
    l2: float
    temperature: float


@dataclass(frozen=True, slots=True)
class Linear:
    """Multinomial logistic regression on softened layers (see `Scaling`), each layer with the same say.

    Attributes:
        parts: The layers that the head sees.
    """

    parts: tuple[Part, ...]
    name: ClassVar[str] = "linear"

    def cross_validate(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        folds: Int[np.ndarray, " items"],
        *,
        n_classes: int,
    ) -> OutOfFold:
        """Choose the strength of the penalty and predict every item out-of-fold, for all folds and strengths together.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            folds: The fold of each item.
            n_classes: The number of classes.
        """
        path = logistic.cross_validate(self._scaled(features)[0], targets, folds, n_classes=n_classes, overwrite=True)
        logits = path.oof_logits[path.best].astype(np.float64)
        return OutOfFold(logits, path.l2, fit_temperature(logits, targets))

    def fit(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        *,
        classes: tuple[str, ...],
        chosen: OutOfFold,
    ) -> Predictor:
        """The head on all training items, with what cross-validation chose.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            classes: The class names.
            chosen: The strength of the penalty and the temperature.
        """
        scaled, scaling = self._scaled(features)
        head = scaling.fold_into(logistic.fit(scaled, targets, l2=chosen.l2, n_classes=len(classes), overwrite=True))
        return Predictor(classes, self.parts, head.weight, head.bias, chosen.temperature)

    def fit_subsets(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        masks: Bool[np.ndarray, "subsets items"],
        *,
        n_classes: int,
        l2: float,
    ) -> Float[np.ndarray, "subsets items classes"]:
        """The logits of all items from heads that were fitted on subsets of them.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            masks: Which items are in which subset.
            n_classes: The number of classes.
            l2: The strength of the penalty.
        """
        return logistic.fit_subsets(
            self._scaled(features)[0], targets, masks, l2=l2, n_classes=n_classes, overwrite=True
        )

    def _scaled(self, features: Mapping[str, Features]) -> tuple[Float[np.ndarray, "items width"], Scaling]:
        seen = side_by_side(features, self.parts)
        widths = [features[part.backbone].layer(part.layer).shape[1] for part in self.parts]
        scaling = Scaling.fit(seen, blocks=widths)
        # Several parts lie side by side in an array of their own.
        return scaling.apply(seen, overwrite=len(self.parts) > 1), scaling
