"""Makes items ready for their backbones: images are decoded in other processes, a window ahead of the network."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from headstart._randomness import generator
from headstart._records import to_json
from headstart.backbones.spec import ImageInput
from headstart.data.dataset import Value
from headstart.data.images import DamagedItem
from headstart.features._decoder import prepare
from headstart.features.views import PLAIN, View

BATCH = 32
"""Items that go through a network at a time."""

_WORTH_PROCESSES = 48  # below this many items the start of the processes costs more than they save
_WINDOW_BYTES = 64 * 10**6
_MAX_PROCESSES = 8
_ATTEMPTS = 2
_FIRST_TEXTS, _TEXT_CHUNK = 64, 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """One item ready for its backbones, or the reason why it is not.

    Attributes:
        position: Which item, as given to `decode_ahead`.
        parts: What each backbone gets: a picture per preprocessing, or the text; empty when the item is damaged.
        reason: Why it is damaged, else empty.
    """

    position: int
    parts: tuple[np.ndarray | str, ...]
    reason: str = ""


class _CannotStart(Exception):  # noqa: N818 - it is caught a few lines below
    """There is no Python that could run a decoder here."""


class _Crashed(Exception):  # noqa: N818 - likewise
    """The process died, or said something else than an answer."""


class _Process:
    """One decoding process."""

    def __init__(self, inputs: Sequence[ImageInput], views: Sequence[View]) -> None:
        self._inputs = inputs
        wanted = [to_json(list(each), indent=0) for each in (inputs, views)]
        # -P: a file of the user's that is called like a module, in the folder they work in, must not be imported.
        command = [sys.executable, "-P", "-m", "headstart.features._decoder", *wanted]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise _CannotStart from error

    def wait_until_ready(self) -> None:
        """Wait until it has imported what it needs.

        Raises:
            _CannotStart: If it ends before.
        """
        if self._stdout.readline() != b'{"ready": true}\n':
            self.stop()
            raise _CannotStart

    def decode(self, path: Path, key: str) -> tuple[np.ndarray, ...]:
        """The pictures of one file, whose content key decides what its further views look like.

        Raises:
            DamagedItem: If it cannot be decoded.
            _Crashed: If the process died of it.
        """
        try:
            self._stdin.write(json.dumps([str(path), key]).encode() + b"\n")
            self._stdin.flush()
            answer = json.loads(self._stdout.readline())
            n_bytes = answer.get("bytes", 0)
            payload = self._stdout.read(n_bytes)
        except (OSError, ValueError) as error:
            raise _Crashed from error
        if "error" in answer:
            raise DamagedItem(str(path), answer["error"])
        if len(payload) != n_bytes:
            raise _Crashed
        return self._split(payload)

    def _split(self, payload: bytes) -> tuple[np.ndarray, ...]:
        pictures, start = [], 0
        for wanted in self._inputs:
            n_bytes = wanted.size_px**2 * 3
            flat = np.frombuffer(payload, dtype=np.uint8, count=n_bytes, offset=start)
            pictures.append(flat.reshape(wanted.size_px, wanted.size_px, 3))
            start += n_bytes
        return tuple(pictures)

    @property
    def _stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdin)

    @property
    def _stdout(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdout)

    def kill(self) -> None:
        """Make it end; a thread that waits for its answer gets none."""
        self._process.kill()

    def stop(self) -> None:
        """End it and let go of its pipes."""
        self.kill()
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):  # unsent bytes for a process that is gone
                pipe.close()


class _Pool:
    """Threads that each own one process, started when the thread decodes its first file."""

    def __init__(self, inputs: Sequence[ImageInput], views: Sequence[View], n_processes: int) -> None:
        self._inputs = list(inputs)
        self._views = list(views)
        self._in_processes = n_processes > 0
        self._lock = threading.Lock()
        self._stopping = False
        self._processes: dict[int, _Process] = {}  # by thread
        self.threads = ThreadPoolExecutor(max(1, n_processes), thread_name_prefix="decode")

    def decode(self, position: int, value: Value, key: str) -> Prepared:
        """One item; damage is a result, not an exception."""
        try:
            if isinstance(value, Path) and self._in_processes:
                return Prepared(position, self._decode_outside(value, key))
            return Prepared(position, self._decode_here(cast("Path | np.ndarray", value), key))
        except DamagedItem as error:
            return Prepared(position, (), error.reason)

    def _decode_here(self, value: Path | np.ndarray, key: str) -> tuple[np.ndarray, ...]:
        return tuple(prepare(value, self._inputs, self._views, key))

    def _decode_outside(self, path: Path, key: str) -> tuple[np.ndarray, ...]:
        """In this thread's process; one crash may have other reasons, such as no memory, two blame the file."""
        for _ in range(_ATTEMPTS):
            try:
                return self._process().decode(path, key)
            except _CannotStart:
                self._in_processes = False
                return self._decode_here(path, key)
            except _Crashed:
                self._drop_process()
        raise DamagedItem(str(path), "the image decoder crashed on it")

    def _process(self) -> _Process:
        thread = threading.get_ident()
        process = self._processes.get(thread)
        if process is None:
            with self._lock:
                if self._stopping:
                    raise _Crashed
                process = self._processes[thread] = _Process(self._inputs, self._views)
            try:
                process.wait_until_ready()
            except _CannotStart:
                self._drop_process()
                raise _Crashed if self._stopping else _CannotStart from None
        return process

    def _drop_process(self) -> None:
        process = self._processes.pop(threading.get_ident(), None)
        if process is not None:
            process.stop()

    def stop(self) -> None:
        """End all threads and processes, whatever they were doing."""
        with self._lock:
            self._stopping = True
            processes = list(self._processes.values())
        for process in processes:
            process.kill()
        self.threads.shutdown(wait=True, cancel_futures=True)
        for process in list(self._processes.values()):
            process.stop()


