"""How long work tells what it does, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work whose size is known."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that this many more steps are done, and in a few words what they found."""


class Progress(Protocol):
    """Where progress is shown. Implementations must not raise."""

    def say(self, message: str) -> None:
        """Tell the user one thing that was found or decided."""

    def task(self, title: str, total: int) -> AbstractContextManager[Task]:
        """Begin a piece of work of `total` steps; it ends with the context."""


class _SilentTask:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nobody listens."""


class Silent:
    """Progress that nobody sees: the default of the library."""

    def say(self, message: str) -> None:
        """Nobody listens."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """A task that nobody sees."""
        del title, total
        yield _SilentTask()


SILENT: Progress = Silent()
