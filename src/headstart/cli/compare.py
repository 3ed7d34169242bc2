"""`headstart compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart.cli import options

_RUN = "The folder that `headstart fit` wrote, or its run.json."


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help=_RUN)],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another run on the same classes.")],
    as_json: options.Json = False,
) -> None:
    """Say which of two runs is better, by how much, and what they did differently."""
    from headstart.cli.console import emit, output
    from headstart.recipes.compare import compare as run_recipe

    record = run_recipe(first, second)
    if as_json:
        from headstart._records import to_json

        emit(to_json(record))
    else:
        from headstart.cli.summary import show_comparison

        show_comparison(record, output())
