"""`headstart audit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headstart._checks import parse_duration
from headstart.cli import options

if TYPE_CHECKING:
    from headstart.cli.console import Console
    from headstart.reports import AuditRecord

_STRICT_CODE = 1


def audit(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    data: options.Data,
    target: options.Target = None,
    column: options.Column = None,
    groups: options.Groups = None,
    test: options.Test = None,
    modality: options.Modality = "auto",
    against: Annotated[
        str | None, typer.Option(metavar="OTHER", help="Other data to compare with, labelled or not.")
    ] = None,
    fix: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A cleaned list to write (CSV), which fit reads; no file of yours changes."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 when something serious is found.")] = False,
    backbone: options.Backbone = None,
    arch: options.Arch = "",
    offline: options.Offline = False,
    budget: options.Budget = "2m",
    seed: options.Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", rich_help_panel="Run", help="The page; left out, a new one below runs/."),
    ] = None,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    as_json: options.Json = False,
) -> None:
    """Look for what spoils numbers: copies, wrong labels, leaks, damaged files, shifts, too few labels."""
    budget_s = parse_duration(budget)

    from headstart.cli.progress import progress_on_stderr
    from headstart.recipes.audit import audit as run_recipe
    from headstart.recipes.options import FitOptions

    invocation = context.obj
    record = run_recipe(
        data,
        options=FitOptions(
            target=target,
            column=column,
            groups=groups,
            test=test,
            modality=modality,
            backbones=tuple(backbone or ()),
            arch=arch,
            offline=offline,
            budget_s=budget_s,
            seed=seed,
            out=out,
            overwrite=overwrite,
            device=device,
            precision=precision,
            command=invocation.command,
            started=invocation.started,
        ),
        against=against,
        fix=fix,
        progress=progress_on_stderr(),
    )

    from headstart.cli.console import emit_record, output

    if as_json:
        emit_record(record)
    else:
        _show(record, output())
    if strict and any(each.severity == "serious" for each in record.findings):
        raise typer.Exit(_STRICT_CODE)


def _show(record: AuditRecord, console: Console) -> None:
    from headstart.reports.formatting import prose, seconds

    console.heading(prose(record.verdict))
    console.rows([(each.severity, prose(each.sentences)) for each in record.findings])
    curve, took = record.learning_curve, record.timings
    actions = ", ".join(f"{count:,} to {action}" for action, count in sorted(record.actions.items()))
    console.rows(
        [
            ("labels", prose(curve.sentence) if curve is not None else ""),
            ("took", f"{seconds(took['total'])}, {seconds(took['audit'])} of it beside the features"),
            ("page", record.out),
            ("list", f"{record.manifest}: {actions}" if record.manifest else ""),
        ]
    )
