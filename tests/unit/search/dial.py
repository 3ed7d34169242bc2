"""A strategy that is as good as its setting says, in no time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies import OutOfFold
from headstart.adaptation.strategies.settings import check_settings, real, whole, word
from headstart.evaluation.calibration import fit_temperature
from headstart.features.extract import Features


@dataclass(frozen=True)
class Dial:
    """It is told the targets: the nearer `x` is to 0.3, the more of them it knows. One fold after the other."""

    parts: tuple[Part, ...]
    x: float = real(0.9, 0.0, 1.0)
    n: int = whole(3, 1, 9, log=True)
    kind: str = word("plain", "odd")
    free: int | None = whole(None, 1, 5)
    wish: float = real(0.0, 0.0, 1.0, search=False)
    name: ClassVar[str] = "dial"
    modalities: ClassVar[tuple[str, ...]] = ("image", "text")
    n_views: ClassVar[int] = 1
    is_random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def cross_validate(
        self, features: Mapping[str, Features], targets: np.ndarray, folds: np.ndarray, **options: Any
    ) -> OutOfFold:
        *_, (_, whole_result) = self.fold_by_fold(features, targets, folds, **options)
        return whole_result

    def fold_by_fold(
        self,
        features: Mapping[str, Features],
        targets: np.ndarray,
        folds: np.ndarray,
        *,
        n_classes: int,
        seed: int = 0,
    ) -> Iterator[tuple[np.ndarray, OutOfFold]]:
        noise = np.random.default_rng(0).normal(size=(len(targets), n_classes))
        logits = noise + np.eye(n_classes)[targets] * (2.5 - 3 * abs(self.x - 0.3) - (self.kind == "odd"))
        tested = np.zeros(len(targets), dtype=bool)
        for fold in np.unique(folds):
            tested = tested | (folds == fold)
            temperature = fit_temperature(logits[tested], targets[tested])
            yield tested, OutOfFold(np.where(tested[:, None], logits, 0.0), {}, temperature)

    def fit(
        self, features: Mapping[str, Features], targets: np.ndarray, *, classes: tuple[str, ...], **_: Any
    ) -> Predictor:
        width = sum(features[part.backbone].layer(part.layer).shape[1] for part in self.parts)
        head = LinearHead(np.zeros((len(classes), width), np.float32), np.zeros(len(classes), np.float32))
        return Predictor(classes, self.parts, head, 1.0)

    def fit_subsets(self, *_: Any, **__: Any) -> np.ndarray:
        raise NotImplementedError
