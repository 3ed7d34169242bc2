"""What the command line was called with: the one thing that subcommands share."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the command line.

    Attributes:
        arguments: As typed, without the name of the program.
        started: When it began, on the clock of `time.monotonic`.
    """

    arguments: tuple[str, ...]
    started: float

    @property
    def command(self) -> str:
        """What to type to do it again."""
        return shlex.join(["headstart", *self.arguments])
