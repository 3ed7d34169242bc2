"""The strategy `finetune`: the last stages of a backbone move, starting from a head that was fitted first.

What comes out is another backbone with a linear head on its layer `last`, so extraction, calibration, bundles and
prediction take it as they take any. The head is fitted before anything moves, because the gradients of a random head
would tear up what was pretrained (Kumar et al., 2022: 10 points out of distribution).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Bool, Int

from headstart._progress import SILENT, Progress
from headstart.adaptation.epochs import Epoch
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.schedules import SCHEDULES
from headstart.adaptation.strategies.settings import check_settings, real, whole, word
from headstart.data.dataset import Items
from headstart.features.extract import Compute

if TYPE_CHECKING:
    from headstart.adaptation.tuning import Tuned
    from headstart.backbones.resolve import Local


@dataclass(frozen=True, slots=True)
class FineTune:
    """Head first, then the head together with the last stages.

    Attributes:
        n_stages: How many of the last stages move, or None for all; all below them runs once for each item and view.
        epochs: Each sees every training item once, in one of its views.
        learning_rate: The highest rate of the head and the last stage.
        stage_decay: Each stage learns this many times as fast as the one above it.
        schedule: How the rate goes over the training.
        batch_size: Items a step.
        weight_decay: As AdamW means it; biases and norms do not decay.
        label_smoothing: The share of the target that is spread over all classes.
        dropout: The share of the layer `last` that the head does not see in a step.
        n_views: Views of each image that are kept: the plain one and random crops. Texts have one.
        l2_sp: The strength of the pull towards the pretrained weights.
        interpolation: Where the result lies between the start, 0, and the trained weights, 1 (WiSE-FT).
        clip: The longest gradient.
    """

    n_stages: int | None = whole(2, 1, 64)
    epochs: int = whole(12, 1, 200)
    learning_rate: float = real(3e-4, 1e-6, 1e-2, log=True)
    stage_decay: float = real(1.0, 0.1, 1.0)
    schedule: str = word(*SCHEDULES)
    batch_size: int = whole(32, 2, 1024, log=True)
    weight_decay: float = real(0.01, 0.0, 1.0)
    label_smoothing: float = real(0.1, 0.0, 0.5)
    dropout: float = real(0.2, 0.0, 0.9)
    n_views: int = whole(2, 1, 16)
    l2_sp: float = real(0.0, 0.0, 10.0)
    interpolation: float = real(1.0, 0.0, 1.0)
    clip: float = real(1.0, 0.01, 100.0, log=True)
    name: ClassVar[str] = "finetune"
    modalities: ClassVar[tuple[str, ...]] = ("image", "text")

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            OptionError: If one is outside its range.
        """
        check_settings(self)

    def fit(
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
        progress: Progress = SILENT,
    ) -> Tuned:
        """Train, and write the new backbone. The same call after a kill goes on where the last epoch ended.

        Args:
            local: The backbone.
            items: With content keys, none of them damaged.
            targets: The class of each item.
            start: The head on the layer `last` of the backbone, fitted on the items that are not held out.
            held_out: The items that are not trained on, but predicted and watched; none, if not given.
            folder: Where the new backbone is written; what is there is replaced.
            scratch: Where activations and the state of the training are kept meanwhile; several calls may share it.
            compute: Device and precision.
            seed: Of views, order and dropout.
            deadline: When to stop training, on the clock of `time.monotonic`.
            on_epoch: Told of each epoch.
            progress: Where progress is shown.

        Raises:
            OptionError: If the backbone has fewer stages, or a state in `scratch` is damaged.
            BackboneError: If the backbone cannot be trained.
            DataError: If no item is left to train on.
            StoreError: If activations cannot be kept.
            OutputError: If the result or a state cannot be written.
        """
        # The libraries that train are loaded when something is trained, not when settings are listed.
        from headstart.adaptation.finetuning import Job, finetune

        job = Job(
            *(local, items, targets, start),
            held_out=held_out,
            folder=folder,
            scratch=scratch,
            compute=compute,
            seed=seed,
            deadline=deadline,
            on_epoch=on_epoch,
            progress=progress,
        )
        return finetune(self, job)
