"""Items through backbones, once ever: what the store has is read, the rest is computed and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import product
from typing import cast

import numpy as np
from jaxtyping import Bool, Float32

from headstart._checks import did_you_mean
from headstart._memory import kept_memory
from headstart._progress import SILENT, Progress, Task
from headstart.backbones.backbone import Backbone, Batch
from headstart.backbones.loaders.pixels import THUMBNAIL
from headstart.backbones.precision import Precision
from headstart.backbones.resolve import Local, load, preprocessing_of
from headstart.backbones.spec import BackboneSpec
from headstart.data.dataset import Items
from headstart.errors import OptionError, StoreError
from headstart.features._decoding import BATCH, Prepared, decode_ahead, sort_by_length
from headstart.features.namespace import Namespace
from headstart.features.protocol import FeatureStore, FeatureWriter
from headstart.features.views import PLAIN, View

_NOT_FINITE = "the network gives infinite features for it"


@dataclass(frozen=True)
class Features:
    """What one backbone says about items.

    Attributes:
        backbone: Its spec.
        values: One row an item, all layers side by side; rows that are not `there` are zero.
        there: Which rows could be computed.
        n_computed: Rows that this call computed; the others were in the store.
        seconds: Time that the backbone itself took in this call, decoding not included.
        views: What it says about further views of the same items, for strategies that train on several.
    """

    backbone: BackboneSpec
    values: Float32[np.ndarray, "items width"]
    there: Bool[np.ndarray, " items"]
    n_computed: int = 0
    seconds: float = 0.0
    views: tuple[Features, ...] = ()

    def layer(self, name: str) -> Float32[np.ndarray, "items layer_width"]:
        """The columns of one layer.

        Raises:
            OptionError: If there is no layer of that name.
        """
        start = 0
        for layer in self.backbone.layers:
            if layer.name == name:
                return self.values[:, start : start + layer.width]
            start += layer.width
        raise OptionError(
            f"the backbone {self.backbone.name!r} has no layer {name!r}",
            hint=did_you_mean(name, [layer.name for layer in self.backbone.layers]),
        )

    def take(self, rows: np.ndarray | slice) -> Features:
        """The features of the items at these positions."""
        views = tuple(view.take(rows) for view in self.views)
        return Features(self.backbone, self.values[rows], self.there[rows], self.n_computed, self.seconds, views)


@dataclass(frozen=True)
class Extraction:
    """The features of items from several backbones.

    Attributes:
        features: One per backbone, in the given order; with several views, all backbones for the first one first.
        damaged: For each item that cannot be used, its position and the reason.
        wall_s: Time from the first to the last item in seconds, decoding and loading included.
        loading_s: Of which importing libraries and loading weights.
    """

    features: tuple[Features, ...]
    damaged: dict[int, str] = field(default_factory=dict)
    wall_s: float = 0.0
    loading_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Compute:
    """How networks run.

    Attributes:
        device: As from `pick_device`.
        precision: As from `pick_precision`.
    """

    device: str = "cpu"
    precision: Precision = "float32"


def namespace_of(local: Local, compute: Compute, view: View = PLAIN) -> Namespace:
    """The identity of the features that a backbone computes in this precision for a view of items."""
    exact = local.spec.loader in {"pixels", "keras"}  # these run in float32 whatever is asked for
    return Namespace(
        weights_sha256=local.spec.source.sha256,
        preprocessing=preprocessing_of(local),
        layers=tuple((f"{layer.name}/{layer.grid}", layer.width) for layer in local.spec.layers),
        # A file has 256 shades, and so has the smaller type between two powers of two.
        dtype="bfloat16" if local.spec == THUMBNAIL else "float32" if exact else compute.precision,
        view=view.name,
        backbone=local.spec.name,
    )


def extract(
    items: Items,
    backbones: Sequence[Local],
    *,
    store: FeatureStore,
    compute: Compute,
    views: Sequence[View] = (PLAIN,),
    deadline: float | None = None,
    later_s: float = 0.0,
    running: MutableMapping[str, Backbone] | None = None,
    progress: Progress = SILENT,
) -> Extraction:
    """The features of items, from the store where it has them.

    Every finished batch is in the store before the next begins, so an interruption costs at most one batch. When the
    store cannot be written to any more, that is said, and the work goes on without it.

    Args:
        items: What to compute, with content keys; on a deadline the first ones are computed first (of texts, the first
            64 in any order, then as many again, and so on to a thousand at a time).
        backbones: Of the items' modality; an image is decoded once for all of them.
        store: Where rows are looked up and kept.
        compute: Device and precision.
        views: Which views of the items; an image is decoded once for all. Texts have the plain one alone.
        deadline: When to stop, on the clock of `time.monotonic`; rows that are not reached are not `there`. At least
            one item is computed, and a batch that has begun is finished.
        later_s: How much earlier the deadline comes for each item that the store has or that is computed: seconds that
            it will cost afterwards.
        running: Backbones that are loaded already, by name; those that this call loads are added.
        progress: Where progress is shown.

    Raises:
        OptionError: If the items have no content keys, a backbone sees something else than them, or further views of
            texts are wanted.
        StoreError: If the store cannot be read.
        BackboneError: If a backbone cannot be loaded.
    """
    start = time.monotonic()
    _check(items, backbones, views)
    work = _Work.begin(items, backbones, store, compute, views)
    loading_s = 0.0
    if work.todo:
        with kept_memory():
            with ExitStack() as stack:
                prepared = stack.enter_context(_prepare(items, work))
                begin_loading = time.monotonic()
                work.open(stack, store, compute, running={} if running is None else running, progress=progress)
                loading_s = time.monotonic() - begin_loading
                task = stack.enter_context(progress.task(work.title, len(work.todo)))
                n_there = len(items) - len(work.todo)
                by = None if deadline is None else deadline - n_there * later_s
                _run(prepared, work, task, deadline=by, later_s=later_s)
            work.close()
    return Extraction(
        features=tuple(columns.features(work.first_of) for columns in work.columns),
        damaged={row: work.damaged[key] for row, key in enumerate(items.keys) if key in work.damaged},
        wall_s=time.monotonic() - start,
        loading_s=loading_s,
    )


def _check(items: Items, backbones: Sequence[Local], views: Sequence[View]) -> None:
    if len(items.keys) != len(items):
        raise OptionError(
            f"features need the content key of each item, but got {len(items.keys)} keys for {len(items)} items",
            hint="Use headstart.data.identify first.",
        )
    for local in backbones:
        if local.spec.modality != items.modality:
            raise OptionError(
                f"the backbone {local.spec.name!r} sees items of the kind {local.spec.modality!r}, "
                f"but got items of the kind {items.modality!r}",
                hint="Choose another backbone: headstart backbones list",
            )
    if items.modality != "image" and any(view.number for view in views):
        raise OptionError(
            f"only images have further views, but got items of the kind {items.modality!r}", hint="Leave views out."
        )


class _Keeper:
    """A writer that gives up aloud: a full disk must not cost the features that were computed."""

    def __init__(self, writer: FeatureWriter, progress: Progress) -> None:
        self._writer: FeatureWriter | None = writer
        self._progress = progress

    def append(self, keys: Sequence[str], rows: Float32[np.ndarray, "rows width"]) -> None:
        """Keep one batch, if that is possible."""
        self._attempt(lambda writer: writer.append(keys, rows))

    def reject(self, key: str, reason: str) -> None:
        """Remember one damaged item, if that is possible."""
        self._attempt(lambda writer: writer.reject([key], [reason]))

    def _attempt(self, write: Callable[[FeatureWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            write(self._writer)
        except StoreError as error:
            self._writer = None
            self._progress.say(f"Features are no longer kept for the next run: {error}. {error.hint}")


@dataclass
class _Columns:
    """One backbone's part of the work: rows by distinct content."""

    local: Local
    view: View
    namespace: Namespace
    values: np.ndarray
    there: np.ndarray
    missing: bool = False
    backbone: Backbone | None = None
    keeper: _Keeper | None = None
    seconds: float = 0.0
    n_computed: int = 0

    def compute(self, rows: Sequence[int], keys: Sequence[str], batch: Batch) -> list[int]:
        """Compute, keep, and only then show.

        Returns:
            The rows whose features are not finite; they are neither kept nor shown.
        """
        backbone, keeper = cast("Backbone", self.backbone), cast("_Keeper", self.keeper)
        begin = time.monotonic()
        values = backbone.forward(batch)
        self.seconds += time.monotonic() - begin
        self.n_computed += len(rows)
        with np.errstate(over="ignore"):  # the largest float32 numbers are infinite in bfloat16
            rounded = self.namespace.rounded(np.nan_to_num(values, nan=np.inf))
        good = np.flatnonzero(np.isfinite(values).all(axis=1) & np.isfinite(rounded).all(axis=1))
        if len(good):
            keeper.append([keys[index] for index in good.tolist()], rounded[good])
            shown = np.asarray(rows)[good]
            self.values[shown] = rounded[good]
            self.there[shown] = True
        return [row for row in rows if not self.there[row]]

    def features(self, first_of: np.ndarray) -> Features:
        """Rows by item instead of by content."""
        values, there = self.values, self.there
        if len(first_of) > len(values):  # else every item is a content of its own, and nothing needs to be copied
            values, there = values[first_of], there[first_of]
        return Features(self.local.spec, values, there, self.n_computed, self.seconds)


