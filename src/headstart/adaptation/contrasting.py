"""The training behind `contrastive`: what its losses are, which texts make a batch, and the head at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from headstart._fingerprint import fingerprint
from headstart._memory import kept_memory
from headstart._randomness import generator
from headstart.adaptation._batches import losses_now
from headstart.adaptation._held_out import SHARES, halves
from headstart.adaptation.epochs import GiveUp, OnHeldOut, Scores, scores
from headstart.adaptation.finetuning import TOO_LARGE, Job
from headstart.adaptation.gate import unit_blocks
from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.loop import Loop, Step, train
from headstart.adaptation.memory import said_plainly
from headstart.adaptation.parameters import interpolate, parameter_groups, train_mode
from headstart.adaptation.schedules import SCHEDULES
from headstart.adaptation.tuning import Body, Tuned, open_body, write_tuned
from headstart.errors import DataError, OptionError
from headstart.evaluation.calibration import calibrated_loss, calibrated_losses, softmax

if TYPE_CHECKING:
    from headstart.adaptation.strategies.contrastive import Contrastive

ContrastiveLoss = Callable[
    [Float[torch.Tensor, "items items"], Bool[torch.Tensor, "items items"], float], Float[torch.Tensor, ""]
]
"""From the cosines of the texts of a batch, which of them are of one class, and a temperature."""

_DIVERGED = 3.0  # times what the start loses
_WATCHED, _COMPARED = 64, 256  # items of each side that are looked at after an epoch, and for a choice
_NEVER = -1e9  # finite, because the gradient of a softmax of nothing is not a number
_TINY = 1e-300


def groups(
    cosines: Float[torch.Tensor, "items items"], same: Bool[torch.Tensor, "items items"], temperature: float
) -> Float[torch.Tensor, ""]:
    """Supervised contrastive loss: −mean over the others of its class of log softmax over all others (Khosla et al.).

    Its equation 2, with the mean over classes outside of the logarithm. Texts without another of their class count as
    negatives alone.

    Args:
        cosines: Of each two texts of a batch.
        same: Whether they are of one class.
        temperature: What cosines are divided by.
    """
    itself = torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = (cosines / temperature).masked_fill(itself, _NEVER)
    log_shares = logits - logits.logsumexp(dim=1, keepdim=True)
    positive = same & ~itself
    counts = positive.sum(dim=1)
    each = -log_shares.where(positive, 0.0).sum(dim=1) / counts.clamp(min=1)
    return each.sum() / (counts > 0).sum().clamp(min=1)


def pairs(
    cosines: Float[torch.Tensor, "items items"],
    same: Bool[torch.Tensor, "items items"],
    temperature: float,  # noqa: ARG001 - the losses take the same
) -> Float[torch.Tensor, ""]:
    """SetFit's loss on all pairs of a batch: (cosine − 1)² for those of one class, cosine² for the others.

    Both kinds have the same say, as SetFit draws as many of each.

    Args:
        cosines: Of each two texts of a batch.
        same: Whether they are of one class.
        temperature: Plays no part.
    """
    once = torch.ones_like(same).triu(diagonal=1)
    squares = (cosines - same.float()).square()
    means = [squares.where(kind, 0.0).sum() / kind.sum().clamp(min=1) for kind in (once & same, once & ~same)]
    return (means[0] + means[1]) / 2


def ranks(
    cosines: Float[torch.Tensor, "items items"], same: Bool[torch.Tensor, "items items"], temperature: float
) -> Float[torch.Tensor, ""]:
    """Multiple negatives ranking: each pair of one class should be nearer than the first of it to any other class.

    −log of the pair's share in a softmax over itself and the texts of other classes (Henderson et al. 2017, equation 7,
    with the other classes' texts as the negatives).

    Args:
        cosines: Of each two texts of a batch.
        same: Whether they are of one class.
        temperature: What cosines are divided by.
    """
    logits = cosines / temperature
    others = logits.masked_fill(same, _NEVER).logsumexp(dim=1, keepdim=True)
    positive = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    each = torch.nn.functional.softplus(others - logits)
    return each.where(positive, 0.0).sum() / positive.sum().clamp(min=1)


LOSSES: dict[str, ContrastiveLoss] = {"groups": groups, "pairs": pairs, "ranks": ranks}
"""By name."""


@said_plainly(TOO_LARGE)
@kept_memory()
def contrast(settings: Contrastive, job: Job) -> Tuned:
    """What `Contrastive.fit` promises.

    Args:
        settings: How to train.
        job: What to train, on what.

    Raises:
        OptionError: If the items are no texts.
        DataError: If no text is left to train on.
    """
    if job.local.spec.modality not in settings.modalities:
        raise OptionError(
            f"contrastive tuning is for texts, but {job.local.spec.name!r} sees {job.local.spec.modality}s",
            hint="For images take finetune.",
        )
    rows, others = np.flatnonzero(~job.out), np.flatnonzero(job.out)
    if not len(rows):
        raise DataError("contrastive tuning needs texts to train on, but all are held out", hint="Hold out fewer.")
    body = open_body(
        *(job.local, job.items),
        n_stages=settings.n_stages,
        n_views=1,
        seed=job.seed,
        compute=job.compute,
        scratch=job.scratch,
        progress=job.progress,
    )
    targets = np.asarray(job.targets, dtype=np.int64)
    model = _Model(body, targets, rows, others, settings, len(job.start.bias), job.seed)
    batches = partial(draw, targets, rows, settings.steps, settings.batch_size, job.seed)
    identity = {**job.identity(settings), "seed": str(job.seed)}
    file = job.scratch / f"{fingerprint([settings.name, identity])[:24]}.training"
    try:
        history = train(
            Loop(settings.epochs, SCHEDULES[settings.schedule], settings.clip, model.worst_loss(batches(0)), job.seed),
            model.weights,
            model.optimiser(),
            batches,
            model.loss,
            identity=identity,
            file=file,
            validate=partial(model.measure, job.on_held_out) if len(others) else None,
            deadline=job.deadline,
            on_epoch=job.on_epoch,
        )
    except GiveUp:
        file.unlink(missing_ok=True)
        raise
    chosen, crossed = dict[str, int | float | str](), list[tuple[np.ndarray, np.ndarray]]()
    share = 1.0 if settings.interpolation is None else settings.interpolation
    if settings.interpolation is None and len(others):
        # The choice of each half of the held-out texts is judged on the other half.
        pairs_of = halves(targets[others], job.seed)
        share, *theirs = model.choose([others, *(others[some] for some, _ in pairs_of)])
        chosen["interpolation"] = share
        crossed = [
            (others[rest], model.logits(each, others[rest])) for each, (_, rest) in zip(theirs, pairs_of, strict=True)
        ]
    head, last = model.finish(share)
    logits = head.logits(last)
    for rest, found in crossed:
        logits[rest] = found
    tuned = write_tuned(job.local, body.parts, job.folder, how=settings.name)
    return Tuned(tuned, head, logits, history, chosen, unit_blocks([last]), (file,))


def draw(
    targets: Int[np.ndarray, " items"],
    rows: Int[np.ndarray, " rows"],
    n_batches: int,
    batch_size: int,
    seed: int,
    epoch: int,
) -> list[tuple[np.ndarray]]:
    """The batches of an epoch: as many texts of each class, no text twice in a batch.

    Where there are more classes than pairs in a batch, each batch has two texts of each of some classes. Classes take
    turns within a batch, so that each piece of one has several.

    Args:
        targets: The class of each item.
        rows: The items that are trained on.
        n_batches: How many.
        batch_size: Texts in a batch; at least two of a class, and fewer where classes have fewer.
        seed: Of the draw.
        epoch: Counted from 0.
    """
    random = generator(seed, "epoch", epoch)
    classes = [rows[targets[rows] == target] for target in np.unique(targets[rows])]
    n_classes = min(len(classes), max(2, batch_size // 2))
    per_class = max(2, batch_size // n_classes)
    batches = []
    for _ in range(n_batches):
        some = [
            random.permutation(classes[place])[:per_class] for place in random.permutation(len(classes))[:n_classes]
        ]
        turns = np.concatenate([np.arange(len(each)) for each in some])
        batches.append((np.concatenate(some)[np.argsort(turns, kind="stable")],))
    return batches


def in_turns(
    targets: Int[np.ndarray, " items"], rows: Int[np.ndarray, " rows"], wanted: int, seed: int
) -> Int[np.ndarray, " some"]:
    """Some items, evenly from all classes: one of each, then a second of each that has one, and so on.

    Args:
        targets: The class of each item.
        rows: Positions of the items to choose from.
        wanted: How many; more where there are more classes, and fewer where there are not so many items.
        seed: Of which items of a class.
    """
    order = generator(seed, "in turns").permutation(rows)
    order = order[np.argsort(targets[order], kind="stable")]
    _, firsts, counts = np.unique(targets[order], return_index=True, return_counts=True)
    turns = np.arange(len(order)) - np.repeat(firsts, counts)
    return np.sort(order[np.argsort(turns, kind="stable")][: max(wanted, len(counts))])


class _Model:
    """The upper part of an encoder, and the heads that are fitted on it."""

    def __init__(
        self,
        body: Body,
        targets: np.ndarray,
        rows: np.ndarray,
        others: np.ndarray,
        settings: Contrastive,
        n_classes: int,
        seed: int,
    ) -> None:
        self._body, self._settings, self._n_classes, self._seed = body, settings, n_classes, seed
        self._targets, self._rows, self._others = targets, rows, others
        self.weights = body.parts.trained
        self._start = {name: each.detach().clone() for name, each in self.weights.items()}
        self._end: dict[str, torch.Tensor] | None = None

    def optimiser(self) -> torch.optim.Optimizer:
        """AdamW with a group for each rate."""
        asked, parts = self._settings, self._body.parts
        groups = parameter_groups(
            *(parts.network, torch.nn.Identity(), parts.stages),
            lr=asked.learning_rate,
            stage_decay=asked.stage_decay,
            weight_decay=asked.weight_decay,
        )
        return torch.optim.AdamW(groups, fused=True)

    def loss(self, batch: tuple[np.ndarray, ...]) -> Step:
        """How the texts of a batch lie; no class is predicted."""
        (rows,) = batch
        train_mode(self._body.parts.network)
        units = torch.nn.functional.normalize(self._body.run(*self._body.inputs(rows)), dim=1)
        targets = torch.from_numpy(self._targets[rows]).to(units.device)
        same = targets[:, None] == targets[None]
        value = LOSSES[self._settings.loss](units @ units.T, same, self._settings.temperature)
        return Step(value, targets.new_empty(0), targets)

    def worst_loss(self, batches: list[tuple[np.ndarray]]) -> float:
        """The loss above which training has done harm: some times that of the start, or that of guessing."""
        at_start = losses_now(self.loss, batches, self._body.device)
        # For one text all others of its batch look alike; for `pairs` all texts lie in one place.
        guessed = 0.5 if self._settings.loss == "pairs" else math.log(max(2, *(len(rows) for (rows,) in batches)) - 1)
        return _DIVERGED * max(guessed, sum(at_start) / len(at_start))

    @said_plainly(TOO_LARGE)
    def measure(self, on_held_out: OnHeldOut | None) -> Scores:
        """Log loss, and how a head on some trained texts classifies some that are held out.

        Args:
            on_held_out: Told what each of these loses.
        """
        others = self._some(self._others, _WATCHED)
        logits = self._head_on(self._some(self._rows, _WATCHED)).logits(self._body.features(others))
        targets = self._targets[others]
        if on_held_out is not None and np.isfinite(logits).all():
            on_held_out(calibrated_losses(logits, targets))
        shares = softmax(logits)[np.arange(len(targets)), targets]
        return scores(float(-np.log(shares + _TINY).mean()), logits.argmax(axis=1), targets)

    def choose(self, groups: list[np.ndarray]) -> list[float]:
        """How far from the start, 0, to where training ended, 1, each group of held-out texts is classified best.

        By log loss with the best temperature: the further texts that were trained on moved, the more is a head too
        sure. Groups are compared on some of their texts.

        Args:
            groups: Positions of texts.
        """
        watched = [self._some(each, _COMPARED) for each in groups]
        losses = []
        for share in SHARES:
            self._put(share)
            head = self._head_on(self._some(self._rows, _COMPARED))
            found = [head.logits(self._body.features(each)) for each in watched]
            losses.append([calibrated_loss(a, self._targets[b]) for a, b in zip(found, watched, strict=True)])
        return [SHARES[int(best)] for best in np.argmin(losses, axis=0)]

    def logits(self, share: float, rows: np.ndarray) -> Float[np.ndarray, "rows classes"]:
        """What a head on all trained texts says of some texts, so far from the start.

        Args:
            share: 0 for the start, 1 for where training ended.
            rows: Positions of the texts.
        """
        self._put(share)
        return self._head_on(self._rows).logits(self._body.features(rows))

    def finish(self, share: float) -> tuple[LinearHead, Float[np.ndarray, "items width"]]:
        """Move the weights so far from the start, and fit the head there.

        Args:
            share: 0 for the start, 1 for where training ended.

        Returns:
            The head, and the features of all texts.
        """
        self._put(share)
        last = self._body.features(np.arange(len(self._targets)))
        head = self._fitted(last[self._rows], self._rows)
        return head, last

    def _head_on(self, rows: np.ndarray) -> LinearHead:
        return self._fitted(self._body.features(rows), rows)

    def _put(self, share: float) -> None:
        if self._end is None:
            self._end = {name: each.detach().clone() for name, each in self.weights.items()}
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self._end[name])
        interpolate(self.weights, self._start, share)

    def _fitted(self, last: np.ndarray, rows: np.ndarray) -> LinearHead:
        scaling = Scaling.fit(last)
        seen = scaling.apply(last)
        head = logistic.fit(seen, self._targets[rows], l2=self._settings.l2, n_classes=self._n_classes)
        return scaling.fold_into(head)

    def _some(self, rows: np.ndarray, wanted: int) -> np.ndarray:
        return in_turns(self._targets, rows, wanted, self._seed)
