"""The control that costs as much as transfer: the same network with random weights, trained on the same items."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, UInt8

from headstart._memory import kept_memory
from headstart._progress import SILENT, Progress
from headstart._randomness import generator
from headstart.adaptation._batches import evenly
from headstart.adaptation.epochs import Epoch, History
from headstart.adaptation.loop import Loop, Step, train
from headstart.adaptation.memory import said_plainly
from headstart.adaptation.schedules import one_cycle
from headstart.backbones.backbone import Batch
from headstart.backbones.fresh import fresh
from headstart.backbones.preprocess import augment_image, decoded_px, prepare_image, resized_px
from headstart.backbones.resolve import Local
from headstart.backbones.spec import ImageInput
from headstart.data.dataset import Items, Value
from headstart.data.images import open_image
from headstart.errors import OptionError, StoreError
from headstart.features.extract import Compute

_BATCH = 32
_HIGHEST_RATE = {"image": 1e-3, "text": 3e-4}
_WEIGHT_DECAY = 0.05
_LABEL_SMOOTHING = 0.1
_LONGEST_GRADIENT = 1.0
_DIVERGED = 100.0  # times what guessing loses: a network that nobody trained may begin with any loss
_THREADS = 2  # decoding and resizing let go of the interpreter
_NORM_BATCHES = 32
_TOO_LARGE = "for this network and a batch of items"
_TRIED = 16  # items in each of the two steps that are timed
_EPOCHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Few numbers, so that a clock which runs a little differently seldom gives another one."""


@dataclass(frozen=True, eq=False)
class Scratch:
    """What a network that began with random weights says.

    Attributes:
        probabilities: Of the unseen items.
        history: What the training did.
    """

    probabilities: Float64[np.ndarray, "items classes"]
    history: History


@dataclass(frozen=True, slots=True)
class Plan:
    """What fits into a given time.

    Attributes:
        epochs: How many; 0 where there is no time for one.
        epoch_s: Seconds that each takes, by a step that was timed.
        around_s: Seconds for what comes before and after: decoding, and predicting the unseen items.
    """

    epochs: int
    epoch_s: float
    around_s: float


@said_plainly(_TOO_LARGE)
@kept_memory()
def from_scratch(
    local: Local,
    items: Items,
    targets: Int[np.ndarray, " items"],
    unseen: Items,
    *,
    n_classes: int,
    epochs: int,
    compute: Compute,
    seed: int,
    scratch: Path,
    deadline: float | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    progress: Progress = SILENT,
) -> Scratch:
    """Train the network of a backbone from random weights, and predict other items.

    Everything is trained, with AdamW and one cycle of the rate, label smoothing, and for images another random crop in
    each epoch, mirrored in half of the cases. BatchNorm collects its statistics itself; after the training they are
    taken anew with the final weights, because those of a short training lag behind (Wu and Johnson, 2021).

    The same arguments give the same numbers on the CPU, unless the deadline ends the training. The files of the
    backbone are not written to.

    Args:
        local: The backbone; its weights are not used.
        items: The training items, none of them damaged.
        targets: The class of each.
        unseen: The items to predict, none of them damaged.
        n_classes: The number of classes.
        epochs: Each sees every training item once; 1 or more.
        compute: Device and precision.
        seed: Of weights, order, crops and dropout; 0 or greater.
        scratch: A folder for decoded pictures, which are removed at the end.
        deadline: When to stop training, on the clock of `time.monotonic`; one step is made in any case.
        on_epoch: Told of each epoch.
        progress: Where progress is shown.

    Raises:
        OptionError: If there is to be no epoch.
        BackboneError: If the library of the backbone cannot make its network anew, or the memory is too small.
        DamagedItem: If an image cannot be decoded.
        StoreError: If decoded pictures cannot be kept.
    """
    if epochs < 1:
        raise OptionError(
            f"the number of epochs of a training from scratch must be 1 or more, but got {epochs}",
            hint="Give it more time, or leave it out.",
        )
    model = _Model(local, n_classes, compute, seed)
    with (
        ThreadPoolExecutor(_THREADS, thread_name_prefix="scratch") as pool,
        _opened(items, local, pool, seed, scratch, progress) as seen,
        progress.task("Training from scratch", epochs) as task,
    ):

        def told(epoch: Epoch) -> None:
            task.advance()
            if on_epoch is not None:
                on_epoch(epoch)

        def batches(epoch: int) -> list[tuple[np.ndarray, ...]]:
            order = generator(seed, "scratch", epoch).permutation(len(items))
            return [(rows, np.full(len(rows), epoch)) for rows in evenly(order, _BATCH)]

        def loss(batch: tuple[np.ndarray, ...]) -> Step:
            return model.loss(seen.crops(*batch), targets[batch[0]])

        history = train(
            Loop(epochs, one_cycle, _LONGEST_GRADIENT, _DIVERGED * math.log(max(2, n_classes)), seed),
            model.weights,
            model.optimiser(_HIGHEST_RATE[items.modality]),
            batches,
            loss,
            identity={},
            deadline=deadline,
            on_epoch=told,
        )
        model.settle(seen.plain(rows) for rows, _ in batches(epochs)[:_NORM_BATCHES])
        found = [
            model.probabilities(_prepared(unseen.take(rows), local.spec.image, pool))
            for rows in evenly(np.arange(len(unseen)), _BATCH)
        ]
    return Scratch(np.concatenate([np.zeros((0, n_classes)), *found]), history)


