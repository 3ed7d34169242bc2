"""`headstart suggest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli import options
from headstart.cli.inputs import HELP, STDIN, check_apart, check_out, read_inputs
from headstart.errors import OptionError

if TYPE_CHECKING:
    from headstart.cli.console import Console
    from headstart.data import Items, LeftOut, Modality
    from headstart.reports.suggested import SuggestionRecord

_TEXT_SHOWN = 60


def suggest(  # noqa: PLR0913 - each is an option of the command
    inputs: Annotated[list[str], typer.Argument(metavar="UNLABELLED...", help=HELP)],
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|BUNDLE",
            help="The run whose model is asked what it is unsure of; left out, typical items are suggested.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", help="How many items to suggest.")] = 50,
    column: options.Column = None,
    modality: options.Modality = "auto",
    out: Annotated[str | None, typer.Option(metavar="FILE", help="A CSV file to write, beside the table here.")] = None,
    overwrite: options.Overwrite = False,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel="Model",
            help="The backbone to look with where there is no run; left out, the cheapest on this disk.",
        ),
    ] = None,
    offline: options.Offline = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    as_json: options.Json = False,
) -> None:
    """Say which unlabelled items to label next: those that a model is unsure of, and not many that are alike."""
    from headstart.cli.progress import progress_on_stderr
    from headstart.recipes.suggest import SuggestOptions
    from headstart.recipes.suggest import suggest as run_recipe
    from headstart.reports.suggested import is_suggestions, write_suggestions

    asked = SuggestOptions(
        run=run,
        n=n,
        backbone=backbone,
        modality=modality,
        seed=seed,
        offline=offline,
        device=device,
        precision=precision,
    )
    if out is not None:
        check_out(Path(out), "table of suggestions", is_one=is_suggestions, overwrite=overwrite)

    def read(known: Modality | None) -> tuple[Items, tuple[LeftOut, ...]]:
        items, left_out = read_inputs(inputs, modality=known or _modality(inputs, column), column=column)
        if out is not None:
            check_apart(Path(out), "suggestions", [*inputs, *items.names])
        return items, left_out

    progress = progress_on_stderr()
    record = run_recipe(read, options=asked, progress=progress)
    for note in record.notes:
        progress.say(note)
    if out is not None:
        write_suggestions(Path(out), record)
        progress.say(f"The suggestions are in {out}")

    from headstart.cli.console import emit_record, output

    if as_json:
        emit_record(record)
    else:
        _show(record, output())


def _modality(inputs: list[str], column: str | None) -> Modality:
    from headstart.data import modality_of

    if STDIN in inputs:
        raise OptionError(
            "lines of stdin may be texts or the paths of images, and nothing says which",
            hint="Add --modality text or --modality image, or name a --run.",
        )
    return modality_of(inputs, column=column)


def _show(record: SuggestionRecord, console: Console) -> None:
    from headstart.reports.formatting import counted, shorten

    console.heading(f"{counted(len(record.suggestions), 'item')} of {record.n_unlabelled:,} to label next.")
    console.table(
        ("rank", "item", "reason", "text") if record.modality == "text" else ("rank", "item", "reason"),
        [
            (
                str(each.rank),
                each.item,
                each.reason,
                *([shorten(each.text, _TEXT_SHOWN)] if record.modality == "text" else []),
            )
            for each in record.suggestions
        ],
    )
    console.say("")
    console.rows(
        [
            ("how", record.rule),
            ("looked", f"with {' + '.join(record.backbones)}"),
            ("copies", f"{counted(record.n_copies, 'item')} of equal content left aside" if record.n_copies else ""),
            ("known", f"{counted(record.n_known, 'item')} of the training left aside" if record.n_known else ""),
            ("left out", _left_out(record)),
        ]
    )


def _left_out(record: SuggestionRecord) -> str:
    shown = "; ".join(f"{each.name}: {each.reason}" for each in record.left_out[:3])
    more = len(record.left_out) - 3
    return f"{shown} and {more:,} more; --json lists all of them" if more > 0 else shown
