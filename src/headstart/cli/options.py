"""The options that several subcommands have, each with one meaning."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Device = Annotated[str, typer.Option(help="Where networks run: auto, cpu, cuda or mps.", rich_help_panel="Computing")]
Precision = Annotated[
    str, typer.Option(help="What they compute in: auto, bfloat16 or float32.", rich_help_panel="Computing")
]
Column = Annotated[
    str | None,
    typer.Option(help="The column with the texts or with the paths of the images; found when left out."),
]
Target = Annotated[str | None, typer.Option(help="The column with the labels; found when left out.")]
Place = Annotated[
    str, typer.Argument(metavar="RUN|BUNDLE", help="The folder that `headstart fit` wrote, or the bundle in it.")
]
