"""The strategy `finetune`: the last stages of a backbone move, starting from a head that was fitted first.

What comes out is another backbone with a linear head on its layer `last`, so extraction, calibration, bundles and
prediction take it as they take any. The head is fitted before anything moves, because the gradients of a random head
would tear up what was pretrained (Kumar et al., 2022: 10 points out of distribution).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from headstart._fingerprint import fingerprint, sha256_bytes
from headstart._memory import give_back
from headstart._progress import SILENT, Progress
from headstart._randomness import generator
from headstart._records import to_json
from headstart.adaptation.epochs import Epoch, Scores, scores
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.loop import Loop, Step, train
from headstart.adaptation.parameters import interpolate, parameter_groups, train_mode
from headstart.adaptation.penalties import l2_sp
from headstart.adaptation.schedules import SCHEDULES
from headstart.adaptation.strategies.settings import check_settings, real, whole, word
from headstart.adaptation.tuning import Body, Tuned, open_body, write_tuned
from headstart.backbones.resolve import Local
from headstart.data.dataset import Items
from headstart.errors import DataError
from headstart.features.extract import Compute

_DIVERGED = 3.0  # times what guessing or the start loses, whichever is more
_TRIED_BATCHES = 8


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
        out = np.zeros(len(items), dtype=np.bool_) if held_out is None else held_out
        rows, others = np.flatnonzero(~out), np.flatnonzero(out)
        if not len(rows):
            raise DataError("fine-tuning needs an item to train on, but all are held out", hint="Hold out fewer.")
        body = open_body(
            *(local, items),
            n_stages=self.n_stages,
            n_views=self.n_views,
            seed=seed,
            compute=compute,
            scratch=scratch,
            progress=progress,
        )
        model = _Model(body, np.asarray(targets, dtype=np.int64), start, self)
        identity = {
            "settings": fingerprint(to_json(self, indent=0)),
            "weights": local.spec.source.sha256,
            "items": fingerprint([items.keys, np.asarray(targets).tolist(), out.tolist()]),
            "head": sha256_bytes(start.weight.tobytes() + start.bias.tobytes()),
            "seed": str(seed),
        }
        batches = partial(self._batches, rows, body.boundary.n_views, seed)
        file = scratch / f"{fingerprint(identity)[:24]}.training"
        history = train(
            Loop(self.epochs, SCHEDULES[self.schedule], self.clip, model.worst_loss(batches(0)), seed),
            model.weights,
            model.optimiser(),
            batches,
            model.loss,
            identity=identity,
            file=file,
            validate=partial(model.measure, others) if len(others) else None,
            deadline=deadline,
            on_epoch=on_epoch,
        )
        interpolate(model.weights, model.start, self.interpolation)
        tuned = write_tuned(local, body.parts, folder, how=self.name)
        result = Tuned(tuned, model.head_now(), model.logits(np.arange(len(items))), history)
        file.unlink(missing_ok=True)
        give_back()
        return result

    def _batches(
        self, rows: Int[np.ndarray, " rows"], n_views: int, seed: int, epoch: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """All training items in random order, each in one of its views."""
        random = generator(seed, "epoch", epoch)
        order, views = random.permutation(rows), random.integers(n_views, size=len(rows))
        starts = range(0, len(rows), self.batch_size)
        return [(order[at : at + self.batch_size], views[at : at + self.batch_size]) for at in starts]


class _Model:
    """The upper part of a network with a head."""

    def __init__(self, body: Body, targets: np.ndarray, start: LinearHead, settings: FineTune) -> None:
        self._body, self._settings = body, settings
        self._targets = torch.from_numpy(targets).to(body.device)
        n_classes, width = start.weight.shape
        self._head = torch.nn.Linear(width, n_classes).to(body.device)
        with torch.no_grad():
            self._head.weight.copy_(torch.from_numpy(start.weight))
            self._head.bias.copy_(torch.from_numpy(start.bias))
        self.weights = {f"network.{name}": each for name, each in body.parts.trained.items()}
        self._pretrained = {name: each.detach().clone() for name, each in self.weights.items()}
        self.weights |= {f"head.{name}": each for name, each in self._head.named_parameters()}
        self.start = {name: each.detach().clone() for name, each in self.weights.items()}

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW with a group for each rate."""
        asked, parts = self._settings, self._body.parts
        groups = parameter_groups(
            *(parts.network, self._head, parts.stages),
            lr=asked.learning_rate,
            stage_decay=asked.stage_decay,
            weight_decay=asked.weight_decay,
        )
        return torch.optim.AdamW(groups, fused=True)

    def loss(self, batch: tuple[np.ndarray, ...]) -> Step:
        """The mean loss of a batch of items and views."""
        rows, views = batch
        train_mode(self._body.parts.network)
        last = torch.nn.functional.dropout(self._body.run(*self._body.inputs(rows, views)), self._settings.dropout)
        logits, targets = self._head(last), self._targets[rows]
        value = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=self._settings.label_smoothing)
        if self._settings.l2_sp:
            value = value + l2_sp(self.weights, self._pretrained, self._settings.l2_sp)
        return Step(value, logits.detach().argmax(dim=1), targets)

    def worst_loss(self, batches: Sequence[tuple[np.ndarray, ...]]) -> float:
        """The loss above which training has done harm: a head that was fitted on plain views may be wrong on others."""
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # not the caller's random numbers, which differ from call to call
            at_start = [float(self.loss(batch).loss) for batch in batches[:_TRIED_BATCHES]]
        return _DIVERGED * max(math.log(len(self._head.bias)), *at_start)

    def measure(self, rows: np.ndarray) -> Scores:
        """Log loss, and how the plain view of some items is classified."""
        logits, targets = torch.from_numpy(self.logits(rows)), self._targets[rows].cpu()
        loss = torch.nn.functional.cross_entropy(logits, targets)
        return scores(float(loss), logits.argmax(dim=1).numpy(), targets.numpy())

    def logits(self, rows: np.ndarray) -> Float[np.ndarray, "rows classes"]:
        """The logits of the plain view of some items."""
        return self.head_now().logits(self._body.features(rows, batch_size=self._settings.batch_size))

    def head_now(self) -> LinearHead:
        """The head as it is."""
        return LinearHead(
            self._head.weight.detach().cpu().numpy().copy(), self._head.bias.detach().cpu().numpy().copy()
        )
