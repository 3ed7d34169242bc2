"""The strategy `mlp`: one hidden layer with dropout on the features, for classes that no plane parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.heads.forms import Perceptron
from headstart.adaptation.heads.perceptron import EVERY, Recipe, components, train
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies._seen import best_of, scaled
from headstart.adaptation.strategies.contract import OutOfFold
from headstart.adaptation.strategies.settings import Value, check_settings, real, whole
from headstart.features.extract import Features

_MOST_STEPS = 300


@dataclass(frozen=True, slots=True)
class Mlp:
    """A layer of rectified units, trained on all items at once and stopped where the out-of-fold log loss is lowest.

    Attributes:
        parts: The layers that the head sees.
        hidden: Units of the hidden layer.
        dropout: The share of them that each step leaves out.
        weight_decay: As of AdamW.
        learning_rate: Of AdamW.
        steps: How long to train; None chooses the number, up to 300, with the lowest out-of-fold log loss.
    """

    parts: tuple[Part, ...]
    hidden: int = whole(128, 8, 2048, log=True)
    dropout: float = real(0.5, 0.0, 0.9)
    weight_decay: float = real(0.1, 0.0, 10.0, log=True, search=(1e-3, 10.0))
    learning_rate: float = real(2e-3, 1e-5, 0.1, log=True)
    steps: int | None = whole(None, 1, 10_000, log=True)
    name: ClassVar[str] = "mlp"
    modalities: ClassVar[tuple[str, ...]] = ("image", "text")
    n_views: ClassVar[int] = 1
    is_random: ClassVar[bool] = True

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
        seed: int = 0,
    ) -> OutOfFold:
        """Train once for each fold, and choose the step at which to stop."""
        *_, (_, looks) = self._looks(features, targets, folds, n_classes=n_classes, seed=seed)
        return best_of(looks, self._stops, targets)

    def fold_by_fold(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        folds: Int[np.ndarray, " items"],
        *,
        n_classes: int,
        seed: int = 0,
    ) -> Iterator[tuple[Bool[np.ndarray, " items"], OutOfFold]]:
        """The same, with what is known after each fold; the step is the best one for the folds so far."""
        for tested, looks in self._looks(features, targets, folds, n_classes=n_classes, seed=seed):
            known = best_of(looks[:, tested], self._stops, targets[tested])
            logits = np.zeros((len(targets), n_classes))
            logits[tested] = known.logits
            yield tested, OutOfFold(logits, known.chosen, known.temperature)

    def fit(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        *,
        classes: tuple[str, ...],
        chosen: OutOfFold,
        seed: int = 0,
    ) -> Predictor:
        """Train on all items for as many steps as cross-validation chose."""
        columns, scaling = scaled(features, self.parts)
        seen, basis = components(columns, seed=seed)
        _, layer = self._train(seen, targets, seen[:1], int(chosen.chosen["steps"]), len(classes), seed)
        # Scaling and components are linear, so both go into the hidden layer.
        hidden_weight = (layer.hidden_weight @ basis.T) / scaling.scale
        hidden_bias = layer.hidden_bias - hidden_weight.astype(np.float64) @ scaling.mean
        head = Perceptron(hidden_weight, hidden_bias.astype(np.float32), layer.weight, layer.bias)
        return Predictor(classes, self.parts, head, chosen.temperature)

    def n_numbers(self, *, width: int, n_classes: int, n_items: int) -> int:  # noqa: ARG002 - every item leaves as many
        """Weights and biases of the hidden units, then those of the classes."""
        return self.hidden * (width + 1) + n_classes * (self.hidden + 1)

    def fit_subsets(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        masks: Bool[np.ndarray, "subsets items"],
        *,
        n_classes: int,
        chosen: OutOfFold,
        seed: int = 0,
    ) -> Float[np.ndarray, "subsets items classes"]:
        """The logits of all items from layers that were trained on subsets of them."""
        seen, _ = components(scaled(features, self.parts)[0], seed=seed)
        steps = int(chosen.chosen["steps"])
        logits = [self._train(seen[mask], targets[mask], seen, steps, n_classes, seed)[0][-1] for mask in masks]
        return np.stack(logits)

    @property
    def _stops(self) -> list[dict[str, Value]]:
        """The numbers of steps to choose from."""
        if self.steps is not None:
            return [{"steps": self.steps}]
        return [{"steps": min(step, _MOST_STEPS)} for step in range(EVERY, _MOST_STEPS + EVERY, EVERY)]

    def _looks(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        folds: Int[np.ndarray, " items"],
        *,
        n_classes: int,
        seed: int,
    ) -> Iterator[tuple[Bool[np.ndarray, " items"], Float[np.ndarray, "stops items classes"]]]:
        """After each fold the items that were predicted so far, and their logits after each number of steps."""
        seen, _ = components(scaled(features, self.parts)[0], seed=seed)
        n_stops = len(self._stops)
        looks = np.empty((n_stops, len(targets), n_classes))
        tested = np.zeros(len(targets), dtype=np.bool_)
        steps = _MOST_STEPS if self.steps is None else self.steps
        for fold in np.unique(folds):
            out = folds == fold
            found, _ = self._train(seen[~out], targets[~out], seen[out], steps, n_classes, seed)
            looks[:, out] = found[-n_stops:]
            tested = tested | out
            yield tested, looks

    def _train(
        self,
        seen: Float[np.ndarray, "items components"],
        targets: Int[np.ndarray, " items"],
        unseen: Float[np.ndarray, "others components"],
        steps: int,
        n_classes: int,
        seed: int,
    ) -> tuple[Float[np.ndarray, "looks others classes"], Perceptron]:
        recipe = Recipe(self.hidden, self.dropout, self.weight_decay, self.learning_rate)
        return train(seen, targets, unseen, recipe=recipe, steps=steps, n_classes=n_classes, seed=seed)
