"""A bundle that answers: items in, predictions out. No training code is imported here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from headstart._progress import SILENT, Progress
from headstart.backbones import pick_device, pick_precision
from headstart.bundles import Bundle, open_bundle
from headstart.data.dataset import Items, LeftOut, Modality
from headstart.data.identify import content_keys
from headstart.data.read import read_items
from headstart.errors import DataError
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore
from headstart.features.protocol import FeatureStore

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one item.

    Attributes:
        item: Its name.
        label: The most probable class.
        probability: Of that class, 0 to 1.
        probabilities: Of every class, by name.
    """

    item: str
    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True, eq=False)
class Predictions(Sequence[Prediction]):
    """The answers for several items.

    Attributes:
        items: The names of the items that were used.
        classes: The class names.
        probabilities: One row an item, one column a class.
        left_out: What could not be used, with the reason.
    """

    items: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Float64[np.ndarray, "items classes"]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The most probable class of each item."""
        return tuple(self.classes[best] for best in self.probabilities.argmax(axis=1))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Prediction:  # type: ignore[override]
        row = self.probabilities[index]
        best = int(row.argmax())
        by_name = dict(zip(self.classes, row.tolist(), strict=True))
        return Prediction(self.items[index], self.classes[best], float(row[best]), by_name)

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    def to_frame(self) -> pd.DataFrame:
        """A table with the columns `item, prediction, probability` and one `p:CLASS` per class."""
        import pandas as pd

        head = {"item": self.items, "prediction": self.labels, "probability": self.probabilities.max(axis=1)}
        return pd.DataFrame(head | {f"p:{name}": self.probabilities[:, i] for i, name in enumerate(self.classes)})


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted model. Not safe for several threads at once.

    Attributes:
        bundle: Where it comes from.
        compute: Where and in which precision its networks run.
        store: Where features are looked up and kept.
    """

    bundle: Bundle
    compute: Compute
    store: FeatureStore

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.bundle.predictor.classes

    @property
    def modality(self) -> str:
        """What it expects: `image` or `text`."""
        return self.bundle.manifest.modality

    def predict(
        self, items: str | Path | Sequence[str | Path | np.ndarray], *, column: str | None = None
    ) -> Predictions:
        """Predict.

        Args:
            items: For images: files, folders, patterns, tables, or uint8 arrays. For texts: the texts themselves, or
                `Path` objects of tables and text files.
            column: The column of a table to read; None finds it.

        Raises:
            DataError: If something does not exist, or no item can be used.
        """
        usable, left_out = self._read(items, column)
        return self.predict_items(usable, left_out=left_out)

    def predict_proba(
        self, items: str | Path | Sequence[str | Path | np.ndarray]
    ) -> Float64[np.ndarray, "items classes"]:
        """The probabilities alone, one row for each item that could be used."""
        return self.predict(items).probabilities

    def predict_items(
        self, items: Items, *, left_out: Sequence[LeftOut] = (), progress: Progress = SILENT
    ) -> Predictions:
        """Predict for items that were read already.

        Args:
            items: Of this model's modality.
            left_out: What reading left out.
            progress: Where progress is shown.

        Raises:
            DataError: If no item can be used.
        """
        identified, unreadable = content_keys(items, progress=progress)
        backbones = list(self.bundle.backbones.values())
        found = extract(identified, backbones, store=self.store, compute=self.compute, progress=progress)
        damaged = [LeftOut(identified.names[row], reason) for row, reason in sorted(found.damaged.items())]
        lost = (*left_out, *unreadable, *damaged)
        usable = np.array([row for row in range(len(identified)) if row not in found.damaged], dtype=np.int64)
        if not len(usable):
            reasons = "; ".join(f"{each.name}: {each.reason}" for each in lost[:3]) or "nothing was given"
            raise DataError(f"no item can be predicted ({reasons})", hint="Give at least one readable item.")
        features = {each.backbone.name: each.take(usable) for each in found.features}
        names = tuple(identified.names[row] for row in usable)
        return Predictions(names, self.classes, self.bundle.predictor.probabilities(features), lost)

    def _read(
        self, items: str | Path | Sequence[str | Path | np.ndarray], column: str | None
    ) -> tuple[Items, tuple[LeftOut, ...]]:
        given = [items] if isinstance(items, str | Path) else list(items)
        if any(isinstance(item, np.ndarray) for item in given):
            arrays = tuple(np.asarray(item) for item in given)
            return Items("image", arrays, tuple(f"array {row}" for row in range(len(arrays)))), ()
        if self.modality == "text" and not any(isinstance(item, Path) for item in given):
            return _texts([str(item) for item in given])
        modality: Modality = "text" if self.modality == "text" else "image"
        return read_items([item for item in given if isinstance(item, str | Path)], modality=modality, column=column)


def _texts(texts: Sequence[str]) -> tuple[Items, tuple[LeftOut, ...]]:
    rows = [row for row, text in enumerate(texts) if text.strip()]
    empty = tuple(LeftOut(f"text {row}", "empty text") for row in range(len(texts)) if not texts[row].strip())
    return Items("text", tuple(texts[row] for row in rows), tuple(f"text {row}" for row in rows)), empty


def load(
    path: str | Path, *, device: str = "auto", precision: str = "auto", store: FeatureStore | None = None
) -> Model:
    """Open the bundle of a run, ready to predict; nothing is fetched and nothing but numpy runs yet.

    Args:
        path: The folder of a run or of a bundle.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto` (what the head was fitted with, where this machine has it), `bfloat16` or `float32`.
        store: Where features are looked up and kept; None keeps them in memory for this call only.

    Raises:
        BundleError: If it is no bundle, was changed, or is from a newer version.
        OptionError: If device or precision are unknown.
    """
    bundle = open_bundle(path)
    where = pick_device(device)
    here = pick_precision(precision, where)
    if precision == "auto" and bundle.manifest.precision == "float32":
        here = "float32"
    return Model(bundle, Compute(where, here), MemoryStore() if store is None else store)
