"""`headstart evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart.cli import options


def evaluate(
    place: options.Place,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled items that the model has not seen, as for `headstart fit`.")
    ],
    target: options.Target = None,
    column: options.Column = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure a model on labelled items."""
    from headstart.cli.console import emit, output
    from headstart.cli.progress import progress_on_stderr
    from headstart.recipes.evaluate import evaluate as run_recipe

    evaluation = run_recipe(
        place,
        data,
        target=target,
        column=column,
        device=device,
        precision=precision,
        progress=progress_on_stderr(),
    )
    if as_json:
        from headstart._records import to_json

        emit(to_json(evaluation))
    else:
        from headstart.cli.summary import show_evaluation

        show_evaluation(evaluation, output())