@dataclass
class _Work:
    """What is to be done: `todo` are positions in `keys`, the distinct contents."""

    keys: list[str]
    example: list[int]  # for each distinct content the position of one item that has it
    first_of: np.ndarray  # for each item the position of its content in `keys`
    columns: list[_Columns]
    todo: list[int]
    damaged: dict[str, str]

    @staticmethod
    def begin(
        items: Items, backbones: Sequence[Local], store: FeatureStore, compute: Compute, views: Sequence[View]
    ) -> _Work:
        """See what the store has."""
        position: dict[str, int] = {}
        example: list[int] = []
        for row, key in enumerate(items.keys):
            if key not in position:
                position[key] = len(example)
                example.append(row)
        keys = list(position)
        damaged = store.rejected(keys)
        columns = []
        for view, local in product(views, backbones):
            namespace = namespace_of(local, compute, view)
            columns.append(_Columns(local, view, namespace, *store.read(namespace, keys)))
        todo = [
            row
            for row, key in enumerate(keys)
            if key not in damaged and not all(column.there[row] for column in columns)
        ]
        for column in columns:
            column.missing = not all(column.there[row] for row in todo)
        first_of = np.array([position[key] for key in items.keys], dtype=np.int64)
        return _Work(keys, example, first_of, columns, todo, damaged)

    @property
    def title(self) -> str:
        """What is computed, in words."""
        missing = [column for column in self.columns if column.missing]
        names = " + ".join(dict.fromkeys(column.local.spec.name for column in missing))
        n_views = len({column.view for column in missing})
        return f"Computing {n_views} views, {names}" if n_views > 1 else f"Computing {names}"

    def open(
        self,
        stack: ExitStack,
        store: FeatureStore,
        compute: Compute,
        *,
        running: MutableMapping[str, Backbone],
        progress: Progress,
    ) -> None:
        """Load the backbones that are needed and open their writers."""
        for column in self.columns:
            if column.missing:
                name = column.local.spec.name
                if name not in running:
                    running[name] = load(column.local, device=compute.device, precision=compute.precision)
                column.backbone = running[name]
                column.keeper = _Keeper(stack.enter_context(store.writer(column.namespace)), progress)

    def close(self) -> None:
        """Let go of the backbones: what follows needs their memory."""
        for column in self.columns:
            column.backbone = column.keeper = None

    def reject(self, row: int, reason: str) -> None:
        """Remember that a content cannot be decoded."""
        self.damaged[self.keys[row]] = reason
        keepers = [column.keeper for column in self.columns if column.keeper is not None]
        keepers[0].reject(self.keys[row], reason)


