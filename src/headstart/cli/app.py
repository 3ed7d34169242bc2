"""The commands and their names."""

from __future__ import annotations

from typing import Annotated

import typer

from headstart.cli import backbones, cache
from headstart.cli.audit import audit
from headstart.cli.compare import compare
from headstart.cli.demo import demo
from headstart.cli.evaluate import evaluate
from headstart.cli.fit import fit
from headstart.cli.predict import predict
from headstart.cli.rank import rank
from headstart.cli.report import report
from headstart.cli.suggest import suggest

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.command()(fit)
app.command()(audit)
app.command()(rank)
app.command()(predict)
app.command()(evaluate)
app.command()(report)
app.command()(compare)
app.command()(suggest)
app.add_typer(backbones.app, name="backbones")
app.add_typer(cache.app, name="cache")
app.command()(demo)


@app.callback(invoke_without_command=True)
def headstart(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Choose a pretrained model for your data, adapt it, and learn how far to trust it.

    Begin with: headstart fit FOLDER
    """
    if version:
        from headstart import __version__

        typer.echo(f"headstart {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)
