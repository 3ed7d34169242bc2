"""The training behind `finetune` and its variants: what the settings ask for, on a body whose lower part is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from headstart._fingerprint import fingerprint, sha256_bytes
from headstart._memory import kept_memory
from headstart._progress import Progress
from headstart._randomness import generator
from headstart._records import to_json
from headstart.adaptation import lora
from headstart.adaptation._batches import evenly, losses_now, of_like_length
from headstart.adaptation._held_out import SHARES, halves
from headstart.adaptation.epochs import Epoch, GiveUp, History, OnHeldOut, Scores, scores
from headstart.adaptation.gate import unit_blocks
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.loop import Loop, Step, train
from headstart.adaptation.memory import said_plainly
from headstart.adaptation.mixing import mix
from headstart.adaptation.parameters import Ladder, interpolate, keep_asking, parameter_groups, train_mode
from headstart.adaptation.penalties import l2_sp, source_relation, spectral_shrinkage
from headstart.adaptation.schedules import SCHEDULES
from headstart.adaptation.strategies.finetune import FineTune
from headstart.adaptation.tuning import Body, Tuned, open_body, write_tuned
from headstart.backbones.resolve import Local, source_head
from headstart.data.dataset import Items
from headstart.errors import BackboneError, DataError, OptionError
from headstart.evaluation.calibration import calibrated_loss, calibrated_losses
from headstart.features.boundary import Boundary
from headstart.features.extract import Compute

Weights = dict[str, torch.Tensor]
"""Those of the network and the head, by name."""

_RATES = {"image": 1e-3, "text": 3e-4}  # measured: signs, pacs_sketch and clothing with 30 labels a class; sst2
_RATE, _FEW_STEPS = 3e-4, 60  # where there are so few steps, a higher one only does harm
TOO_LARGE = "for this backbone and its activations"
"""What the memory is too small for, where no smaller batch would help."""

_DIVERGED = 2.0  # times what the start loses
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
        on_held_out: Told what held-out items lose after each.
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
    on_held_out: OnHeldOut | None
    progress: Progress

    @property
    def out(self) -> Bool[np.ndarray, " items"]:
        """For each item whether it is held out."""
        return np.zeros(len(self.items), dtype=np.bool_) if self.held_out is None else self.held_out

    def identity(self, settings: object) -> dict[str, str]:
        """What is trained on what and how, as hashes by name; what else tells two trainings apart is the caller's.

        Args:
            settings: A strategy.
        """
        return {
            "settings": fingerprint(to_json(settings, indent=0)),
            "weights": self.local.spec.source.sha256,
            "items": fingerprint([self.items.keys, np.asarray(self.targets).tolist(), self.out.tolist()]),
            "compute": f"{self.compute.device} {self.compute.precision}",
            "batches": "of like length",
        }


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one training made.

    Attributes:
        weights: Those that could move, adapters merged into them; all others are as they were.
        history: What happened.
    """

    weights: Weights
    history: History


@said_plainly(TOO_LARGE)
@kept_memory()
def finetune(settings: FineTune, job: Job) -> Tuned:
    """What `FineTune.fit` promises.

    Args:
        settings: How to train.
        job: What to train, on what.
    """
    course = Course(settings, job)
    made = course.train(settings, seed=job.seed, deadline=job.deadline, on_epoch=job.on_epoch)
    return course.finish(settings, made.weights, made.history, course.kept_epochs(settings, [made.history]))