def _n_cores() -> int:
    """Cores that this process may use: in a container fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def decode_ahead(
    values: Sequence[Value],
    inputs: Sequence[ImageInput],
    *,
    views: Sequence[View] | None = None,
    keys: Sequence[str] | None = None,
) -> Iterator[Iterator[Prepared]]:
    """Decode images while the caller does something else.

    Args:
        values: Image files, or images as arrays.
        inputs: The preprocessing of each backbone that will see them; each file is decoded once for all.
        views: The view that each of these is to see; the plain one, if not given.
        keys: The content key of each item, where there are other views.

    Yields:
        The prepared items in the given order. Decoding begins at once and stays a bounded window ahead.
    """
    on_files = sum(isinstance(value, Path) for value in values)
    n_processes = min(_MAX_PROCESSES, _n_cores()) if on_files >= _WORTH_PROCESSES and sys.executable else 0
    item_bytes = sum(wanted.size_px**2 * 3 for wanted in inputs)
    window = max(64, _WINDOW_BYTES // max(1, item_bytes))
    pool = _Pool(inputs, views or [PLAIN] * len(inputs), n_processes)
    waiting = zip(range(len(values)), values, keys or [""] * len(values), strict=True)
    ahead: deque[Future[Prepared]] = deque()

    def fill() -> None:
        while len(ahead) < window and (following := next(waiting, None)) is not None:
            ahead.append(pool.threads.submit(pool.decode, *following))

    def prepared() -> Iterator[Prepared]:
        while ahead:
            item = ahead.popleft().result()
            fill()
            yield item

    try:
        fill()
        yield prepared()
    finally:
        pool.stop()


@contextlib.contextmanager
def sort_by_length(texts: Sequence[str], n_backbones: int) -> Iterator[Iterator[Prepared]]:
    """Texts in an order in which neighbours are about equally long, so that batches are padded little.

    Whoever stops early has still seen an unbiased beginning: the sorting is within chunks of the given order, of 64
    texts at first and a thousand at last, and the batches of a chunk come in random order, not the long ones first.

    Args:
        texts: The texts.
        n_backbones: How many backbones will see each.

    Yields:
        All texts, in runs of `BATCH` that belong together.
    """

    def prepared() -> Iterator[Prepared]:
        start = 0
        while start < len(texts):
            # Small at first: who has little time gets all of a short beginning, and not some of a long one.
            end = min(start + min(max(start, _FIRST_TEXTS), _TEXT_CHUNK), len(texts))
            for position in _by_length(texts, start, end):
                yield Prepared(position, (texts[position],) * n_backbones)
            start = end

    yield prepared()


def _by_length(texts: Sequence[str], start: int, end: int) -> list[int]:
    rows = sorted(range(start, end), key=lambda row: -len(texts[row]))
    batches = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    # The short batch of the last chunk stays at its end, so that the others are not cut in the middle.
    whole = len(rows) // BATCH
    order = [*generator(0, "text batches", start).permutation(whole), *range(whole, len(batches))]
    return [row for batch in order for row in batches[batch]]