@said_plainly(_TOO_LARGE)
@kept_memory()
def plan(
    local: Local, items: Items, n_unseen: int, *, seconds: float, compute: Compute, seed: int, scratch: Path
) -> Plan:
    """How many epochs fit into a time, from steps that are made here and forgotten.

    Args:
        local: The backbone.
        items: The training items.
        n_unseen: How many items are to be predicted.
        seconds: The time for all of it, this look included.
        compute: Device and precision.
        seed: Of which items are tried.
        scratch: As for `from_scratch`.

    Raises:
        BackboneError: As `from_scratch`.
        DamagedItem: As `from_scratch`.
        StoreError: As `from_scratch`.
    """
    start = time.monotonic()
    model = _Model(local, 2, compute, seed)
    tried = generator(seed, "plan").permutation(len(items))[: 2 * _TRIED]
    optimiser, built = model.optimiser(0.0), time.monotonic()
    with ThreadPoolExecutor(_THREADS) as pool, _opened(items.take(tried), local, pool, seed, scratch, SILENT) as seen:
        decode_s = (time.monotonic() - built) / len(tried)
        item_s = math.inf
        for number, rows in enumerate(np.array_split(np.arange(len(tried)), 2)):
            begun = time.monotonic()
            model.loss(seen.crops(rows, np.full(len(rows), number)), rows % 2).loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            item_s = min(item_s, (time.monotonic() - begun) / len(rows))  # the first one also allocates
            if time.monotonic() - start > seconds:
                break
    forward_s = item_s / 3  # the way back is about twice as long
    n_passed = n_unseen + min(len(items), _NORM_BATCHES * _BATCH)
    around_s = built - start + decode_s * (len(items) + n_unseen) + forward_s * n_passed
    epoch_s = item_s * len(items)
    left_s = seconds - around_s - (time.monotonic() - start)
    return Plan(max((n for n in _EPOCHS if n * epoch_s <= left_s), default=0), epoch_s, around_s)


