"""Where the command line writes: data and summaries on stdout, messages on stderr."""

from __future__ import annotations

import errno
import io
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from headstart.errors import OutputError

_WIDEST = 100
_LABEL = 10
_ENDLESS = 10_000
_GAP = 2  # between columns
# Controls, and marks that change the direction of what follows: a file name must not steer the terminal.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text with a replacement mark for each character that would steer the terminal.

    Args:
        text: What may have come from a file name, a table or another program.
    """
    return _STEERING.sub("\ufffd", text)


class Console:
    """One stream of text for people; styles only where a terminal shows them and NO_COLOR allows.

    Attributes:
        rich: The console that draws.
    """

    def __init__(self, rich: RichConsole) -> None:
        self.rich = rich

    def say(self, message: str, *, label: str = "", style: str = "") -> None:
        """Write one message on lines of its own, never broken: a path can be copied and a log can be searched.

        Args:
            message: Any text.
            label: What stands before it and a colon, or empty.
            style: Of the label, in the words of rich.
        """
        prefix = (f"{label}: ", style) if label else ""
        self.rich.print(Text.assemble(prefix, harmless(message)), soft_wrap=True)

    def heading(self, sentence: str) -> None:
        """Write a sentence that stands out, and a blank line below it.

        Args:
            sentence: Wrapped to the width of the terminal.
        """
        lines = textwrap.wrap(harmless(sentence), self._width, break_long_words=False, break_on_hyphens=False)
        self.rich.print(Text("\n".join(lines), style="bold"), soft_wrap=True)
        self.rich.print()

    def rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write labelled sentences, one below the other.

        Args:
            rows: A label of at most nine letters and what it says; rows that say nothing are left out.
        """
        for label, text in rows:
            if text:
                self._row(label, text)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]], *, whole_names: bool = True) -> None:
        """Write a table; a terminal folds what is too wide, a pipe gets one line a row.

        Args:
            header: The names of the columns.
            rows: The cells of each row.
            whole_names: The first column stays whole, and others give way.
        """
        lines = [tuple(map(harmless, row)) for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(header, *lines, strict=True)]
        if sum(widths) + _GAP * (len(widths) - 1) <= self.rich.width:
            # Nothing needs folding, and rich would take longer over a hundred rows than Python needs to start.
            head, *body = (_aligned(cells, widths) for cells in (header, *lines))
            self.rich.print(Text.assemble((head, "dim"), *(f"\n{line}" for line in body)), soft_wrap=True)
            return
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
        for number, name in enumerate(header):
            table.add_column(name, overflow="fold", no_wrap=whole_names and number == 0)
        for row in lines:
            table.add_row(*row)
        self.rich.print(table)

    def _row(self, label: str, text: str) -> None:
        lines = textwrap.wrap(
            harmless(text), max(self._width - _LABEL - 2, 20), break_long_words=False, break_on_hyphens=False
        )
        body = f"\n{' ' * (_LABEL + 2)}".join(lines)
        self.rich.print(Text.assemble((f"  {label:<{_LABEL}}", "dim"), body), soft_wrap=True)

    @property
    def _width(self) -> int:
        return min(self.rich.width, _WIDEST)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
    return (" " * _GAP).join(padded).rstrip()


def output() -> Console:
    """Standard output, for summaries."""
    return Console(_rich(stderr=False))


def errors() -> Console:
    """Standard error, for messages."""
    return Console(_rich(stderr=True))


def emit(data: str) -> None:
    """Write data to standard output as UTF-8, whatever the locale says: other programs read it.

    Args:
        data: JSON or CSV; a newline is added where the last line has none.
    """
    sys.stdout.flush()
    text = data if data.endswith("\n") else data + "\n"
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def emit_record(record: object) -> None:
    """Write a record to standard output as JSON.

    Args:
        record: A dataclass.

    Raises:
        OutputError: If a name in it is not Unicode text, which JSON cannot hold.
    """
    from headstart._records import to_json

    try:
        text = to_json(record)
    except UnicodeEncodeError as error:
        raise OutputError(
            f"JSON can hold only names that are Unicode text, but one has {error.object[error.start : error.end]!r}",
            hint="Rename the file, folder or class whose name is not valid UTF-8, or leave --json out.",
        ) from error
    emit(text)


class _Rich(RichConsole):
    """Leaves a closed pipe to the caller; rich would end the process, and take stdout along when stderr is closed."""

    def on_broken_pipe(self) -> None:
        """What rich calls for it, to be overridden."""
        raise BrokenPipeError(errno.EPIPE, "nobody reads")


def _rich(*, stderr: bool) -> RichConsole:
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):  # else a host program has replaced it
        stream.reconfigure(errors="backslashreplace" if stderr else "replace")
    width = None if stream.isatty() else _ENDLESS
    return _Rich(file=stream, width=width, highlight=False, markup=False, emoji=False)
