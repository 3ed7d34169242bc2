"""A bundle that answers: items in, predictions out. No training code is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from headstart._progress import SILENT, Progress
from headstart.backbones.backbone import Backbone
from headstart.backbones.precision import pick_device, pick_precision
from headstart.bundles import Bundle, open_bundle
from headstart.data.dataset import Items, LeftOut, Modality
from headstart.data.identify import content_keys
from headstart.errors import BundleError, DataError
from headstart.evaluation.abstention import abstains, check_cost
from headstart.evaluation.conformal import check_share, prediction_sets, too_few
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore
from headstart.features.protocol import FeatureStore
from headstart.serving._inputs import as_items
from headstart.serving.predictions import Prediction, Predictions

if TYPE_CHECKING:
    from headstart.serving._inputs import Given

__all__ = ["Model", "Prediction", "Predictions", "load"]


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted model. Not safe for several threads at once.

    Its networks are loaded by the first prediction and stay loaded.

    Attributes:
        bundle: Where it comes from.
        compute: Where and in which precision its networks run.
        store: Where features are looked up and kept; None forgets them after each call.
    """

    bundle: Bundle
    compute: Compute
    store: FeatureStore | None = None
    _running: dict[str, Backbone] = field(default_factory=dict, init=False, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names."""
        return self.bundle.predictor.classes

    @property
    def modality(self) -> Modality:
        """What it expects: `image` or `text`."""
        return self.bundle.manifest.modality

    def predict(
        self,
        items: Given,
        *,
        column: str | None = None,
        coverage: float | None = None,
        abstain_cost: float | None = None,
        gate: bool = False,
    ) -> Predictions:
        """Predict.

        Args:
            items: For images: files, folders, patterns, tables, or uint8 arrays. For texts: the texts themselves, or
                `Path` objects of tables and text files. For both a DataFrame.
            column: The column of a table to read; None finds it.
            coverage: How often the sets of classes are to hold the true one, above 0 and below 1; None for no sets.
            abstain_cost: What asking a person costs, above 0 and below 1, where an error costs 1: the model abstains
                where that is to be expected to cost less. None if it shall always answer.
            gate: Whether to flag items that look like nothing the model was trained on. With a coverage or a cost this
                is done wherever the bundle can.

        Returns:
            An answer for each item that can be used; the others are in `left_out`.

        Raises:
            DataError: If something does not exist or is no item, or no item can be used.
            OptionError: If coverage or cost do not lie between 0 and 1.
            BundleError: If the bundle has nothing that sets or a gate could follow from.
        """
        self._check_asked(coverage, abstain_cost, gate=gate)
        usable, left_out = as_items(items, self.modality, column=column)
        return self.predict_items(usable, left_out=left_out, coverage=coverage, abstain_cost=abstain_cost, gate=gate)

    def predict_proba(self, items: Given) -> Float64[np.ndarray, "items classes"]:
        """The probabilities alone, one row for each item and one column for each of `classes`.

        Args:
            items: As for `predict`.

        Raises:
            DataError: As `predict`, and if any item cannot be used: rows would no longer belong to items.
        """
        predictions = self.predict(items)
        lost = predictions.left_out
        if lost:
            raise DataError(
                "each item must have a row of probabilities, but "
                f"{len(lost)} of {len(lost) + len(predictions)} items cannot be used ({_reasons(lost)})",
                hint="Call predict(), which lists such items in left_out.",
            )
        return predictions.probabilities

    def predict_items(
        self,
        items: Items,
        *,
        left_out: Sequence[LeftOut] = (),
        coverage: float | None = None,
        abstain_cost: float | None = None,
        gate: bool = False,
        progress: Progress = SILENT,
    ) -> Predictions:
        """Predict for items that were read already.

        Args:
            items: Of this model's modality.
            left_out: What reading left out.
            coverage: As for `predict`.
            abstain_cost: As for `predict`.
            gate: As for `predict`.
            progress: Where progress is shown.

        Raises:
            DataError: If the items are of another modality, or none can be used.
            OptionError: If coverage or cost do not lie between 0 and 1.
            BundleError: If the bundle has nothing that sets or a gate could follow from.
        """
        self._check_asked(coverage, abstain_cost, gate=gate)
        if items.modality != self.modality:
            raise DataError(
                f"this model sees {self.modality}s, but the items are {items.modality}s",
                hint=f"Give {self.modality}s, or load a model for {items.modality}s.",
            )
        keyed, unreadable = content_keys(items, progress=progress)
        found = extract(
            keyed,
            list(self.bundle.backbones.values()),
            store=MemoryStore() if self.store is None else self.store,
            compute=self.compute,
            running=self._running,
            progress=progress,
        )
        damaged = [LeftOut(keyed.names[row], reason) for row, reason in sorted(found.damaged.items())]
        lost = (*left_out, *unreadable, *damaged)
        kept = np.array([row for row in range(len(keyed)) if row not in found.damaged], dtype=np.int64)
        if not len(kept):
            raise DataError(
                f"no item can be predicted: {_reasons(lost) or 'nothing was given'}",
                hint="Give at least one readable item.",
            )
        features = {each.backbone.name: each.take(kept) for each in found.features}
        probabilities = self.bundle.predictor.probabilities(features)
        in_set = note = abstained = unusual = None
        if coverage is not None and (held_out := self.bundle.held_out) is not None:
            in_set, note = prediction_sets(probabilities, held_out, coverage), too_few(held_out, coverage)
        if abstain_cost is not None:
            abstained = abstains(probabilities, abstain_cost)
        if self.bundle.gate is not None and (gate or coverage is not None or abstain_cost is not None):
            unusual = self.bundle.gate.unusual(features)
        return Predictions(
            items=tuple(keyed.names[row] for row in kept),
            classes=self.classes,
            probabilities=probabilities,
            rows=_positions(keyed, items)[kept],
            left_out=lost,
            in_set=in_set,
            abstained=abstained,
            unusual=unusual,
            notes=(note,) if note else (),
        )

    def _check_asked(self, coverage: float | None, abstain_cost: float | None, *, gate: bool) -> None:
        """Refuse what cannot be had before anything is computed."""
        if coverage is not None:
            check_share(coverage)
        if abstain_cost is not None:
            check_cost(abstain_cost)
        lacking = [
            *(["prediction sets"] if coverage is not None and self.bundle.held_out is None else []),
            *(["a gate for unusual items"] if gate and self.bundle.gate is None else []),
        ]
        if lacking:
            raise BundleError(
                f"the bundle {str(self.bundle.folder)!r} holds nothing for {lacking[0]}",
                hint="An older version of headstart wrote it, or there were too few items; fit again, or do without.",
            )


def _positions(kept: Items, items: Items) -> np.ndarray:
    """Where the items that were kept, in their order, are among all."""
    rows: list[int] = []
    for row, value in enumerate(items.values):
        if len(rows) < len(kept) and kept.values[len(rows)] is value:
            rows.append(row)
    return np.array(rows, dtype=np.int64)


def _reasons(lost: Sequence[LeftOut]) -> str:
    return "; ".join(f"{each.name}: {each.reason}" for each in lost[:3])


def load(
    path: str | Path, *, device: str = "auto", precision: str = "auto", store: FeatureStore | None = None
) -> Model:
    """Open the bundle of a run, ready to predict; nothing is fetched and nothing but numpy runs yet.

    Args:
        path: The folder of a run or of a bundle.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto` (what the head was fitted with, where this machine has it), `bfloat16` or `float32`.
        store: Where features are looked up and kept; None forgets them after each call.

    Raises:
        BundleError: If it is no bundle, was changed, or is from a newer version.
        OptionError: If device or precision are unknown.
    """
    bundle = open_bundle(path)
    where = pick_device(device)
    here = pick_precision(precision, where)
    if precision == "auto" and bundle.manifest.precision == "float32":
        here = "float32"
    return Model(bundle, Compute(where, here), store)