class Course:
    """Trainings on one body that all begin at the same weights."""

    def __init__(self, settings: FineTune, job: Job) -> None:
        """Cut the network, and compute what flows over the cut where it is not kept already.

        Args:
            settings: Those of the body are the same for all trainings.
            job: What to train, on what.

        Raises:
            OptionError: If a setting does not fit the backbone.
            BackboneError: If the backbone cannot be trained in that way.
            DataError: If no item is left to train on.
            StoreError: If activations cannot be kept.
        """
        self._job = job
        self._targets = np.asarray(job.targets, dtype=np.int64)
        self.rows, self.held_out = np.flatnonzero(~job.out), np.flatnonzero(job.out)
        if not len(self.rows):
            raise DataError("fine-tuning needs an item to train on, but all are held out", hint="Hold out fewer.")
        if (settings.mixup or settings.cutmix) and job.local.spec.modality != "image":
            raise OptionError(
                f"mixup and cutmix mix images, but these are {job.local.spec.modality}s",
                hint="For texts raise dropout or label_smoothing.",
            )
        self._body = open_body(
            *(job.local, job.items),
            n_stages=settings.n_stages,
            n_views=settings.n_views,
            seed=job.seed,
            compute=job.compute,
            scratch=job.scratch,
            progress=job.progress,
        )
        parts = self._body.parts
        keep_asking(parts.network, parts.stages, settings.trains)
        n_classes, width = job.start.weight.shape
        self._head = torch.nn.Linear(width, n_classes).to(self._body.device)
        shares = np.bincount(self._targets[self.rows], minlength=n_classes) / len(self.rows)
        # As for the head alone, a class without items is left as rare as it is.
        self._log_shares = settings.balance * np.log(np.where(shares > 0, shares, 1.0))
        with torch.no_grad():
            self._head.weight.copy_(torch.from_numpy(job.start.weight))
            # What the loss adds to the logits is taken out of them at the start: training begins where the head was.
            self._head.bias.copy_(torch.from_numpy(job.start.bias - self._log_shares))
        self._weights = {f"network.{name}": each for name, each in parts.trained.items()}
        self._weights |= {f"head.{name}": each for name, each in self._head.named_parameters()}
        self._start = self._copied()
        self._files: list[Path] = []

    def train(
        self,
        settings: FineTune,
        *,
        seed: int,
        deadline: float | None,
        on_epoch: Callable[[Epoch], None] | None,
    ) -> Outcome:
        """One training from the start; killed and called again it goes on where its last epoch ended.

        Args:
            settings: Those of this training.
            seed: Of order, dropout and whatever else is random.
            deadline: When to stop, on the clock of `time.monotonic`.
            on_epoch: Told of each epoch.

        Raises:
            BackboneError: If the backbone cannot be trained in that way.
            OptionError: If its state in the scratch folder is damaged.
            OutputError: If its state cannot be written.
        """
        job, settings = self._job, replace(settings, learning_rate=self.rate(settings))
        self._put(self._start)
        identity = {
            **job.identity(settings),
            "head": sha256_bytes(job.start.weight.tobytes() + job.start.bias.tobytes()),
            "seed": str(seed),
        }
        self._files.append(job.scratch / f"{fingerprint(identity)[:24]}.training")
        model = self._model(settings, seed)
        batches = partial(_batches, settings.batch_size, self.rows, self._body.boundary, seed)
        loop = Loop(
            settings.planned_epochs(len(self.rows)),
            SCHEDULES[settings.schedule],
            settings.clip,
            model.worst_loss(batches(0)),
            seed,
            patience=settings.patience,
            ema=settings.ema,
            accumulate=settings.accumulate,
            stop_after=settings.stop_after or 0,
        )
        try:
            history = train(
                loop,
                model.weights,
                model.optimiser(),
                batches,
                model.loss,
                identity=identity,
                file=self._files[-1],
                validate=self._measure if len(self.held_out) else None,
                prepare=Ladder(self._body.parts.stages, settings.unfreeze_every).release,
                deadline=deadline,
                on_epoch=on_epoch,
            )
        except GiveUp:
            for file in self._files:
                file.unlink(missing_ok=True)
            raise
        if settings.trains == "adapters":
            lora.merge(self._body.parts.network)
        for weight in self._weights.values():
            weight.requires_grad = True  # for the next training
        weights = self._copied()
        return Outcome(weights, history)

    def rate(self, settings: FineTune) -> float:
        """The highest learning rate: the one that was asked for, or what was measured to be good.

        Args:
            settings: How to train.
        """
        n_steps = FineTune.n_epochs(settings, len(self.rows)) * math.ceil(len(self.rows) / settings.batch_size)
        usual = _RATES[self._job.local.spec.modality] if n_steps >= _FEW_STEPS else _RATE
        return settings.learning_rate or usual

    def kept_epochs(self, settings: FineTune, histories: Sequence[History]) -> dict[str, int | float | str]:
        """After how many of its epochs to end a training without held-out items, where such have stopped one early.

        What was judged is an epoch of a longer schedule, so the schedule stays the same.

        Args:
            settings: With the patience.
            histories: Of trainings.
        """
        planned = FineTune.n_epochs(settings, len(self.rows))
        kept = [each.kept if each.kept < len(each.epochs) else planned for each in histories]
        if not settings.patience or max(kept) >= planned:
            return {}
        return {"epochs": settings.planned_epochs(len(self.rows)), "stop_after": max(1, *kept)}

    def loss(self, rows: Int[np.ndarray, " rows"], weights: Mapping[str, torch.Tensor]) -> float:
        """The log loss of items that are held out, in nats, once a temperature has calibrated it.

        Without that, label smoothing would make a better network look worse than the head it started from.

        Args:
            rows: Positions of the items.
            weights: Which to put in place before.
        """
        self._put(weights)
        return calibrated_loss(self._logits(rows) + self._log_shares, self._targets[rows])

    def finish(
        self,
        settings: FineTune,
        weights: Weights,
        history: History,
        chosen: Mapping[str, int | float | str],
        choose: Callable[[Int[np.ndarray, " rows"]], Weights] | None = None,
    ) -> Tuned:
        """Choose how far to go, and write the backbone; the states of the trainings stay until the result is kept.

        Where held-out items choose something, the choice of each half of them gives the logits of the other half.

        Args:
            settings: For the interpolation and the name.
            weights: What training made.
            history: How.
            chosen: What else the held-out items chose.
            choose: The weights that some of the held-out items would have chosen; None if they choose none.

        Raises:
            OutputError: If the result cannot be written.
        """
        job, everything = self._job, np.arange(len(self._job.items))
        is_free = settings.interpolation is None and len(self.held_out) > 0
        crossed = []
        for some, others in halves(self._targets[self.held_out], job.seed) if is_free or choose else []:
            theirs = weights if choose is None else choose(self.held_out[some])
            self._put(_between(self._start, theirs, self._share(settings, theirs, self.held_out[some])))
            crossed.append((self.held_out[others], self._logits(self.held_out[others])))
        share = self._share(settings, weights, self.held_out)
        self._put(_between(self._start, weights, share))
        last, head = self._body.features(everything), self._head_now()
        logits = head.logits(last)
        for rows, found in crossed:
            logits[rows] = found
        tuned = write_tuned(job.local, self._body.parts, job.folder, how=settings.name)
        chosen = {**chosen, "interpolation": share} if is_free else chosen
        return Tuned(tuned, head, logits, history, chosen, unit_blocks([last]), tuple(self._files))

    def _share(self, settings: FineTune, weights: Weights, rows: np.ndarray) -> float:
        """How far to go from the start: what was asked for, else what some held-out items choose, else all the way."""
        if settings.interpolation is not None:
            return settings.interpolation
        if not len(rows):
            return 1.0
        return min(SHARES, key=lambda share: self.loss(rows, _between(self._start, weights, share)))

    def _model(self, settings: FineTune, seed: int) -> _Model:
        body, job = self._body, self._job
        source: tuple[torch.nn.Linear, torch.Tensor] | None = None
        if settings.co_tuning:
            source = _source(job.local, body.features(self.rows), self._targets[self.rows], len(self._log_shares))
        if settings.trains == "adapters":
            lora.adapt(body.parts.network, body.parts.stages, job.local.spec.name, rank=settings.rank, seed=seed)
        item_weights = np.ones(len(self._log_shares))
        if settings.class_weights == "balanced":
            counts = np.bincount(self._targets[self.rows], minlength=len(item_weights))
            item_weights = len(self.rows) / (np.count_nonzero(counts) * np.maximum(1, counts))
        return _Model(body, self._head, self._targets, settings, self._log_shares, item_weights, source)

    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(weights[name])

    def _copied(self) -> Weights:
        return {name: weight.detach().clone() for name, weight in self._weights.items()}

    @said_plainly(TOO_LARGE)
    def _measure(self) -> Scores:
        """Log loss, and how the plain view of the held-out items is classified."""
        logits, targets = torch.from_numpy(self._logits(self.held_out)), torch.from_numpy(self._targets[self.held_out])
        shifted = logits + torch.from_numpy(self._log_shares)
        if self._job.on_held_out is not None and torch.isfinite(shifted).all():
            self._job.on_held_out(calibrated_losses(shifted.numpy(), self._targets[self.held_out]))
        loss = torch.nn.functional.cross_entropy(shifted, targets)
        return scores(float(loss), logits.argmax(dim=1).numpy(), targets.numpy())

    def _logits(self, rows: np.ndarray) -> Float[np.ndarray, "rows classes"]:
        return self._head_now().logits(self._body.features(rows))

    def _head_now(self) -> LinearHead:
        return LinearHead(
            self._head.weight.detach().cpu().numpy().copy(), self._head.bias.detach().cpu().numpy().copy()
        )


