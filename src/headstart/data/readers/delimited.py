"""CSV and TSV files: any encoding, any common delimiter, quoted or not.

The parser is the standard library's: it keeps `NA` and `null` as the words they are, and lets rows of the wrong
length be named one by one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.dataset import LeftOut
from headstart.data.readers.encoding import decode
from headstart.data.readers.reading import Table
from headstart.errors import DataError

_DELIMITERS = (",", "\t", ";", "|")
_NO_DELIMITER = "\x1f"
_SAMPLE_ROWS = 200
_SAMPLE_CHARACTERS = 200_000
_DELIMITER_NAMES = {"\t": "tab"}


@dataclass(frozen=True, slots=True)
class _Dialect:
    delimiter: str
    spaced: bool = False
    quoted: bool = True


def read_delimited(path: Path) -> Table:
    """The cells of a CSV or TSV file, with rows of the wrong length left out.

    Raises:
        DataError: If the file is empty, or two columns have one name.
    """
    text, encoding = decode(path.read_bytes())
    if "\n" not in text:
        text = text.replace("\r", "\n")
    declared = re.match(r'"?sep=(.)"?\r?\n', text)
    if declared:
        text = text[declared.end() :]
    if not text.strip():
        raise DataError(f"the table {path.name!r} is empty", hint="It needs a first row with column names, then rows.")
    dialect = _Dialect(declared[1]) if declared else _sniff(text)
    header, *body = _parse(text, dialect)
    names = column_names(header, path.name)
    rows, left_out = _even(body, len(names))
    notes = []
    if encoding != "utf-8":
        notes.append(f"{path.name} was read as {encoding}")
    if dialect.delimiter not in (",", "\t", _NO_DELIMITER):
        notes.append(f"{path.name} has {dialect.delimiter!r} between its columns")
    cells = [row for _, row in rows]
    return Table(
        columns={name: [row[column] for row in cells] for column, name in enumerate(names)},
        rows=tuple(f"row {number}" for number, _ in rows),
        folder=path.parent,
        left_out=left_out,
        notes=tuple(notes),
    )


def column_names(header: Sequence[str], table: str) -> list[str]:
    """The names of a table's columns, trimmed; a column without one is called by its position.

    Raises:
        DataError: If two columns have one name.
    """
    names = [name.strip() or f"column {position}" for position, name in enumerate(header, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"column names must differ, but {table!r} has more than one {', '.join(map(repr, twice))}",
            hint="Rename or remove the repeated columns.",
        )
    return names


def _even(body: Sequence[Sequence[str]], width: int) -> tuple[list[tuple[int, Sequence[str]]], tuple[LeftOut, ...]]:
    rows: list[tuple[int, Sequence[str]]] = []
    left_out = []
    for number, row in enumerate(body, start=1):
        if len(row) == width or (len(row) > width and not any(row[width:])):
            rows.append((number, row[:width]))
        else:
            fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
            reason = f"{fields} instead of {width}"
            if number == len(body) and len(row) < width and row[-1].count("\n") > 1:
                n_lines = row[-1].count("\n")
                reason = (
                    f"a quotation mark in it is never closed, and took the {n_lines:,} lines to the end of the file"
                )
            left_out.append(LeftOut(f"row {number}", reason))
    return rows, tuple(left_out)


def _sniff(text: str) -> _Dialect:
    """The delimiter of the header's that gives the most rows the header's length; of equals, the most columns."""
    sample = text[:_SAMPLE_CHARACTERS]
    header = sample.partition("\n")[0]
    best, best_score = _Dialect(_NO_DELIMITER), (0.0, 1)
    for delimiter in _DELIMITERS:
        dialect = _Dialect(delimiter, spaced=f"{delimiter} " in header)
        # The last row of a cut sample may be half a row.
        rows = _parse(sample, dialect)[: _SAMPLE_ROWS if len(sample) == len(text) else -1][:_SAMPLE_ROWS]
        width = len(rows[0]) if rows else 0
        score = (sum(len(row) == width for row in rows) / max(len(rows), 1), width)
        if width > 1 and score > best_score:
            best, best_score = dialect, score
    if best.delimiter == "\t" and _is_plain(text, best):
        return _Dialect("\t", quoted=False)
    return best


def _is_plain(text: str, dialect: _Dialect) -> bool:
    """Whether every line has as many tabs as the header: then quotation marks are part of the texts."""
    counts = {line.count(dialect.delimiter) for line in text.splitlines() if line}
    return len(counts) == 1


def _parse(text: str, dialect: _Dialect) -> list[list[str]]:
    """Rows of cells without blank lines."""
    # The limit guards against a forgotten quotation mark; whole texts may well be longer than its default.
    previous = csv.field_size_limit(max(len(text), 1))
    try:
        rows = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=dialect.delimiter,
            skipinitialspace=dialect.spaced,
            quoting=csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE,
        )
        kept = [row for row in rows if row]
    finally:
        csv.field_size_limit(previous)
    return kept if dialect.quoted else [[_unquoted(cell) for cell in row] for row in kept]


def _unquoted(cell: str) -> str:
    """A cell without the quotation marks around it, when they are well formed."""
    match = re.fullmatch(r'"((?:[^"]|"")*)"', cell)
    return match[1].replace('""', '"') if match else cell
