"""Ctrl-C and SIGTERM at any moment: the first one unwinds the program, a later one ends it at once."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

INTERRUPTED = "interrupted: what was computed is kept; run the same command again to go on"

_SAME_SIGNAL_S = 1.0  # a launcher may pass on what the terminal has sent to both already
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """Turns SIGINT and SIGTERM into KeyboardInterrupt.

    Attributes:
        received: The number of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._when = 0.0
        self._process = os.getpid()

    def catch(self) -> None:
        """From now on, listen; what the parent chose to ignore (`nohup`, a job in the background) stays ignored."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def release(self) -> None:
        """From now on, a signal ends the process silently: nothing is left to lose while the interpreter shuts down."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) == self._arrived:
                signal.signal(number, signal.SIG_DFL)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked child has the handler too, and nobody there who would catch
            os._exit(128 + number)
        if self.received is None:
            self.received, self._when = number, time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self._when > _SAME_SIGNAL_S:
            _leave_now(number)


def _leave_now(number: int) -> None:
    """End without unwinding: stored features, bundles and reports are complete or absent at every moment."""
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR)
    os.write(2, f"\n{INTERRUPTED}\n".encode())
    os._exit(128 + number)
