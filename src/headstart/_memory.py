"""What the C library does with memory that is free: keep it while networks run, and give it back after."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

# Of mallopt, <malloc.h>: how many blocks may come straight from the system and from which size on, how much free memory
# is kept at the end, and how much is asked for at once.
_MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -4, -3, -1, -2
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 1 << 30, _TOP_PAD: 1 << 26}
# Once told, glibc no longer finds the thresholds by itself; these are the highest that it comes to.
_AFTER = {_MMAP_MAX: 1 << 16, _MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26, _TOP_PAD: 0}
_lock = threading.Lock()
_n_inside = 0


def give_back() -> None:
    """Return what was freed: the C library of Linux keeps it for the process, 0.2 GB after a network has run."""
    gc.collect()
    with contextlib.suppress(OSError, TypeError, AttributeError):  # another system, or another C library
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Within this context freed memory stays with the process; at its end what is free is given back.

    The maps of a convolution are so large that glibc returns each to the system when it is freed and asks for the next
    one, which the system hands out page by page and fills with zeros. On two cores that took a third of the time of a
    pass (benchmarks/memory.py). Whoever has told glibc what to do, by its environment variables, is obeyed.
    """
    global _n_inside
    with _lock:
        _n_inside += 1
        if _n_inside == 1:
            _tell(_KEEPING)
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if not _n_inside:
                _tell(_AFTER)
                give_back()


def _tell(options: dict[int, int]) -> None:
    library = _glibc()
    if library is not None:
        for option, value in options.items():
            library.mallopt(option, value)


@cache
def _glibc() -> Any:
    """The C library, where it is one that can be told and nobody has told it anything; else None."""
    told = any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # as Windows says that there is none
        return None
    return library if not told and hasattr(library, "gnu_get_libc_version") else None
