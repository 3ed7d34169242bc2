"""What every strategy promises; search knows nothing else about one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies.settings import Value
from headstart.features.extract import Features


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What a strategy does on training items that it did not see.

    Attributes:
        logits: For each item, from the model that was fitted on the other folds.
        chosen: The settings that cross-validation chose, by name.
        temperature: What makes these logits calibrated, fitted on them.
    """

    logits: Float[np.ndarray, "items classes"]
    chosen: Mapping[str, Value]
    temperature: float


class Strategy(Protocol):
    """A way to adapt: a frozen dataclass whose fields are what it sees and its settings; see `settings`.

    Deterministic: the same data, settings and seed give the same numbers on the same machine. Features and targets are
    never written to. A class without items is never an error, and neither is a fold whose training part lacks a class.

    Attributes:
        name: How people call it.
        is_random: Whether the seed plays a part; else the order of the items does not either, up to rounding.
    """

    name: ClassVar[str]
    is_random: ClassVar[bool]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The layers that it sees."""

    def cross_validate(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        folds: Int[np.ndarray, " items"],
        *,
        n_classes: int,
        seed: int = 0,
    ) -> OutOfFold:
        """Choose the settings that are left to choose, and predict every item out-of-fold.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            folds: The fold of each item, two at least.
            n_classes: The number of classes.
            seed: Of whatever is random.
        """

    def fit(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        *,
        classes: tuple[str, ...],
        chosen: OutOfFold,
        seed: int = 0,
    ) -> Predictor:
        """The model of all training items, with what cross-validation chose.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            classes: The class names.
            chosen: Settings and temperature.
            seed: Of whatever is random.
        """

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
        """The logits of all items from models that were fitted on subsets of them.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            masks: Which items are in which subset.
            n_classes: The number of classes.
            chosen: The settings.
            seed: Of whatever is random.
        """


MakeStrategy = Callable[[tuple[Part, ...]], Strategy]
"""From what is to be seen to a strategy with its settings."""
