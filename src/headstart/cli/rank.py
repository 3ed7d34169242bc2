"""`headstart rank`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart._checks import parse_count, parse_duration
from headstart.cli import options

if TYPE_CHECKING:
    from headstart.cli.console import Console
    from headstart.reports import RankingRecord


def rank(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    data: options.Data,
    target: options.Target = None,
    column: options.Column = None,
    groups: options.Groups = None,
    test: options.Test = None,
    modality: options.Modality = "auto",
    backbone: options.Backbone = None,
    arch: options.Arch = "",
    max_params: options.MaxParams = None,
    licence: options.Licence = None,
    offline: options.Offline = False,
    sample: Annotated[
        int, typer.Option(rich_help_panel="Model", help="Training items that the best ones are judged on.")
    ] = 1000,
    budget: options.Budget = "5m",
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
    """Rank pretrained networks for labelled images or texts, on a sample of the training items."""
    budget_s = parse_duration(budget)

    from headstart.cli.progress import progress_on_stderr
    from headstart.recipes.options import FitOptions
    from headstart.recipes.rank import rank as run_recipe

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
            licences=tuple(licence or ()),
            max_params=None if max_params is None else parse_count(max_params),
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
        sample=sample,
        progress=progress_on_stderr(),
    )

    from headstart.cli.console import emit_record, output

    if as_json:
        emit_record(record)
    else:
        chosen = _as_typed(record.chosen, backbone or ())
        kept = {
            "--target": target,
            "--column": column,
            "--groups": groups,
            "--test": test,
            "--modality": None if modality == "auto" else modality,
            "--arch": arch if chosen.startswith("local:") else None,
        }
        words = [record.source, "--backbone", chosen]
        words += [word for option, value in kept.items() if value is not None for word in (option, value)]
        _show(record, shlex.join(["headstart", "fit", *words]), output())


def _as_typed(chosen: str, typed: Iterable[str]) -> str:
    """What the user wrote for the backbone: `local/NAME`, as a folder or a file is called, leads nowhere."""
    if not chosen.startswith("local/"):
        return chosen

    from headstart.backbones.resolve import local_name

    there = (name for name in typed if Path(name.removeprefix("local:")).expanduser().exists())
    return next((name for name in there if local_name(name) == chosen), chosen)


def _show(record: RankingRecord, following: str, console: Console) -> None:
    from headstart.reports.formatting import parameters, percent_interval, prose, seconds

    console.heading(f"{record.chosen}. {prose(record.why)}")
    console.table(
        ("backbone", "leave-one-out", "neighbours", "expected", "GFLOPs", "parameters", "licence", "took", "standing"),
        [
            (
                row.backbone,
                percent_interval(row.accuracy) if row.accuracy is not None else "",
                f"{100 * row.scores['knn_accuracy']:.1f} %",
                "" if row.prior is None else f"{row.prior:+.2f}",
                f"{row.gflops:.2g}" if row.gflops else "unknown",
                parameters(row.n_params),
                row.licence or "unknown",
                seconds(row.seconds) if row.seconds else "kept",
                "chosen" if row.backbone == record.chosen else "tie" if row.tie_set else "behind",
            )
            for row in record.ranking
        ],
    )
    console.say("")
    console.rows(
        [
            ("nearness", prose(record.nearness.sentence) if record.nearness is not None else ""),
            ("left out", "; ".join(f"{each.name}: {each.reason}" for each in record.left_out)),
            ("page", record.out),
            ("next", following),
        ]
    )
