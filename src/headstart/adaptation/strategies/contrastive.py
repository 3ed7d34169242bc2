"""The strategy `contrastive`: a sentence encoder learns which texts belong together, and a head is fitted after it.

A few labels make many pairs: of 16 texts there are 120, and each says whether its two belong to the same class. That is
SetFit's idea (Tunstall et al. 2022, 2209.11055). What comes out is another backbone with a linear head on its layer
`last`, as of `finetune`.

On sst2 with 8 labels a class accuracy was 0.642, where the linear head had 0.603 on the same layer and 0.622 on all of
them; with 32 labels it was 0.739 against 0.654 and 0.689, and the losses `groups` and `ranks` tied (MiniLM, 3 seeds,
500 test items, about 50 processor seconds; `benchmarks/contrastive.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Int

from headstart._progress import SILENT, Progress
from headstart.adaptation.epochs import Epoch, OnHeldOut
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.schedules import SCHEDULES
from headstart.adaptation.strategies.settings import check_settings, real, whole, word
from headstart.data.dataset import Items
from headstart.features.extract import Compute

if TYPE_CHECKING:
    from headstart.adaptation.tuning import Tuned
    from headstart.backbones.resolve import Local


@dataclass(frozen=True, slots=True)
class Contrastive:
    """Texts of a class are moved together, and those of different classes apart; then logistic regression.

    Attributes:
        n_stages: How many of the last stages move, or None for all; all below them runs once for each text.
        loss: What says how texts lie: `groups`, each text against all others of its batch (supervised contrastive
            learning, Khosla et al. 2020, 2004.11362); `pairs`, the squared distance of each cosine from 1 or 0, as in
            SetFit; `ranks`, each pair of one class against the texts of other classes (multiple negatives ranking,
            Henderson et al. 2017, 1705.00652). See `headstart.adaptation.contrasting`.
        temperature: What cosines are divided by, for `groups` and `ranks`; the smaller, the more do the nearest count.
        epochs: After each of them the training is kept and told of.
        steps: Batches an epoch.
        batch_size: Texts a step, as many of each class; with many classes two of each of some.
        learning_rate: The highest rate of the last stage.
        stage_decay: Each stage learns this many times as fast as the one above it.
        schedule: How the rate goes over the training.
        weight_decay: As AdamW means it; biases and norms do not decay.
        interpolation: Where the result lies between the start, 0, and the trained weights, 1 (WiSE-FT, 2109.01903);
            None takes what has the lowest calibrated log loss on held-out items among 0.25, 0.5, 0.75 and 1, and 1
            without such. What each half of them chooses is judged on the other half.
        l2: The strength of the penalty of the head. It is not chosen: texts that were trained on lie so well apart
            that no cross-validation on them could tell, and accuracy hardly depends on it.
        clip: The longest gradient.
    """

    n_stages: int | None = whole(None, 1, 64, search=False)
    loss: Literal["groups", "pairs", "ranks"] = word("groups", "pairs", "ranks")
    temperature: float = real(0.1, 0.01, 1.0, log=True, search=(0.03, 0.5))
    epochs: int = whole(6, 1, 200, search=False)
    steps: int = whole(10, 1, 1000, log=True, search=False)
    batch_size: int = whole(16, 2, 1024, log=True, search=False)
    learning_rate: float = real(5e-5, 1e-6, 1e-2, log=True, search=(1e-5, 5e-4))
    stage_decay: float = real(1.0, 0.1, 1.0, search=(0.3, 1.0))
    schedule: str = word(*SCHEDULES, search=False)
    weight_decay: float = real(0.01, 0.0, 1.0, log=True, search=(1e-3, 0.3))
    interpolation: float | None = real(1.0, 0.0, 1.0, auto=True, search=False)
    l2: float = real(1.0, 1e-5, 1e3, log=True, search=False)
    clip: float = real(1.0, 0.01, 100.0, log=True, search=False)
    name: ClassVar[str] = "contrastive"
    modalities: ClassVar[tuple[str, ...]] = ("text",)

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            OptionError: If one is outside its range.
        """
        check_settings(self)

    def n_epochs(self, n_items: int) -> int:  # noqa: ARG002 - an epoch is so many batches, whatever the items
        """How many epochs a training has that nothing ends earlier.

        Args:
            n_items: Those that it is trained on.
        """
        return self.epochs

    def n_seen(self, n_items: int) -> int:  # noqa: ARG002 - an epoch is so many batches, whatever the items
        """How many texts go through the trained stages in all epochs.

        Args:
            n_items: Those that it is trained on.
        """
        return self.epochs * self.steps * self.batch_size

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

        Args:
            local: The backbone, for texts.
            items: With content keys, none of them damaged.
            targets: The class of each item.
            start: Says how many classes there are; the head is fitted anew.
            held_out: The items that are not trained on, but predicted and watched; none, if not given.
            folder: Where the new backbone is written; what is there is replaced.
            scratch: Where activations and the state of the training are kept meanwhile; several calls may share it.
            compute: Device and precision.
            seed: Of batches and dropout.
            deadline: When to stop training, on the clock of `time.monotonic`.
            on_epoch: Told of each epoch; it may raise `GiveUp`.
            on_held_out: Told what held-out items lose after each epoch; it may raise `GiveUp` too.
            progress: Where progress is shown.

        Raises:
            OptionError: If the backbone is none for texts or has fewer stages, or a state in `scratch` is damaged.
            BackboneError: If the backbone cannot be trained.
            DataError: If no item is left to train on.
            StoreError: If activations cannot be kept.
            OutputError: If the result or a state cannot be written.
        """
        # The libraries that train are loaded when something is trained, not when settings are listed.
        from headstart.adaptation.contrasting import contrast
        from headstart.adaptation.finetuning import Job

        job = Job(
            *(local, items, targets, start),
            held_out=held_out,
            folder=folder,
            scratch=scratch,
            compute=compute,
            seed=seed,
            deadline=deadline,
            on_epoch=on_epoch,
            on_held_out=on_held_out,
            progress=progress,
        )
        return contrast(self, job)
