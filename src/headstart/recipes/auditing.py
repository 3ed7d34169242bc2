"""What `fit` and `audit` have in common: the checks of the data, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from headstart.audit import Finding, most_serious_first
from headstart.audit.classes import class_findings, left_out_findings
from headstart.audit.copies import PICTURE_SIDE, Copies, copy_findings, find_copies
from headstart.backbones.loaders.pixels import PIXELS, THUMBNAIL
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, Modality
from headstart.data.split import Split
from headstart.recipes.climb import Climb


@dataclass(frozen=True, eq=False)
class Looked:
    """What is found out about items before they have sides.

    Attributes:
        copies: Which items are the same.
    """

    copies: Copies


def pictures_of(modality: Modality) -> list[Local]:
    """What images are shrunk to while they are decoded anyway: the control, and what near-copies are told by.

    Args:
        modality: What the items are; texts need none.
    """
    return [Local(spec, Path(), {}) for spec in (PIXELS, THUMBNAIL)] if modality == "image" else []


def look(dataset: Dataset, climb: Climb, backbone: Local, *, seed: int) -> Looked:
    """Check the items themselves; labels are not looked at.

    Args:
        dataset: All items, as the climb has them.
        climb: Has the features of the first pass; the thumbnails are taken away from it.
        backbone: Whose features these are.
        seed: Of what is sampled.
    """
    features = climb.features[backbone.spec.name].layer(backbone.spec.layers[-1].name)
    thumbnails = climb.features.pop(THUMBNAIL.name, None)
    pictures = None if thumbnails is None else thumbnails.values.reshape(-1, PICTURE_SIDE, PICTURE_SIDE)
    return Looked(find_copies(dataset.items, features, pictures, seed=seed))


def on_test_side(dataset: Dataset, sides: Split) -> Bool[np.ndarray, " items"]:
    """For each item whether it is on the test side.

    Args:
        dataset: All items.
        sides: The split of them.
    """
    is_test = np.zeros(len(dataset), dtype=bool)
    is_test[dataset.items.rows_of(sides.test.items)] = True
    return is_test


def findings_of_fit(dataset: Dataset, sides: Split, looked: Looked) -> tuple[Finding, ...]:
    """What is remarkable about the data, the most serious first.

    Labels of the test side are not looked at, except to name classes that training lacks.

    Args:
        dataset: All items.
        sides: The split of them.
        looked: What was found out about the items.
    """
    is_test = on_test_side(dataset, sides)
    return most_serious_first(
        [
            *left_out_findings(dataset.left_out),
            *copy_findings(dataset, looked.copies, is_test, labelled=~is_test),
            *class_findings(dataset, sides.train),
        ]
    )
