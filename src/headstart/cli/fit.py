"""`headstart fit`."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart._checks import parse_duration
from headstart.cli import options

_MODEL, _RUN = "Model", "Run"


def fit(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A folder with one sub-folder a class, or a table (CSV, TSV, JSON, JSONL, Parquet)."
        ),
    ],
    target: options.Target = None,
    column: options.Column = None,
    groups: Annotated[
        str | None, typer.Option(help="The column that says which items belong together, such as a patient.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|FRACTION",
            help="The sealed test: your own items, or the share to hold out; left out, what is called test, else 0.2.",
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="auto or classification.")] = "auto",
    modality: Annotated[str, typer.Option(help="What the items are: auto, image or text.")] = "auto",
    backbone: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", rich_help_panel=_MODEL, help="A backbone to consider; may be repeated."),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", rich_help_panel=_MODEL, help="A way to adapt to consider; may be repeated."),
    ] = None,
    budget: Annotated[
        str, typer.Option(rich_help_panel=_RUN, help="Time for the whole command, such as 30s, 2m or 1h.")
    ] = "2m",
    seed: Annotated[int, typer.Option(rich_help_panel=_RUN, help="0 or greater; the same seed, the same run.")] = 0,
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", rich_help_panel=_RUN, help="The run folder; left out, a new one below runs/."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=_RUN, help="Replace the run in it.")
    ] = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    as_json: options.Json = False,
) -> None:
    """Choose, adapt and test a model on labelled images or texts."""
    budget_s = parse_duration(budget)

    from headstart.cli.progress import progress_on_stderr
    from headstart.recipes.fit import fit as run_recipe
    from headstart.recipes.options import FitOptions

    invocation = context.obj
    run = run_recipe(
        data,
        options=FitOptions(
            target=target,
            column=column,
            groups=groups,
            test=test,
            task=task,
            modality=modality,
            backbones=tuple(backbone or ()),
            strategies=tuple(strategy or ()),
            budget_s=budget_s,
            seed=seed,
            out=out,
            overwrite=overwrite,
            device=device,
            precision=precision,
            command=invocation.command,
            started=invocation.started,
        ),
        progress=progress_on_stderr(),
    )

    from headstart.cli.console import emit, output
    from headstart.cli.summary import show_run

    if as_json:
        from headstart._records import to_json

        emit(to_json(run))
    else:
        show_run(run, output())
