"""`headstart predict`."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli import options
from headstart.errors import OptionError, StoreError

if TYPE_CHECKING:
    from headstart._progress import Progress
    from headstart.data import Items, LeftOut, Modality
    from headstart.features.protocol import FeatureStore
    from headstart.serving import Model, Prediction, Predictions

_STDIN = "-"
_LEFT_OUT_SHOWN = 50


def predict(
    place: options.Place,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Files, folders, patterns and tables; - reads a text or the path of an image from each line of stdin.",
        ),
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
        _check_out(Path(out), overwrite=overwrite)
    progress = progress_on_stderr()
    with _store(progress) as store:
        model = load(place, device=device, precision=precision, store=store)
        items, left_out = _read(inputs, model, column)
        if out is not None:
            _check_apart(Path(out), [*inputs, *items.names])
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


def _check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder, and to replace what is no table of predictions unasked."""
    from headstart.reports import is_predictions

    if out.is_dir():
        raise OptionError(f"--out must be a file, but {str(out)!r} is a folder", hint=f"Write {str(out / 'p.csv')!r}.")
    if out.exists() and not overwrite and not is_predictions(out):
        raise OptionError(
            f"{str(out)!r} exists and is no table of predictions, so it is not replaced unasked",
            hint="Add --overwrite, or name another file.",
        )


def _check_apart(out: Path, predicted: Sequence[str]) -> None:
    """Refuse to replace what is to be predicted: an input, or an item of one."""
    if out.exists() and any(_is_same(out, Path(each)) for each in predicted):
        raise OptionError(
            f"the predictions must not replace what they are for, but {str(out)!r} is among that",
            hint="Name another file.",
        )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # a text that was typed is no path
        return False


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


def _read(inputs: list[str], model: Model, column: str | None) -> tuple[Items, tuple[LeftOut, ...]]:
    from headstart.data import read_items, read_lines

    modality: Modality = "text" if model.modality == "text" else "image"
    if _STDIN not in inputs:
        return read_items(inputs, modality=modality, column=column)
    if len(inputs) > 1:
        raise OptionError(
            f"stdin must be the only input, but got {' '.join(inputs)!r}", hint="Predict the other inputs on their own."
        )
    # The bytes of a path must survive as they are; a text must be Unicode.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape" if modality == "image" else "replace")
    return read_lines(sys.stdin, modality=modality)


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
