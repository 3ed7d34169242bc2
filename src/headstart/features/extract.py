"""Items through backbones, once ever: what the store has is read, the rest is computed and kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from jaxtyping import Bool, Float32

from headstart._progress import SILENT, Progress, Task
from headstart.backbones import Backbone, BackboneSpec, Batch, Precision, load
from headstart.backbones.resolve import Local, preprocessing_of
from headstart.data.dataset import Items
from headstart.features._decoding import Prepared, decode_ahead, sort_by_length
from headstart.features.namespace import Namespace
from headstart.features.protocol import FeatureStore, FeatureWriter

_BATCH = 32


@dataclass(frozen=True)
class Features:
    """What one backbone says about items.

    Attributes:
        backbone: Its spec.
        values: One row an item, all layers side by side; rows that are not `there` are zero.
        there: Which rows could be computed.
        n_computed: Rows that this call computed; the others were in the store.
        seconds: Time that the backbone itself took in this call, decoding not included.
    """

    backbone: BackboneSpec
    values: Float32[np.ndarray, "items width"]
    there: Bool[np.ndarray, " items"]
    n_computed: int = 0
    seconds: float = 0.0

    def layer(self, name: str) -> Float32[np.ndarray, "items layer_width"]:
        """The columns of one layer."""
        start = 0
        for layer in self.backbone.layers:
            if layer.name == name:
                return self.values[:, start : start + layer.width]
            start += layer.width
        raise KeyError(name)

    def take(self, rows: np.ndarray) -> Features:
        """The features of the items at these positions."""
        return Features(self.backbone, self.values[rows], self.there[rows], self.n_computed, self.seconds)


@dataclass(frozen=True)
class Extraction:
    """The features of items from several backbones.

    Attributes:
        features: One per backbone, in the given order.
        damaged: For each item that cannot be decoded, its position and the reason.
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


def namespace_of(local: Local, compute: Compute) -> Namespace:
    """The identity of the features that a backbone computes in this precision."""
    exact = local.spec.loader == "pixels"
    return Namespace(
        weights_sha256=local.spec.source.sha256,
        preprocessing=preprocessing_of(local),
        layers=tuple((f"{layer.name}/{layer.grid}", layer.width) for layer in local.spec.layers),
        dtype="float32" if exact else compute.precision,
        backbone=local.spec.name,
    )


def extract(
    items: Items,
    backbones: Sequence[Local],
    *,
    store: FeatureStore,
    compute: Compute,
    deadline: float | None = None,
    progress: Progress = SILENT,
) -> Extraction:
    """The features of items, from the store where it has them.

    Every finished batch is in the store before the next begins, so an interruption costs at most one batch.

    Args:
        items: What to compute, with content keys; on a deadline the first ones are computed first.
        backbones: Of the items' modality; an image is decoded once for all of them.
        store: Where rows are looked up and kept.
        compute: Device and precision.
        deadline: When to stop, on the clock of `time.monotonic`; rows that are not reached are not `there`.
        progress: Where progress is shown.
    """
    start = time.monotonic()
    work = _Work.begin(items, backbones, store, compute)
    loading_s = 0.0
    if work.todo:
        with ExitStack() as stack:
            prepared = stack.enter_context(_prepare(items, work))
            begin_loading = time.monotonic()
            work.open(stack, store, compute)
            loading_s = time.monotonic() - begin_loading
            title = "Computing " + " + ".join(columns.local.spec.name for columns in work.columns if columns.missing)
            task = stack.enter_context(progress.task(title, len(work.todo)))
            _run(prepared, work, deadline, task)
    return Extraction(
        features=tuple(columns.features(work.first_of) for columns in work.columns),
        damaged={row: work.damaged[key] for row, key in enumerate(items.keys) if key in work.damaged},
        wall_s=time.monotonic() - start,
        loading_s=loading_s,
    )


@dataclass
class _Columns:
    """One backbone's part of the work: rows by distinct content."""

    local: Local
    namespace: Namespace
    values: np.ndarray
    there: np.ndarray
    missing: bool = False
    backbone: Backbone | None = None
    writer: FeatureWriter | None = None
    seconds: float = 0.0
    n_computed: int = 0

    def compute(self, rows: Sequence[int], keys: Sequence[str], batch: Batch) -> None:
        """Compute, keep, and only then show."""
        backbone, writer = cast("Backbone", self.backbone), cast("FeatureWriter", self.writer)
        begin = time.monotonic()
        values = self.namespace.rounded(backbone.forward(batch))
        self.seconds += time.monotonic() - begin
        self.n_computed += len(rows)
        writer.append(keys, values)
        self.values[rows] = values
        self.there[rows] = True

    def features(self, first_of: np.ndarray) -> Features:
        """Rows by item instead of by content."""
        values, there = self.values[first_of], self.there[first_of]
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
    def begin(items: Items, backbones: Sequence[Local], store: FeatureStore, compute: Compute) -> _Work:
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
        for local in backbones:
            namespace = namespace_of(local, compute)
            columns.append(_Columns(local, namespace, *store.read(namespace, keys)))
        todo = [
            row
            for row, key in enumerate(keys)
            if key not in damaged and not all(column.there[row] for column in columns)
        ]
        for column in columns:
            column.missing = not all(column.there[row] for row in todo)
        first_of = np.array([position[key] for key in items.keys], dtype=np.int64)
        return _Work(keys, example, first_of, columns, todo, damaged)

    def open(self, stack: ExitStack, store: FeatureStore, compute: Compute) -> None:
        """Load the backbones that are needed and open their writers."""
        for column in self.columns:
            if column.missing:
                column.backbone = load(column.local, device=compute.device, precision=compute.precision)
                column.writer = stack.enter_context(store.writer(column.namespace))

    def reject(self, row: int, reason: str) -> None:
        """Remember that a content cannot be decoded."""
        self.damaged[self.keys[row]] = reason
        writers = [column.writer for column in self.columns if column.writer is not None]
        writers[0].reject([self.keys[row]], [reason])


def _prepare(items: Items, work: _Work) -> AbstractContextManager[Iterator[Prepared]]:
    values = [items.values[work.example[row]] for row in work.todo]
    needed = [column.local.spec for column in work.columns if column.missing]
    if items.modality == "text":
        return sort_by_length([str(value) for value in values], len(needed))
    return decode_ahead(values, [spec.image for spec in needed if spec.image is not None])


def _run(prepared: Iterator[Prepared], work: _Work, deadline: float | None, task: Task) -> None:
    """Batch by batch; a batch is what the rows of one backbone have in common."""
    batch: list[Prepared] = []
    for item in prepared:
        if item.reason:
            work.reject(work.todo[item.position], item.reason)
            task.advance()
        else:
            batch.append(item)
        if len(batch) == _BATCH:
            _compute(batch, work, task)
            batch = []
        if deadline is not None and time.monotonic() >= deadline:
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
            column.compute(rows, [work.keys[row] for row in rows], _as_batch(parts))
        slot += 1
    task.advance(len(batch))


def _as_batch(parts: Sequence[np.ndarray | str]) -> Batch:
    if isinstance(parts[0], str):
        return [str(part) for part in parts]
    return np.stack([np.asarray(part) for part in parts])
