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

from headstart._records import to_json
from headstart.backbones.spec import ImageInput
from headstart.data.dataset import Value
from headstart.data.images import DamagedItem
from headstart.features._decoder import prepare

_WORTH_PROCESSES = 48  # below this many items the start of the processes costs more than they save
_WINDOW_BYTES = 256 * 10**6
_MAX_PROCESSES = 8


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


class _Process:
    """One decoding process; a crash of it costs one item."""

    def __init__(self, inputs: Sequence[ImageInput]) -> None:
        self._inputs = inputs
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "headstart.features._decoder", to_json(list(self._inputs), indent=0)]
        return subprocess.Popen(  # noqa: S603 - our own module, no shell
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def decode(self, path: Path) -> tuple[np.ndarray, ...]:
        """The pictures of one file.

        Raises:
            DamagedItem: If it cannot be decoded, or made the decoder crash.
        """
        try:
            to_process = cast("IO[bytes]", self._process.stdin)
            to_process.write(json.dumps(str(path)).encode() + b"\n")
            to_process.flush()
            answer = json.loads(self._read_line())
            payload = self._read(answer.get("bytes", 0))
        except (OSError, ValueError) as error:
            self.stop()
            self._process = self._start()
            raise DamagedItem(str(path), "the image decoder crashed on it") from error
        if "error" in answer:
            raise DamagedItem(str(path), answer["error"])
        return self._split(payload)

    def _read_line(self) -> bytes:
        return cast("IO[bytes]", self._process.stdout).readline()

    def _read(self, n_bytes: int) -> bytes:
        payload = cast("IO[bytes]", self._process.stdout).read(n_bytes)
        if len(payload) != n_bytes:
            raise OSError("the decoder stopped in the middle of an answer")
        return payload

    def _split(self, payload: bytes) -> tuple[np.ndarray, ...]:
        pictures, start = [], 0
        for wanted in self._inputs:
            n_bytes = wanted.size_px**2 * 3
            flat = np.frombuffer(payload, dtype=np.uint8, count=n_bytes, offset=start)
            pictures.append(flat.reshape(wanted.size_px, wanted.size_px, 3))
            start += n_bytes
        return tuple(pictures)

    def stop(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                cast("IO[bytes]", pipe).close()
        self._process.kill()
        self._process.wait()


class _Pool:
    """Threads that each own one process, started when the thread decodes its first file."""

    def __init__(self, inputs: Sequence[ImageInput], n_processes: int) -> None:
        self._inputs = list(inputs)
        self._n_processes = n_processes
        self._own = threading.local()
        self._processes: list[_Process] = []
        self.threads = ThreadPoolExecutor(max(1, n_processes), thread_name_prefix="decode")

    def decode(self, position: int, value: Value) -> Prepared:
        """One item; damage is a result, not an exception."""
        try:
            if isinstance(value, Path) and self._n_processes:
                return Prepared(position, self._process().decode(value))
            return Prepared(position, tuple(prepare(cast("Path | np.ndarray", value), self._inputs)))
        except DamagedItem as error:
            return Prepared(position, (), error.reason)

    def _process(self) -> _Process:
        if not hasattr(self._own, "process"):
            self._own.process = _Process(self._inputs)
            self._processes.append(self._own.process)
        return cast("_Process", self._own.process)

    def stop(self) -> None:
        """End all threads and processes, whatever they were doing."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.stop()


@contextlib.contextmanager
def decode_ahead(values: Sequence[Value], inputs: Sequence[ImageInput]) -> Iterator[Iterator[Prepared]]:
    """Decode images while the caller does something else.

    Args:
        values: Image files, or images as arrays.
        inputs: The preprocessing of each backbone that will see them; each file is decoded once for all.

    Yields:
        The prepared items in the given order. Decoding begins at once and stays a bounded window ahead.
    """
    on_files = sum(isinstance(value, Path) for value in values)
    n_processes = min(_MAX_PROCESSES, os.cpu_count() or 1) if on_files >= _WORTH_PROCESSES and sys.executable else 0
    item_bytes = sum(wanted.size_px**2 * 3 for wanted in inputs)
    window = max(64, _WINDOW_BYTES // max(1, item_bytes))
    pool = _Pool(inputs, n_processes)
    waiting = iter(enumerate(values))
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


_TEXT_CHUNK = 1024


@contextlib.contextmanager
def sort_by_length(texts: Sequence[str], n_backbones: int) -> Iterator[Iterator[Prepared]]:
    """Texts in an order in which neighbours are about equally long, so that batches are padded little.

    The sorting is within chunks: whoever stops early has still seen an unbiased beginning of the given order.

    Args:
        texts: The texts.
        n_backbones: How many backbones will see each.

    Yields:
        All texts, the longest of each chunk first.
    """

    def prepared() -> Iterator[Prepared]:
        for start in range(0, len(texts), _TEXT_CHUNK):
            chunk = range(start, min(start + _TEXT_CHUNK, len(texts)))
            for position in sorted(chunk, key=lambda row: -len(texts[row])):
                yield Prepared(position, (texts[position],) * n_backbones)

    yield prepared()
