"""One thread for linear algebra in small pieces."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Within this context every BLAS uses one thread.

    NumPy and SciPy bring an OpenBLAS each, and the idle threads of each spin for a while. A descent calls both in turn,
    thousands of times: on two cores, two threads took 2 to 4 times as long as one (benchmarks/heads.py).
    """
    limit: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limit
