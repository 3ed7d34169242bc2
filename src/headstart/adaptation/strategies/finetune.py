"""The strategy `finetune`: the last stages of a backbone move, starting from a head that was fitted first.

What comes out is another backbone with a linear head on its layer `last`, so extraction, calibration, bundles and
prediction take it as they take any. The head is fitted before anything moves, because the gradients of a random head
would tear up what was pretrained (Kumar et al., 2022: 10 points out of distribution).
"""

from __future__ import annotations

import math
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

_EPOCHS, _FEWEST_EPOCHS, _MOST_EPOCHS = 6, 2, 30
_FEWEST_STEPS, _MOST_STEPS = 200, 800

if TYPE_CHECKING:
    from headstart.adaptation.finetuning import Job
    from headstart.adaptation.tuning import Tuned
    from headstart.backbones.resolve import Local


@dataclass(frozen=True, slots=True)
class FineTune:
    """Head first, then the head together with the last stages.

    Beyond the defaults, everything that the papers named below found can be asked for, and combined.

    Attributes:
        n_stages: How many of the last stages move, or None for all; all below them runs once for each item and view.
        epochs: Each sees every training item once, in one of its views; None takes 6; with few items as many as make
            200 steps, at most 30, and with many as few as make 800, at least 2.
        learning_rate: The highest rate of the head and the last stage; None takes what was measured to be good: 1e-3
            for images, 3e-4 for texts and for fewer than 60 steps.
        trains: What moves in them: `all`; `biases`, which are biases and norms (BitFit, 2106.10199); `one`, the lowest
            of them alone (surgical fine-tuning, 2210.11466); `adapters` beside linear layers, merged into them at the
            end (LoRA, 2106.09685; texts and vision transformers).
        rank: Of the adapters.
        unfreeze_every: Epochs after which the next lower stage joins, beginning with the highest (ULMFiT, 1801.06146);
            0 lets all move at once.
        stage_decay: Each stage learns this many times as fast as the one above it.
        schedule: How the rate goes over the training.
        batch_size: Items a step.
        accumulate: In how many pieces a step's items are computed; more of them take less memory and more time.
        weight_decay: As AdamW means it; biases and norms do not decay.
        label_smoothing: The share of the target that is spread over all classes.
        dropout: The share of the layer `last` that the head does not see in a step.
        n_views: Views of each image that are kept: the plain one and random crops. Texts have one.
        mixup: Images are mixed in pairs at the cut, by shares from Beta(mixup, mixup) (1710.09412, and at an inner
            layer 1806.05236); 0 for none.
        cutmix: The same with a box of the one in the other (1905.04899), for networks that pass on maps; 0 for none.
        l2_sp: The strength of the pull towards the pretrained weights.
        bss: The strength with which the smallest singular value of each batch of `last` is shrunk (Batch Spectral
            Shrinkage, Chen et al. 2019, who take 0.001).
        co_tuning: The weight of a second loss: the classifier of the pretraining goes on predicting the source classes
            that items of a class looked like (You et al. 2020, who take 2.3).
        balance: How far the classes' shares are taken out of the answers, as for `linear`: the loss sees logits with
            balance · log share added (logit adjustment, 2007.07314), predictions are made without. The head that
            training starts from is one without balance.
        class_weights: Whether each item counts the same in the loss, or each class (`balanced`).
        interpolation: Where the result lies between the start, 0, and the trained weights, 1 (WiSE-FT, 2109.01903);
            None takes what has the lowest calibrated log loss on held-out items among 0.25, 0.5, 0.75 and 1, and 1
            without such. What each half of them chooses is judged on the other half.
        ema: Of each step's weights this share of the mean so far is kept, and the mean is the result; 0 for none.
        patience: Epochs in a row in which the loss of held-out items may rise before training stops; the epoch with
            the lowest one is kept. 0 never stops. The held-out items then choose the epoch that they are judged by, so
            what they say is a little too good.
        stop_after: Ends after so many epochs, although the schedule is that of all of them; None never. It is what
            `patience` chooses for a training without held-out items.
        clip: The longest gradient.
    """

    n_stages: int | None = whole(2, 1, 64, search=False)
    epochs: int | None = whole(None, 1, 200, search=False)
    learning_rate: float | None = real(None, 1e-6, 1e-2, log=True, search=(3e-5, 3e-3))
    trains: Literal["all", "biases", "one", "adapters"] = word("all", "biases", "one", "adapters", search=False)
    rank: int = whole(8, 1, 256, log=True, search=False)
    unfreeze_every: int = whole(0, 0, 200, search=False)
    stage_decay: float = real(1.0, 0.1, 1.0, search=(0.3, 1.0))
    schedule: str = word(*SCHEDULES, search=False)
    batch_size: int = whole(16, 2, 1024, log=True, search=False)
    accumulate: int = whole(1, 1, 64, search=False)
    weight_decay: float = real(0.01, 0.0, 1.0, log=True, search=(1e-3, 0.3))
    label_smoothing: float = real(0.1, 0.0, 0.5, search=(0.0, 0.3))
    dropout: float = real(0.2, 0.0, 0.9, search=(0.0, 0.6))
    n_views: int = whole(2, 1, 16, search=False)
    mixup: float = real(0.0, 0.0, 10.0, search=False)
    cutmix: float = real(0.0, 0.0, 10.0, search=False)
    l2_sp: float = real(0.0, 0.0, 10.0, search=False)
    bss: float = real(0.0, 0.0, 10.0, search=False)
    co_tuning: float = real(0.0, 0.0, 10.0, search=False)
    balance: float = real(0.0, 0.0, 1.0, search=False)
    class_weights: Literal["equal", "balanced"] = word("equal", "balanced", search=False)
    interpolation: float | None = real(1.0, 0.0, 1.0, auto=True, search=False)
    ema: float = real(0.0, 0.0, 0.9999, search=False)
    patience: int = whole(0, 0, 200, search=False)
    stop_after: int | None = whole(None, 1, 200, search=False)
    clip: float = real(1.0, 0.01, 100.0, log=True, search=False)
    name: ClassVar[str] = "finetune"
    modalities: ClassVar[tuple[str, ...]] = ("image", "text")

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            OptionError: If one is outside its range.
        """
        check_settings(self)

    def n_epochs(self, n_items: int) -> int:
        """How many epochs a training has that nothing else ends earlier.

        Args:
            n_items: Those that it is trained on.
        """
        planned = self.planned_epochs(n_items)
        return min(planned, self.stop_after or planned)

    def n_seen(self, n_items: int) -> int:
        """How many items go through the trained stages in all epochs.

        Args:
            n_items: Those that it is trained on.
        """
        return self.n_epochs(n_items) * n_items

    def planned_epochs(self, n_items: int) -> int:
        """How many epochs the schedule of one training is for.

        Args:
            n_items: Those that it is trained on.
        """
        if self.epochs is not None:
            return self.epochs
        steps = math.ceil(n_items / self.batch_size)
        fewest, most = (math.ceil(n_steps / max(1, steps)) for n_steps in (_FEWEST_STEPS, _MOST_STEPS))
        return min(_MOST_EPOCHS, max(_EPOCHS, fewest), max(_FEWEST_EPOCHS, most))

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
            on_epoch: Told of each epoch; it may raise `GiveUp`.
            on_held_out: Told what held-out items lose after each epoch; it may raise `GiveUp` too.
            progress: Where progress is shown.

        Raises:
            OptionError: If the backbone has fewer stages, a setting does not fit, or a state in `scratch` is damaged.
            BackboneError: If the backbone cannot be trained, or not in the way that was asked for.
            DataError: If no item is left to train on.
            StoreError: If activations cannot be kept.
            OutputError: If the result or a state cannot be written.
        """
        # The libraries that train are loaded when something is trained, not when settings are listed.
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
        return self._train(job)

    def _train(self, job: Job) -> Tuned:
        from headstart.adaptation.finetuning import finetune

        return finetune(self, job)
