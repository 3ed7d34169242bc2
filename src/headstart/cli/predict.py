"""`headstart predict`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli import options
from headstart.cli.inputs import HELP, check_apart, check_out, read_inputs
from headstart.errors import StoreError

if TYPE_CHECKING:
    from headstart._progress import Progress
    from headstart.data import LeftOut
    from headstart.features.protocol import FeatureStore
    from headstart.serving import Prediction, Predictions

_LEFT_OUT_SHOWN = 50


def predict(
    place: options.Place,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help=HELP),
    ],
    column: options.Column = None,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="A CSV file to write; left out, the table goes to stdout.")
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Add a column set: the classes that hold the true one as often as this, for example 0.9.",
        ),
    ] = None,
    abstain_cost: Annotated[
        float | None,
        typer.Option(
            metavar="COST",
            help="Leave the prediction empty where asking a person, at this cost, is cheaper than the errors to be "
            "expected, at 1 each; add a column abstained.",
        ),
    ] = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Add a column unusual: whether an item looks like no training item.")
    ] = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    as_json: options.Json = False,
) -> None:
    """Predict new items: a table with item, prediction, probability and p:CLASS for each class."""
    from headstart.cli.progress import progress_on_stderr
    from headstart.serving import load

    if out is not None:
        from headstart.reports import is_predictions  # with numpy, which a mistake does not wait for

        check_out(Path(out), "table of predictions", is_one=is_predictions, overwrite=overwrite)
    progress = progress_on_stderr()
    with _store(progress) as store:
        model = load(place, device=device, precision=precision, store=store)
        items, left_out = read_inputs(inputs, modality=model.modality, column=column)
        if out is not None:
            check_apart(Path(out), "predictions", [*inputs, *items.names])
        predictions = model.predict_items(
            items,
            left_out=left_out,
            coverage=coverage,
            abstain_cost=abstain_cost,
            gate=gate,
            progress=progress,
        )
    _tell_left_out(predictions, progress)
    for note in predictions.notes:
        progress.say(note)
    if out is not None:
        _write(predictions, Path(out))
        n = len(predictions)
        progress.say(f"{n:,} predictions are in {out}" if n > 1 else f"1 prediction is in {out}")
    _print(predictions, as_json=as_json, as_table=out is None)


@contextmanager
def _store(progress: Progress) -> Iterator[FeatureStore | None]:
    """The store on disk, or None where it cannot be opened: prediction needs no place to write."""
    from headstart.features.store import Store

    try:
        store = Store.open()
    except StoreError as error:
        progress.say(f"Features are kept in memory only: {error}")
        yield None
        return
    with store:
        for note in store.notes:
            progress.say(note)
        yield store


def _tell_left_out(predictions: Predictions, progress: Progress) -> None:
    for item in predictions.left_out[:_LEFT_OUT_SHOWN]:
        progress.say(f"left out: {item.name} ({item.reason})")
    more = len(predictions.left_out) - _LEFT_OUT_SHOWN
    if more > 0:
        progress.say(f"left out: {more} more; --json lists all of them")


def _write(predictions: Predictions, path: Path) -> None:
    from headstart.reports import write_predictions
    from headstart.serving import joined

    more: dict[str, list[str]] = {}
    if predictions.sets is not None:
        more["set"] = [joined(names) for names in predictions.sets]
    for name, flags in (("abstained", predictions.abstained), ("unusual", predictions.unusual)):
        if flags is not None:
            more[name] = ["yes" if flag else "no" for flag in flags]
    write_predictions(
        path,
        predictions.items,
        classes=predictions.classes,
        probabilities=predictions.probabilities,
        labels=predictions.labels,
        more=more,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """The JSON document.

    Attributes:
        classes: The class names.
        predictions: One an item that could be used.
        left_out: What could not be used, with the reason.
    """

    classes: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    left_out: tuple[LeftOut, ...]


def _print(predictions: Predictions, *, as_json: bool, as_table: bool) -> None:
    from headstart._records import to_json
    from headstart.cli.console import emit

    if as_json:
        emit(to_json(_Answer(predictions.classes, tuple(predictions), predictions.left_out)))
    elif as_table:
        # One writer decides what the table looks like, and it writes whole files.
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            table = Path(folder) / "predictions.csv"
            _write(predictions, table)
            emit(table.read_text(encoding="utf-8"))
