"""The freeze boundary: what flows over the cut of a network, computed once for each item and view, and kept."""

from __future__ import annotations

import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from jaxtyping import Float, Int, UInt16

from headstart._fingerprint import fingerprint
from headstart._progress import SILENT, Progress
from headstart._records import from_json, to_json
from headstart.backbones.preprocess import decoded_px
from headstart.backbones.resolve import Local, preprocessing_of
from headstart.backbones.spec import ImageInput
from headstart.backbones.stages import Cut
from headstart.data.dataset import Items, Value
from headstart.data.images import open_image
from headstart.errors import OptionError, StoreError
from headstart.features._decoding import BATCH
from headstart.features.extract import Compute
from headstart.features.views import View, picture

_THREADS = 2  # decoding lets go of the interpreter; more would take cores from the network
_VALUE_BYTES = 2  # bfloat16


@dataclass(frozen=True)
class _Layout:
    """How rows lie in the file.

    Attributes:
        shape: Of one row: of a picture, or of a token.
        starts: The first row of each item and view.
        lengths: The tokens of each text; empty for images, which have one row an item and view.
    """

    shape: tuple[int, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Boundary:
    """Activations of items at a cut, in bfloat16, memory-mapped.

    Attributes:
        values: The rows, as the upper halves of float32 numbers.
        starts: The first row of each item and view.
        lengths: The tokens of each text; None for images.
    """

    values: UInt16[np.ndarray, "rows ..."]
    starts: Int[np.ndarray, "items views"]
    lengths: Int[np.ndarray, " items"] | None

    @property
    def n_views(self) -> int:
        """How many views of each item there are; the first is the plain one."""
        return int(self.starts.shape[1])

    def batch(
        self, items: Int[np.ndarray, " batch"], views: Int[np.ndarray, " batch"] | int = 0
    ) -> tuple[Float[torch.Tensor, "batch ..."], Int[torch.Tensor, " batch"] | None]:
        """What `Cut.upper` takes, in float32; texts are padded to the longest of the batch.

        Args:
            items: Positions.
            views: Which view of each.
        """
        starts = self.starts[items, views]
        if self.lengths is None:
            return _as_float32(self.values[starts]), None
        lengths = self.lengths[items]
        rows = [_as_float32(self.values[start : start + n]) for start, n in zip(starts, lengths, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.from_numpy(lengths)


def _as_float32(bits: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(bits)).view(torch.bfloat16).float()


def keep_boundary(
    items: Items,
    local: Local,
    cut: Cut,
    *,
    n_views: int,
    seed: int,
    compute: Compute,
    folder: Path,
    progress: Progress = SILENT,
) -> Boundary:
    """The activations of items, from the folder where it has them, else computed and kept there.

    Args:
        items: With content keys, none of them damaged. What an item's views look like depends on the seed and the
            item's content alone.
        local: The backbone.
        cut: The same backbone in two parts.
        n_views: 1 for the plain items; each further view is a random crop of the image, mirrored in half of the cases.
        seed: Of the views, 0 or greater.
        compute: What the lower part runs in.
        folder: For scratch; it is made. A file in it is complete or is not looked at.
        progress: Where progress is shown.

    Raises:
        OptionError: If there is no view, or more than one of texts.
        DamagedItem: If an image cannot be decoded.
        StoreError: If the folder cannot be written, or if its disk has no room for all of them: this is told as soon
            as the first batch shows how large they are.
    """
    if n_views < 1 or (n_views > 1 and local.spec.image is None):
        raise OptionError(
            f"the number of views must be 1 or more, and 1 for texts, but got {n_views}",
            hint="Only images have further views.",
        )
    identity = fingerprint(
        [
            *(local.spec.source.sha256, preprocessing_of(local), len(cut.stages), compute.precision, items.keys),
            *(View(number, seed).name for number in range(1, n_views)),
        ]
    )
    file = folder / f"{identity[:24]}.bf16"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.with_suffix(".json").exists():
            _compute(items, local.spec.image, cut, n_views=n_views, seed=seed, file=file, progress=progress)
        layout = from_json(file.with_suffix(".json").read_bytes(), _Layout)
        values = np.memmap(file, dtype=np.uint16, mode="r").reshape(-1, *layout.shape)
    except OSError as error:
        raise StoreError(
            f"activations cannot be kept in {str(folder)!r}: {error.strerror or error}",
            hint="Make room, train fewer views, or set HEADSTART_HOME to a larger disk.",
        ) from error
    starts = np.array(layout.starts, dtype=np.int64).reshape(len(items), n_views)
    return Boundary(values, starts, np.array(layout.lengths, dtype=np.int64) if layout.lengths else None)


def _compute(
    items: Items, wanted: ImageInput | None, cut: Cut, *, n_views: int, seed: int, file: Path, progress: Progress
) -> None:
    """Append batch by batch, then say how the rows lie: without that the file counts for nothing.

    Written, not mapped: on a full disk a write fails with an error, and a mapping kills the process.
    """
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        with partial.open("wb") as out, progress.task("Computing the frozen stages", len(items)) as task:
            if wanted is None:
                layout = _texts([str(value) for value in items.values], cut, out, task.advance)
            else:
                layout = _pictures(items, wanted, cut, out, n_views=n_views, seed=seed, advance=task.advance)
        partial.replace(file)
        partial.write_text(to_json(layout, indent=0), encoding="utf-8")
        partial.replace(file.with_suffix(".json"))
    finally:
        partial.unlink(missing_ok=True)


def _pictures(
    items: Items,
    wanted: ImageInput,
    cut: Cut,
    out: IO[bytes],
    *,
    n_views: int,
    seed: int,
    advance: Callable[[int], None],
) -> _Layout:
    shape: tuple[int, ...] = ()
    for batch in _views(items, wanted, n_views, seed):
        activations, _ = cut.lower(batch)
        if not shape:
            shape = tuple(activations.shape[1:])
            smaller = "train fewer stages (a lower n_stages)" + (" or fewer views" if n_views > 1 else "")
            _see_room(out, len(items) * n_views * math.prod(shape) * _VALUE_BYTES, smaller)
        _write(out, activations)
        advance(len(batch) // n_views)
    return _Layout(shape, tuple(range(len(items) * n_views)))


def _views(items: Items, wanted: ImageInput, n_views: int, seed: int) -> Iterator[np.ndarray]:
    """Batches of all views of some items, decoded a batch ahead of the network."""

    def views(value: Value, key: str) -> list[np.ndarray]:
        image = open_image(cast("Path | np.ndarray", value), at_least_px=decoded_px(wanted))
        return [picture(image, wanted, view=View(number, seed), key=key) for number in range(n_views)]

    per_batch = max(1, BATCH // n_views)
    ahead: deque[list[Future[list[np.ndarray]]]] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="views") as pool:
        for start in range(0, len(items), per_batch):
            rows = range(start, min(start + per_batch, len(items)))
            ahead.append([pool.submit(views, items.values[row], items.keys[row]) for row in rows])
            if len(ahead) > 1:
                yield np.stack([view for item in ahead.popleft() for view in item.result()])
        while ahead:
            yield np.stack([view for item in ahead.popleft() for view in item.result()])


def _texts(texts: Sequence[str], cut: Cut, out: IO[bytes], advance: Callable[[int], None]) -> _Layout:
    """Neighbours are about equally long, so that batches are padded little; padding is not kept."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    starts, counts = [0] * len(texts), [0] * len(texts)
    width = n_rows = 0
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        activations, lengths = cut.lower([texts[row] for row in rows])
        if not width:
            width = activations.shape[-1]
            n_tokens = int(cast("torch.Tensor", lengths).sum())
            # Long texts are cut off and short ones have more tokens a letter, so this is rather too little.
            n_expected = n_tokens * sum(map(len, texts)) // max(1, sum(len(texts[row]) for row in rows))
            _see_room(out, n_expected * width * _VALUE_BYTES, "train on fewer texts")
        for row, states, length in zip(rows, activations, cast("torch.Tensor", lengths).tolist(), strict=True):
            _write(out, states[:length])
            starts[row], counts[row] = n_rows, length
            n_rows += length
        advance(len(rows))
    return _Layout((width,), tuple(starts), tuple(counts))


def _see_room(out: IO[bytes], n_bytes: int, smaller: str) -> None:
    """Refuse at the start what would fill the disk hours later; `smaller` is what makes it less."""
    free = shutil.disk_usage(folder := Path(out.name).parent).free
    if n_bytes > free:
        raise StoreError(
            f"activations cannot be kept in {str(folder)!r}: they need about {math.ceil(n_bytes / 1e6):,} MB, "
            f"and {int(free / 1e6):,} MB are free",
            hint=f"Make room, {smaller}, or set HEADSTART_HOME to a larger disk.",
        )


def _write(out: IO[bytes], activations: torch.Tensor) -> None:
    rounded = activations.to(torch.bfloat16).contiguous().view(torch.int16)
    out.write(rounded.cpu().numpy().tobytes())
