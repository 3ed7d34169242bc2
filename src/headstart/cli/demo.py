"""`headstart demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headstart._checks import parse_duration
from headstart.cli import options


def demo(
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Where the examples and their runs go.")] = "demo",
    budget: Annotated[str, typer.Option(help="Time for each example, such as 30s or 2m.")] = "1m",
    as_json: options.Json = False,
) -> None:
    """See it work on small examples that come with headstart."""
    budget_s = parse_duration(budget)

    from headstart.cli.console import emit, output
    from headstart.cli.progress import progress_on_stderr
    from headstart.recipes.demo import closing_words
    from headstart.recipes.demo import demo as run_recipe

    runs = run_recipe(Path(out), budget_s=budget_s, progress=progress_on_stderr())
    if as_json:
        from headstart._records import to_json

        emit(to_json(runs))
    else:
        output().say(closing_words(runs))