def _between(start: Weights, end: Weights, share: float) -> Weights:
    weights = {name: weight.clone() for name, weight in end.items()}
    interpolate(weights, start, share)
    return weights


def _source(
    local: Local, last: np.ndarray, targets: np.ndarray, n_classes: int
) -> tuple[torch.nn.Linear, Float[torch.Tensor, "classes source_classes"]]:
    """The classifier of the pretraining, and which of its classes items of each class look like."""
    found = source_head(local)
    if found is None:
        raise BackboneError(
            f"co_tuning needs the classifier that a network was pretrained with, but {local.spec.name!r} has none",
            hint="Networks for images that were trained to classify have one, such as efficientnet_lite0.",
        )
    layer = torch.nn.Linear(found.weight.shape[1], len(found.weight))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(found.weight))
        layer.bias.copy_(torch.from_numpy(found.bias))
    return layer, torch.from_numpy(source_relation(found.logits(last), targets, n_classes))


def _batches(
    batch_size: int, rows: Int[np.ndarray, " rows"], boundary: Boundary, seed: int, epoch: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """All training items in random order, each in one of its views; texts with others of about their length."""
    random = generator(seed, "epoch", epoch)
    order, views = random.permutation(rows), random.integers(boundary.n_views, size=len(rows))
    if boundary.lengths is None:
        return list(zip(evenly(order, batch_size), evenly(views, batch_size), strict=True))
    batches = of_like_length(boundary.lengths[order], batch_size, random)
    return [(order[places], views[places]) for places in batches]


class _Model:
    """What is trained, and its loss."""

    def __init__(
        self,
        body: Body,
        head: torch.nn.Linear,
        targets: np.ndarray,
        settings: FineTune,
        log_shares: np.ndarray,
        class_weights: np.ndarray,
        source: tuple[torch.nn.Linear, torch.Tensor] | None,
    ) -> None:
        self._body, self._settings = body, settings
        self._heads = torch.nn.ModuleDict({"head": head})
        self._targets = torch.from_numpy(targets).to(body.device)
        self._log_shares = torch.from_numpy(log_shares.astype(np.float32)).to(body.device)
        self._class_weights = torch.from_numpy(class_weights.astype(np.float32)).to(body.device)
        if source is not None:
            self._heads["source"], self._relation = source[0].to(body.device), source[1].to(body.device)
        moving = {f"network.{name}": each for name, each in body.parts.trained.items()}
        # Adapters add to weights, and what they add begins at 0.
        self._pretrained = {name: each.detach().clone() for name, each in moving.items()}
        self.weights: dict[str, torch.nn.Parameter] = {**moving, **dict(self._heads.named_parameters())}

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW with a group for each rate."""
        asked, parts = self._settings, self._body.parts
        groups = parameter_groups(
            *(parts.network, self._heads, parts.stages),
            lr=asked.learning_rate or _RATE,
            stage_decay=asked.stage_decay,
            weight_decay=asked.weight_decay,
        )
        return torch.optim.AdamW(groups, fused=True)

    def loss(self, batch: tuple[np.ndarray, ...]) -> Step:
        """The mean loss of a batch of items and views."""
        rows, views = batch
        asked, targets = self._settings, self._targets[rows]
        train_mode(self._body.parts.network)
        activations, lengths = self._body.inputs(rows, views)
        mixed = mix(activations, mixup=asked.mixup, cutmix=asked.cutmix) if asked.mixup or asked.cutmix else None
        last = self._body.run(activations if mixed is None else mixed.activations, lengths)
        logits = self._heads["head"](torch.nn.functional.dropout(last, asked.dropout))
        losses = self._losses(logits, last, targets)
        if mixed is not None:
            partners = targets[mixed.partner]
            losses = mixed.share * losses + (1 - mixed.share) * self._losses(logits, last, partners)
            targets = targets if mixed.share >= 0.5 else partners  # what most of each item is
        value = losses.mean()
        if asked.l2_sp:
            value = value + self._pull()
        if asked.bss and len(rows) > 1:  # of one item it would be the length of its features
            value = value + spectral_shrinkage(last, asked.bss)
        return Step(value, logits.detach().argmax(dim=1), targets)

    def _losses(
        self,
        logits: Float[torch.Tensor, "items classes"],
        last: Float[torch.Tensor, "items width"],
        targets: Int[torch.Tensor, " items"],
    ) -> Float[torch.Tensor, " items"]:
        entropy, asked = torch.nn.functional.cross_entropy, self._settings
        losses = entropy(logits + self._log_shares, targets, label_smoothing=asked.label_smoothing, reduction="none")
        losses = self._class_weights[targets] * losses
        if asked.co_tuning:
            seen = entropy(self._heads["source"](last), self._relation[targets], reduction="none")
            losses = losses + asked.co_tuning * seen
        return losses

    def _pull(self) -> Float[torch.Tensor, ""]:
        if self._settings.trains == "adapters":
            added = lora.changes(self._body.parts.network)
            return l2_sp(added, {name: torch.zeros_like(each) for name, each in added.items()}, self._settings.l2_sp)
        return l2_sp(self.weights, self._pretrained, self._settings.l2_sp)

    def worst_loss(self, batches: Sequence[tuple[np.ndarray, ...]]) -> float:
        """The loss above which training has done harm: that of guessing.

        Where the start is not much better it is more: a head that was fitted on plain views may be wrong on others.
        """
        at_start = losses_now(self.loss, batches[:_TRIED_BATCHES], self._body.device)
        return max(math.log(len(self._log_shares)), *(_DIVERGED * each for each in at_start))
