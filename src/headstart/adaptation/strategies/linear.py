"""The strategy `linear`: nothing of the backbone moves, a linear head is fitted on its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies._seen import scaled
from headstart.adaptation.strategies.contract import OutOfFold
from headstart.adaptation.strategies.settings import check_settings, real, word
from headstart.evaluation.calibration import fit_temperature
from headstart.features.extract import Features


@dataclass(frozen=True, slots=True)
class Linear:
    """Multinomial logistic regression on scaled layers (see `Scaling`), each layer with the same say.

    Attributes:
        parts: The layers that the head sees.
        l2: The strength of the penalty; None chooses the one with the lowest out-of-fold log loss.
        scaling: Whether columns are divided by the square root of their deviation (`soften`) or by all of it.
        balance: How far the classes' shares among the training items are taken out of the answers: with 0 rare classes
            stay rare, with 1 every class is as likely as the others before an item is seen (logit adjustment, Menon et
            al. 2021, arXiv:2007.07314). It raises balanced accuracy and F1, and lowers accuracy.
    """

    parts: tuple[Part, ...]
    l2: float | None = real(None, 1e-5, 1e3, log=True)
    scaling: Literal["soften", "standardise"] = word("soften", "standardise")
    balance: float = real(0.0, 0.0, 1.0, search=False)
    name: ClassVar[str] = "linear"
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
        """Choose the strength of the penalty and predict every item out-of-fold, for all folds and strengths together.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            folds: The fold of each item.
            n_classes: The number of classes.
            seed: Plays no part.
        """
        seen, _ = self._scaled(features)
        strengths = None if self.l2 is None else [self.l2]
        path = logistic.cross_validate(seen, targets, folds, n_classes=n_classes, strengths=strengths, overwrite=True)
        logits = path.oof_logits[path.best].astype(np.float64)
        temperature = fit_temperature(logits, targets)
        shift = self._shift(targets, n_classes, temperature)
        return OutOfFold(logits + shift, {"l2": path.l2}, temperature)

    def fit(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        *,
        classes: tuple[str, ...],
        chosen: OutOfFold,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> Predictor:
        """The head on all training items, with what cross-validation chose.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            classes: The class names.
            chosen: The strength of the penalty and the temperature.
            seed: Plays no part.
        """
        seen, scaling = self._scaled(features)
        l2 = float(chosen.chosen["l2"])
        head = scaling.fold_into(logistic.fit(seen, targets, l2=l2, n_classes=len(classes), overwrite=True))
        shift = self._shift(targets, len(classes), chosen.temperature)
        shifted = LinearHead(head.weight, (head.bias + shift).astype(np.float32))
        return Predictor(classes, self.parts, shifted, chosen.temperature)

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
        """The logits of all items from heads that were fitted on subsets of them.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            masks: Which items are in which subset.
            n_classes: The number of classes.
            chosen: The strength of the penalty and the temperature.
            seed: Plays no part.
        """
        seen, _ = self._scaled(features)
        l2 = float(chosen.chosen["l2"])
        logits = logistic.fit_subsets(seen, targets, masks, l2=l2, n_classes=n_classes, overwrite=True)
        for each, mask in zip(logits, masks, strict=True):
            each += self._shift(targets[mask], n_classes, chosen.temperature)
        return logits

    def _scaled(self, features: Mapping[str, Features]) -> tuple[Float[np.ndarray, "items width"], Scaling]:
        return scaled(features, self.parts, self.scaling)

    def _shift(self, targets: Int[np.ndarray, " items"], n_classes: int, temperature: float) -> np.ndarray:
        """What is added to logits before they are divided by the temperature."""
        counts = np.bincount(targets, minlength=n_classes)
        # A class without items is left as rare as it is.
        shares = np.where(counts > 0, counts / len(targets), 1.0)
        return np.asarray(-self.balance * temperature * np.log(shares))
