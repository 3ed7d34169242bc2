"""The training behind `finetune` and its variants: what the settings ask for, on a body whose lower part is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from headstart._fingerprint import fingerprint, sha256_bytes
from headstart._memory import give_back
from headstart._progress import Progress
from headstart._randomness import generator
from headstart._records import to_json
from headstart.adaptation.epochs import Epoch, Scores, scores
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.loop import Loop, Step, train
from headstart.adaptation.parameters import interpolate, parameter_groups, train_mode
from headstart.adaptation.penalties import l2_sp
from headstart.adaptation.schedules import SCHEDULES
from headstart.adaptation.tuning import Body, Tuned, open_body, write_tuned
from headstart.backbones.resolve import Local
from headstart.data.dataset import Items
from headstart.errors import DataError
from headstart.features.extract import Compute

if TYPE_CHECKING:
    from headstart.adaptation.strategies.finetune import FineTune

_DIVERGED = 3.0  # times what guessing or the start loses, whichever is more
_TRIED_BATCHES = 8


@dataclass(frozen=True, eq=False)
class Job:
    """What `MovingStrategy.fit` is given.

    Attributes:
        local: The backbone.
        items: With content keys, none of them damaged.
        targets: The class of each item.
        start: The head on the layer `last`.
        held_out: The items that are not trained on, if any.
        folder: Where the new backbone is written.
        scratch: Where activations and the state of the training are kept meanwhile.
        compute: Device and precision.
        seed: Of whatever is random.
        deadline: When to stop training, on the clock of `time.monotonic`.
        on_epoch: Told of each epoch.
        progress: Where progress is shown.
    """

    local: Local
    items: Items
    targets: Int[np.ndarray, " items"]
    start: LinearHead
    held_out: Bool[np.ndarray, " items"] | None
    folder: Path
    scratch: Path
    compute: Compute
    seed: int
    deadline: float | None
    on_epoch: Callable[[Epoch], None] | None
    progress: Progress


def finetune(settings: FineTune, job: Job) -> Tuned:
    """What `FineTune.fit` promises.

    Args:
        settings: How to train.
        job: What to train, on what.
    """
    out = np.zeros(len(job.items), dtype=np.bool_) if job.held_out is None else job.held_out
    rows, others = np.flatnonzero(~out), np.flatnonzero(out)
    if not len(rows):
        raise DataError("fine-tuning needs an item to train on, but all are held out", hint="Hold out fewer.")
    body = open_body(
        *(job.local, job.items),
        n_stages=settings.n_stages,
        n_views=settings.n_views,
        seed=job.seed,
        compute=job.compute,
        scratch=job.scratch,
        progress=job.progress,
    )
    model = _Model(body, np.asarray(job.targets, dtype=np.int64), job.start, settings)
    identity = {
        "settings": fingerprint(to_json(settings, indent=0)),
        "weights": job.local.spec.source.sha256,
        "items": fingerprint([job.items.keys, np.asarray(job.targets).tolist(), out.tolist()]),
        "head": sha256_bytes(job.start.weight.tobytes() + job.start.bias.tobytes()),
        "seed": str(job.seed),
    }
    batches = partial(_batches, settings.batch_size, rows, body.boundary.n_views, job.seed)
    file = job.scratch / f"{fingerprint(identity)[:24]}.training"
    history = train(
        Loop(settings.epochs, SCHEDULES[settings.schedule], settings.clip, model.worst_loss(batches(0)), job.seed),
        model.weights,
        model.optimiser(),
        batches,
        model.loss,
        identity=identity,
        file=file,
        validate=partial(model.measure, others) if len(others) else None,
        deadline=job.deadline,
        on_epoch=job.on_epoch,
    )
    interpolate(model.weights, model.start, settings.interpolation)
    tuned = write_tuned(job.local, body.parts, job.folder, how=settings.name)
    result = Tuned(tuned, model.head_now(), model.logits(np.arange(len(job.items))), history)
    file.unlink(missing_ok=True)
    give_back()
    return result


def _batches(
    batch_size: int, rows: Int[np.ndarray, " rows"], n_views: int, seed: int, epoch: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """All training items in random order, each in one of its views."""
    random = generator(seed, "epoch", epoch)
    order, views = random.permutation(rows), random.integers(n_views, size=len(rows))
    starts = range(0, len(rows), batch_size)
    return [(order[at : at + batch_size], views[at : at + batch_size]) for at in starts]


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
