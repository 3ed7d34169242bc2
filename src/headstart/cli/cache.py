"""`headstart cache`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from headstart._checks import parse_size
from headstart.cli import options

app = typer.Typer(rich_markup_mode="rich")


@app.callback(invoke_without_command=True)
def cache(context: typer.Context) -> None:
    """See and bound what is kept of earlier work; alone it is `cache info`."""
    if context.invoked_subcommand is None:
        info()


@app.command()
def info(as_json: options.Json = False) -> None:
    """Say what the feature store holds, and where it is."""
    from headstart.cli.console import emit, output
    from headstart.features.store import Store

    with Store.open() as store:
        found = store.info()
    if as_json:
        from headstart._records import to_json

        emit(to_json(found))
        return
    console = output()
    console.rows(
        [
            ("folder", str(found.folder)),
            ("size", f"{_size(found.n_bytes)} of at most {_size(found.max_bytes)}, index {_size(found.index_bytes)}"),
        ]
    )
    console.table(
        ("backbone", "view", "dtype", "items", "size", "last used"),
        [
            (each.backbone, each.view, each.dtype, f"{each.n_rows:,}", _size(each.n_bytes), f"{each.used:%Y-%m-%d}")
            for each in found.namespaces
        ],
    )


@app.command()
def prune(
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What may stay, such as 2GB; left out, the bound of the store.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only features of this backbone; all of them without --max-size.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Remove features, those that were not used for longest first, and what killed trainings left behind."""
    max_bytes = None if max_size is None else parse_size(max_size)

    from headstart._home import default_home
    from headstart.cli.console import emit, output
    from headstart.features.store import Store
    from headstart.recipes.trainings import sweep

    with Store.open() as store:
        result = store.prune(max_bytes, backbone=backbone)
    if backbone is None:
        result = replace(result, freed_bytes=result.freed_bytes + sweep(default_home(), idle_s=0))
    if as_json:
        from headstart._records import to_json

        emit(to_json(result))
    else:
        output().say(
            f"{result.n_rows:,} rows were removed and {_size(result.freed_bytes)} freed; "
            f"{_size(result.n_bytes)} are still in use"
        )


def _size(n_bytes: int) -> str:
    """Bytes in powers of ten, the units that `--max-size` reads."""
    value = float(n_bytes)
    for unit in ("B", "KB", "MB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
