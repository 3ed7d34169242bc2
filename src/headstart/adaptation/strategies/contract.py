"""What every strategy promises; search knows nothing else about one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart._progress import SILENT, Progress
from headstart.adaptation.epochs import Epoch, OnHeldOut
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies.settings import Value
from headstart.data.dataset import Items
from headstart.features.extract import Compute, Features

if TYPE_CHECKING:  # torch is not needed to know what a strategy is
    from headstart.adaptation.tuning import Tuned
    from headstart.backbones.resolve import Local


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
        modalities: What it can be used for: `image`, `text`.
        is_random: Whether the seed plays a part; else the order of the items does not either, up to rounding.
    """

    name: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]]
    is_random: ClassVar[bool]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The layers that it sees."""

    @property
    def n_views(self) -> int:
        """How many views of each training item it is fitted on, the plain one included; 1 for most.

        The further ones are in `Features.views`. What it is fitted for is the plain view: that alone is predicted,
        out-of-fold too, and a fold holds out all views of an item.
        """

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

    def n_numbers(self, *, width: int, n_classes: int, n_items: int) -> int:
        """How many numbers the arrays of the head hold that `fit` returns, without fitting it.

        Args:
            width: The columns that it sees.
            n_classes: The number of classes.
            n_items: The training items.
        """


@runtime_checkable
class FoldByFold(Protocol):
    """A strategy that can say after each fold what it knows, so that a search need not see what is bad to its end.

    Only for those that train anew for each fold: what solves all folds together has nothing to give up.
    """

    def fold_by_fold(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        folds: Int[np.ndarray, " items"],
        *,
        n_classes: int,
        seed: int = 0,
    ) -> Iterator[tuple[Bool[np.ndarray, " items"], OutOfFold]]:
        """As `Strategy.cross_validate`, one fold after the other.

        Args:
            features: Of the training items, by the name of the backbone.
            targets: The class of each item.
            folds: The fold of each item, two at least.
            n_classes: The number of classes.
            seed: Of whatever is random.

        Yields:
            The items of the folds so far, and what is known of them; the rows of others are 0. The last one is what
            `cross_validate` returns.
        """


MOST_VIEWS = 16
"""Views that a strategy may ask for: each is a pass over the training items."""

MakeStrategy = Callable[[tuple[Part, ...]], Strategy]
"""From what is to be seen to a strategy with its settings."""


class MovingStrategy(Protocol):
    """A way to adapt that moves weights: a frozen dataclass whose fields are its settings; see `settings`.

    Deterministic on the CPU: the same data, settings and seed give the same weights, also after a kill in between.

    Attributes:
        name: How people call it.
        modalities: What it can be used for: `image`, `text`.
    """

    name: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]]

    def n_epochs(self, n_items: int) -> int:
        """How many epochs a training has that nothing ends earlier.

        Args:
            n_items: Those that it is trained on.
        """

    def n_seen(self, n_items: int) -> int:
        """How many items go through the network in all epochs, each counted as often as it does.

        Args:
            n_items: Those that it is trained on.
        """

    def fit(  # noqa: PLR0913 - all but the first four by name
        self,
        local: Local,
        items: Items,
        targets: Int[np.ndarray, " items"],
        start: LinearHead,
        *,
        held_out: Bool[np.ndarray, " items"] | None = None,
        folder: Path,
        scratch: Path,
        compute: Compute,
        seed: int = 0,
        deadline: float | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
        on_held_out: OnHeldOut | None = None,
        progress: Progress = SILENT,
    ) -> Tuned:
        """Train, and write the new backbone. The same call after a kill goes on where the last epoch ended.

        So it does until the result is kept: what is left for that is named in it, as `Tuned.states`. A training that
        is given up leaves nothing behind but activations that others share.

        Args:
            local: The backbone.
            items: With content keys, none of them damaged.
            targets: The class of each item.
            start: The head on the layer `last` of the backbone, fitted on the items that are not held out.
            held_out: The items that are not trained on, but predicted and watched; none, if not given.
            folder: Where the new backbone is written; what is there is replaced.
            scratch: Where activations and the state of the training are kept meanwhile; several calls may share it.
            compute: Device and precision.
            seed: Of whatever is random.
            deadline: When to stop training, on the clock of `time.monotonic`.
            on_epoch: Told of each epoch; it may raise `GiveUp`.
            on_held_out: Told what held-out items lose after each epoch.
            progress: Where progress is shown.
        """


MakeMoving = Callable[[], MovingStrategy]
"""A strategy that moves weights, with its settings."""
