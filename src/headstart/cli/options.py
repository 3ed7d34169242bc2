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
_MODEL, _RUN = "Model", "Run"

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A folder with one sub-folder a class, or a table (CSV, TSV, JSON, JSONL, Parquet)."
    ),
]
Groups = Annotated[
    str | None,
    typer.Option(
        help="The column that says which items belong together, such as a patient; auto finds copies and series."
    ),
]
Test = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|FRACTION",
        help="The sealed test: your own items, or the share to hold out; left out, what is called test, else 0.2.",
    ),
]
Modality = Annotated[str, typer.Option(help="What the items are: auto, image or text.")]
Backbone = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", rich_help_panel=_MODEL, help="A backbone to consider; may be repeated."),
]
Arch = Annotated[
    str,
    typer.Option(
        metavar="NAME", rich_help_panel=_MODEL, help="The network that the weights in --backbone local:FILE belong to."
    ),
]
MaxParams = Annotated[
    str | None,
    typer.Option(metavar="N", rich_help_panel=_MODEL, help="Consider none with more parameters, such as 30M."),
]
Licence = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SPDX",
        rich_help_panel=_MODEL,
        help="Consider only weights with this licence, or permissive; may be repeated.",
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", rich_help_panel=_MODEL, help="Fetch nothing: only what is on this disk.")
]
Budget = Annotated[str, typer.Option(rich_help_panel=_RUN, help="Time for the whole command, such as 30s, 2m or 1h.")]
Seed = Annotated[int, typer.Option(rich_help_panel=_RUN, help="0 or greater; the same seed, the same run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", rich_help_panel=_RUN, help="Replace what is there.")]
Place = Annotated[
    str, typer.Argument(metavar="RUN|BUNDLE", help="The folder that `headstart fit` wrote, or the bundle in it.")
]