def _prepare(items: Items, work: _Work) -> AbstractContextManager[Iterator[Prepared]]:
    values = [items.values[work.example[row]] for row in work.todo]
    needed = [(column.local.spec, column.view) for column in work.columns if column.missing]
    if items.modality == "text":
        return sort_by_length([str(value) for value in values], len(needed))
    return decode_ahead(
        values,
        [spec.image for spec, _ in needed if spec.image is not None],
        views=[view for spec, view in needed if spec.image is not None],
        keys=[work.keys[row] for row in work.todo],
    )


def _run(prepared: Iterator[Prepared], work: _Work, task: Task, *, deadline: float | None, later_s: float) -> None:
    """Batch by batch; a batch is what the rows of one backbone have in common."""
    batch: list[Prepared] = []
    for n_done, item in enumerate(prepared, start=1):
        if item.reason:
            work.reject(work.todo[item.position], item.reason)
            task.advance()
        else:
            batch.append(item)
        if len(batch) == BATCH:
            _compute(batch, work, task)
            batch = []
        if deadline is not None and time.monotonic() + n_done * later_s >= deadline:
            break
    if batch:
        _compute(batch, work, task)


def _compute(batch: Sequence[Prepared], work: _Work, task: Task) -> None:
    slot = 0
    for column in work.columns:
        if not column.missing:
            continue
        wanted = [item for item in batch if not column.there[work.todo[item.position]]]
        if wanted:
            rows = [work.todo[item.position] for item in wanted]
            parts = [item.parts[slot] for item in wanted]
            # Not kept in the store as damaged: other backbones and precisions may well see this item.
            lost = column.compute(rows, [work.keys[row] for row in rows], _as_batch(parts))
            work.damaged |= {work.keys[row]: _NOT_FINITE for row in lost}
        slot += 1
    task.advance(len(batch))


def _as_batch(parts: Sequence[np.ndarray | str]) -> Batch:
    if isinstance(parts[0], str):
        return [str(part) for part in parts]
    return np.stack([np.asarray(part) for part in parts])