class _Model:
    """A network with random weights and a linear head."""

    def __init__(self, local: Local, n_classes: int, compute: Compute, seed: int) -> None:
        self._made = fresh(local, seed=seed, device=compute.device)
        self._device = torch.device(compute.device)
        self._bfloat16 = compute.precision == "bfloat16"
        width = next(layer.width for layer in local.spec.layers if layer.name == "last")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator(seed, "fresh head").integers(2**63)))
            self._head = torch.nn.Linear(width, n_classes).to(self._device)
        self.weights = {f"network.{name}": each for name, each in self._made.network.named_parameters()}
        self.weights |= {f"head.{name}": each for name, each in self._head.named_parameters()}

    def optimiser(self, rate: float) -> torch.optim.Optimizer:
        """AdamW with one rate; biases and norms, which have one dimension, do not decay."""
        groups = [
            {"params": [each for each in self.weights.values() if (each.ndim > 1) is decays], "weight_decay": decay}
            for decays, decay in ((True, _WEIGHT_DECAY), (False, 0.0))
        ]
        return torch.optim.AdamW([{**group, "lr": rate, "peak_lr": rate} for group in groups], fused=True)

    def loss(self, batch: Batch, targets: Int[np.ndarray, " items"]) -> Step:
        """The mean loss of a batch, in training mode."""
        self._made.network.train()
        logits, wanted = self._logits(batch), torch.from_numpy(targets).to(self._device)
        value = torch.nn.functional.cross_entropy(logits, wanted, label_smoothing=_LABEL_SMOOTHING)
        return Step(value, logits.detach().argmax(dim=1), wanted)

    def probabilities(self, batch: Batch) -> Float64[np.ndarray, "items classes"]:
        """Of prepared items, in evaluation mode."""
        self._made.network.eval()
        with torch.inference_mode():
            return np.asarray(self._logits(batch).cpu().double().softmax(dim=1).numpy())

    def settle(self, batches: Iterable[Batch]) -> None:
        """Take the statistics of BatchNorm anew, as means over batches of items as they are; dropout is off."""
        network = self._made.network.eval()
        norms = [each for each in network.modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # PyTorch's word for a mean over all batches
        with torch.no_grad():
            for batch in batches if norms else ():
                self._logits(batch)

    def _logits(self, batch: Batch) -> Float[torch.Tensor, "items classes"]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            last = self._made.last(batch)
        logits: torch.Tensor = self._head(last.float())
        return logits


class _Seen(Protocol):
    """Training items, prepared."""

    def crops(self, rows: Int[np.ndarray, " rows"], epochs: Int[np.ndarray, " rows"]) -> Batch:
        """Each item as it looks in an epoch."""

    def plain(self, rows: Int[np.ndarray, " rows"]) -> Batch:
        """Each item as it looks when it is predicted."""


class _Texts:
    """Texts look the same in every epoch."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def crops(self, rows: Int[np.ndarray, " rows"], epochs: Int[np.ndarray, " rows"]) -> Batch:
        del epochs
        return self.plain(rows)

    def plain(self, rows: Int[np.ndarray, " rows"]) -> Batch:
        return [self._texts[row] for row in rows]


class _Pictures:
    """Pictures that were decoded and resized once, and are cropped anew in each epoch."""

    def __init__(
        self, squares: UInt8[np.ndarray, "items side side 3"], wanted: ImageInput, pool: Executor, seed: int
    ) -> None:
        self._squares, self._wanted, self._pool, self._seed = squares, wanted, pool, seed

    def crops(self, rows: Int[np.ndarray, " rows"], epochs: Int[np.ndarray, " rows"]) -> Batch:
        def crop(row: int, epoch: int) -> np.ndarray:
            image = open_image(self._squares[row])
            return augment_image(image, self._wanted, generator(self._seed, "crop", epoch, row))

        return np.stack(list(self._pool.map(crop, rows.tolist(), epochs.tolist())))

    def plain(self, rows: Int[np.ndarray, " rows"]) -> Batch:
        return np.stack([prepare_image(open_image(self._squares[row]), self._wanted) for row in rows.tolist()])


@contextlib.contextmanager
def _opened(
    items: Items, local: Local, pool: Executor, seed: int, scratch: Path, progress: Progress
) -> Iterator[_Seen]:
    """Training items; pictures lie decoded in a file as long as the context is open."""
    wanted = local.spec.image
    if wanted is None:
        yield _Texts([str(value) for value in items.values])
        return
    side = resized_px(wanted)
    whole = replace(wanted, size_px=side, crop=1.0)
    file = scratch / "pictures.u8"
    try:
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            # Written, not mapped: on a full disk a write fails with an error, and a mapping kills the process.
            with file.open("wb") as out, progress.task("Preparing pictures", len(items)) as task:
                for rows in evenly(np.arange(len(items)), _BATCH):
                    out.write(np.stack(cast("list[np.ndarray]", _prepared(items.take(rows), whole, pool))).tobytes())
                    task.advance(len(rows))
            squares = np.memmap(file, dtype=np.uint8, mode="r", shape=(len(items), side, side, 3))
        except OSError as error:
            raise StoreError(
                f"decoded pictures cannot be kept in {str(scratch)!r}: {error.strerror or error}",
                hint=f"Make room for {len(items) * side**2 * 3 / 1e6:,.0f} MB, or use the quick control.",
            ) from error
        yield _Pictures(squares, wanted, pool, seed)
    finally:
        with contextlib.suppress(OSError):  # what is left, the caller's folder takes along
            file.unlink(missing_ok=True)


def _prepared(items: Items, wanted: ImageInput | None, pool: Executor) -> Batch:
    """Items as a backbone sees them."""
    if wanted is None:
        return [str(value) for value in items.values]

    def prepared(value: Value) -> np.ndarray:
        image = open_image(cast("Path | np.ndarray", value), at_least_px=decoded_px(wanted))
        return prepare_image(image, wanted)

    return np.stack(list(pool.map(prepared, items.values)))
