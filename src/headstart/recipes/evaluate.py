"""The story of `evaluate`: a bundle on labelled data that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from headstart._checks import did_you_mean
from headstart._home import default_home
from headstart._progress import SILENT, Progress
from headstart.data.dataset import Dataset
from headstart.data.read import read_dataset
from headstart.data.reduce import leave_out
from headstart.errors import DataError
from headstart.evaluation.metrics import evaluate_predictions
from headstart.evaluation.records import Evaluation
from headstart.recipes.stores import open_store
from headstart.serving import load


def evaluate(
    path: str | Path,
    data: Any,
    *,
    target: str | None = None,
    column: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress = SILENT,
) -> Evaluation:
    """How good a bundle is on labelled data; all of the data, or its `test` side where it has one.

    Args:
        path: The folder of a run or of a bundle.
        data: As for `read_dataset`.
        target: The column with the labels; None finds it.
        column: The column with the texts or image paths; None finds it.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `bfloat16` or `float32`.
        progress: Where progress is shown.

    Raises:
        BundleError: If the bundle is missing or was changed.
        DataError: If the data cannot be used, or has none of the model's classes.
    """
    with open_store(default_home(), progress) as (store, _):
        model = load(path, device=device, precision=precision, store=store)
        modality: Literal["image", "text"] = "image" if model.modality == "image" else "text"
        dataset = _test_side(read_dataset(data, target=target, column=column, modality=modality), progress)
        _check_classes(dataset, model.classes)
        predictions = model.predict_items(dataset.items, left_out=dataset.left_out, progress=progress)
    for lost in predictions.left_out:
        progress.say(f"left out: {lost.name} ({lost.reason})")
    used = set(predictions.items)
    dataset = leave_out(
        dataset, {row: "unreadable" for row, name in enumerate(dataset.items.names) if name not in used}
    )
    # Classes that the model does not know come after its own: such items count as errors, which they are.
    unknown = [name for name in dataset.classes if name not in model.classes]
    classes = (*model.classes, *unknown)
    targets = np.array([classes.index(dataset.classes[each]) for each in dataset.targets], dtype=np.int64)
    if unknown:
        progress.say(f"The model does not know {', '.join(map(repr, unknown))}: items of these classes count as errors.")
    padded = np.pad(predictions.probabilities, ((0, 0), (0, len(unknown))))
    return evaluate_predictions(targets, padded, classes)


def _test_side(dataset: Dataset, progress: Progress) -> Dataset:
    if dataset.sides is None:
        return dataset
    rows = [row for row, side in enumerate(dataset.sides) if side == "test"]
    progress.say(f"Evaluating on the {len(rows):,} items of the data's own test side.")
    return dataset.take(rows)


def _check_classes(dataset: Dataset, known: tuple[str, ...]) -> None:
    if not set(dataset.classes) & set(known):
        raise DataError(
            f"the data has none of the model's classes: it has {', '.join(map(repr, dataset.classes[:5]))}, "
            f"and the model knows {', '.join(map(repr, known[:5]))}",
            hint=did_you_mean(dataset.classes[0], known),
        )
