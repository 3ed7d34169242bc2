"""A run on disk: `run.json`, which other programs read, and `report.html`, which people read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headstart._records import from_json, to_json
from headstart.data.manifest import ManifestRow, write_manifest
from headstart.errors import BundleError, OutputError
from headstart.reports._whole_file import whole_file
from headstart.reports.page import render, render_audit, render_ranking
from headstart.reports.record import SCHEMA, AuditRecord, RankingRecord, Run

RUN_FILE = "run.json"
REPORT_FILE = "report.html"


@dataclass(frozen=True, slots=True)
class _Header:
    """The part of a run that every version of the format has.

    Attributes:
        schema: The version of the format; empty when the file does not say.
    """

    schema: str = ""


def write_run(run: Run, folder: Path) -> Path:
    """Write the run as `run.json`; the file is there completely or not at all.

    Args:
        run: What was done.
        folder: Where; it is made when absent.

    Returns:
        The path of the file.

    Raises:
        OutputError: If the folder cannot be made or written to, or a name in the run is not Unicode text.
    """
    try:
        text = to_json(run)
    except UnicodeEncodeError as error:
        raise OutputError(
            f"a run can hold only names that are Unicode text, but one has {error.object[error.start : error.end]!r}",
            hint="Rename the file or class whose name is not valid UTF-8.",
        ) from error
    path = folder / RUN_FILE
    with whole_file(path) as stream:
        stream.write(text + "\n")
    return path


def write_report(run: Run, folder: Path) -> Path:
    """Write the page about the run as `report.html`; the file is there completely or not at all.

    Args:
        run: What was done.
        folder: Where; it is made when absent.

    Returns:
        The path of the file.

    Raises:
        OutputError: If the folder cannot be made or written to.
    """
    path = folder / REPORT_FILE
    page = render(run)
    with whole_file(path) as stream:
        stream.write(page)
    return path


def write_ranking(record: RankingRecord, path: Path) -> None:
    """Write the page about a ranking; the file is there completely or not at all.

    Args:
        record: What was ranked.
        path: The file.

    Raises:
        OutputError: If it cannot be written.
    """
    page = render_ranking(record)
    with whole_file(path) as stream:
        stream.write(page)


def write_audit(record: AuditRecord, path: Path) -> None:
    """Write the page about an audit; the file is there completely or not at all.

    Args:
        record: What was found.
        path: The file.

    Raises:
        OutputError: If it cannot be written.
    """
    page = render_audit(record)
    with whole_file(path) as stream:
        stream.write(page)


def write_cleaned(path: Path, rows: Iterable[ManifestRow], modality: str) -> None:
    """Write the cleaned list of a dataset; the file is there completely or not at all.

    Args:
        path: The file.
        rows: Its lines.
        modality: What the items are.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(path) as stream:
        write_manifest(rows, stream, modality)


def read_run(path: Path) -> Run:
    """Read what `write_run` wrote.

    Args:
        path: The run folder, or its `run.json`.

    Raises:
        BundleError: If there is no such file, its schema is not the one of this version, or it is damaged.
    """
    file = path / RUN_FILE if path.is_dir() else path
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BundleError(
            f"a run is a folder with a {RUN_FILE}, but {str(file)!r} cannot be read ({error.strerror})",
            hint="Give the folder that `headstart fit` wrote, for example runs/photos.",
        ) from error
    try:
        schema = from_json(content, _Header).schema
        if schema == SCHEMA:
            return from_json(content, Run)
    except ValueError as error:
        raise BundleError(
            f"a {RUN_FILE} must hold a run as headstart wrote it, but {str(file)!r} does not: {error}",
            hint="The file is damaged or was edited; restore it, or run `headstart fit` again.",
        ) from error
    raise BundleError(
        f"this version of headstart reads runs with schema {SCHEMA!r}, but {str(file)!r} has {schema!r}",
        hint="Read it with the version of headstart that wrote it, or run `headstart fit` again.",
    )
