"""`headstart report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli import options


def report(
    place: Annotated[
        str, typer.Argument(metavar="RUN", help="The folder that `headstart fit` wrote, or its run.json.")
    ],
    as_json: options.Json = False,
) -> None:
    """Write report.html again from run.json."""
    from headstart.cli.console import emit, output
    from headstart.reports import read_run, write_report

    given = Path(place)
    run = read_run(given)
    page = write_report(run, given if given.is_dir() else given.parent)
    if as_json:
        from headstart._records import to_json

        emit(to_json(run))
    else:
        output().say(f"The report is in {page}")
