"""The story of `evaluate`: a bundle on labelled data that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart._checks import did_you_mean
from headstart._home import default_home
from headstart._progress import SILENT, Progress
from headstart.bundles.manifest import KEY_DIGITS
from headstart.data.dataset import Dataset
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.reduce import tell_apart
from headstart.data.split import SealedTest
from headstart.errors import DataError
from headstart.evaluation.metrics import evaluate_predictions
from headstart.evaluation.records import Evaluation
from headstart.features.protocol import FeatureStore
from headstart.recipes.stores import open_store
from headstart.serving import Predictions, load

_NAMED = 5


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

    Items that the model was trained on are recognised by their content and left out.

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
        DataError: If the data cannot be used, has none of the model's classes, or holds nothing but its training items.
    """
    with open_store(default_home(), progress) as (store, _):
        model = load(path, device=device, precision=precision, store=store)
        dataset = read_dataset(data, target=target, column=column, modality=model.modality)
        given = identify(_test_side(tell_apart(dataset), progress), known=store, progress=progress)
        dataset = _unseen(given, model.bundle.manifest.training_keys, progress)
        _check_classes(dataset, model.classes)
        predictions = model.predict_items(dataset.items, left_out=dataset.left_out, progress=progress)
        for lost in predictions.left_out:
            progress.say(f"left out: {lost.name} ({lost.reason})")
        sealed = SealedTest(dataset.take(predictions.rows))
        openings = store.count_opening(_opened(given, store), Path(path).name)
    if openings > 1:
        progress.say(
            f"These test items were looked at {openings} times on this machine; each time weakens what they say."
        )
    return _compare(sealed, predictions, progress)


def _compare(sealed: SealedTest, predictions: Predictions, progress: Progress) -> Evaluation:
    """Classes that the model does not know come after its own: such items count as errors, which they are."""
    targets = sealed.open()
    unknown = [sealed.classes[each] for each in np.unique(targets) if sealed.classes[each] not in predictions.classes]
    if unknown:
        progress.say(
            f"The model does not know {', '.join(map(repr, unknown))}: items of these classes count as errors."
        )
    there = {sealed.classes[each] for each in np.unique(targets)}
    if absent := [name for name in predictions.classes if name not in there]:
        progress.say(
            f"No item is of the class {_some(absent)}: where one of these is predicted all the same, it counts as 0 "
            "in the mean F1 and the mean precision."
        )
    classes = (*predictions.classes, *unknown)
    place = {name: row for row, name in enumerate(classes)}
    renumbered = np.array([place[sealed.classes[each]] for each in targets], dtype=np.int64)
    return evaluate_predictions(renumbered, predictions.probabilities, classes)


def _some(names: Sequence[str]) -> str:
    more = f" or {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    return f"{' or '.join(map(repr, names[:_NAMED]))}{more}"


def _test_side(dataset: Dataset, progress: Progress) -> Dataset:
    if dataset.sides is None:
        return dataset
    rows = [row for row, side in enumerate(dataset.sides) if side == "test"]
    progress.say(f"Evaluating on the {len(rows):,} items of the data's own test side.")
    return dataset.take(rows)


def _unseen(dataset: Dataset, training_keys: tuple[str, ...], progress: Progress) -> Dataset:
    """The items that the model was not trained on."""
    known = frozenset(training_keys)
    rows = [row for row, key in enumerate(dataset.items.keys) if key[:KEY_DIGITS] not in known]
    if not rows:
        raise DataError(
            f"a model must be judged on items that it has not seen, but all {len(dataset):,} were in its training",
            hint="Give other labelled items; how it did on its sealed test is in the report of its run.",
        )
    if len(rows) < len(dataset):
        progress.say(
            f"{len(dataset) - len(rows):,} of {len(dataset):,} items were in the training of this model "
            "and are left out."
        )
    return dataset.take(rows)


def _opened(given: Dataset, store: FeatureStore) -> str:
    """What `fit` counts the openings of this data by: the user's own test side, else all items that can be used."""
    damaged = store.rejected(given.items.keys)
    usable = given.take([row for row, key in enumerate(given.items.keys) if key not in damaged])
    return usable.fingerprint if usable.sides is None else SealedTest(usable).fingerprint


def _check_classes(dataset: Dataset, known: tuple[str, ...]) -> None:
    found = [dataset.classes[target] for target in np.unique(dataset.targets)]
    if not set(found) & set(known):
        raise DataError(
            f"the data has none of the model's classes: it has {', '.join(map(repr, found[:5]))}, "
            f"and the model knows {', '.join(map(repr, known[:5]))}",
            hint=did_you_mean(found[0], known),
        )
