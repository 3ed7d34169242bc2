"""A gate for items that look like nothing the model was trained on.

What counts is the mean distance to the five nearest training items, one minus the cosine between directions of the
layer `last` (after Sun et al. 2022, arXiv:2204.06507, who take the k-th distance). The threshold lets 95 % of held-out
items pass: their distances are measured to items of other folds, so groups and copies are no neighbours of each other.

Measured on the starters, each set of a modality against the others: the share of the others that is flagged, the lowest
of the pairs, and the share of the set's own test that passes (signs, clothing, cifar10 and pacs_photo with 420 to 1,066
training items; sst2 and agnews with 2,666).

|                          | images: flagged | least | pass | texts: flagged | least | pass |
|--------------------------|-----------------|-------|------|----------------|-------|------|
| nearest                  | 0.997           | 0.961 | 0.96 | 0.87           | 0.82  | 0.96 |
| mean of 5 nearest        | 0.998           | 0.972 | 0.96 | 0.92           | 0.88  | 0.96 |
| 5th nearest              | 0.995           | 0.949 | 0.96 | 0.89           | 0.82  | 0.96 |
| 10th nearest             | 0.984           | 0.887 | 0.96 | 0.88           | 0.80  | 0.96 |
| mean of 5, centred       | 0.980           | 0.895 | 0.97 | 0.41           | 0.05  | 0.97 |
| Mahalanobis, Ledoit–Wolf | 0.985           | 0.888 | 0.95 | 0.41           | 0.00  | 0.95 |

benchmarks/gate.py measures the same on as many items as are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float16, Float64, Int

from headstart._randomness import generator
from headstart.adaptation.heads.forms import unit_rows
from headstart.adaptation.predictor import Part, side_by_side
from headstart.features.extract import Features

NEIGHBOURS = 5
PASSES = 0.95
"""The share of held-out items that the gate lets pass."""
MOST_REFERENCES = 2_000
"""More training items than this make a bundle larger, and the gate hardly better."""
LAST = "last"
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Gate:
    """Knows training items, and flags items that are farther from them than held-out items are.

    Attributes:
        backbones: The names of those whose layer `last` it looks at.
        references: The directions of training items: rows of length 1, see `directions`.
        threshold: The largest distance that passes, from 0 to 2.
        neighbours: How many of the nearest references the distance is the mean of, 1 or more.
        passes: The share of held-out items that passed when the threshold was set.
    """

    backbones: tuple[str, ...]
    references: Float16[np.ndarray, "references width"]
    threshold: float
    neighbours: int = NEIGHBOURS
    passes: float = PASSES

    def distances(self, features: Mapping[str, Features]) -> Float64[np.ndarray, " items"]:
        """How far items are from the nearest references.

        Args:
            features: By the name of the backbone; every row must be there.
        """
        return distances(directions(features, self.backbones), self.references, n_nearest=self.neighbours)

    def unusual(self, features: Mapping[str, Features]) -> Bool[np.ndarray, " items"]:
        """For each item whether it is farther away than the threshold.

        Args:
            features: By the name of the backbone; every row must be there.
        """
        return self.distances(features) > self.threshold


def directions(features: Mapping[str, Features], backbones: Sequence[str]) -> Float16[np.ndarray, "items width"]:
    """The layer `last` of some backbones side by side as rows of length 1.

    Args:
        features: By the name of the backbone.
        backbones: Whose.
    """
    return unit_blocks([side_by_side(features, [Part(name, LAST)]) for name in backbones])


def unit_blocks(blocks: Sequence[Float[np.ndarray, "items ..."]]) -> Float16[np.ndarray, "items width"]:
    """Blocks of columns side by side, each with the same say, as rows of length 1.

    Args:
        blocks: One row for each item.
    """
    units = [unit_rows(block) for block in blocks]
    return np.asarray(np.concatenate(units, axis=1) / np.sqrt(len(units)), dtype=np.float16)


def distances(
    rows: Float[np.ndarray, "items width"],
    references: Float[np.ndarray, "references width"],
    *,
    n_nearest: int = NEIGHBOURS,
) -> Float64[np.ndarray, " items"]:
    """The mean of one minus the cosine to the nearest references.

    Half precision leaves directions as they are, but not the lengths: these are made 1 again.

    Args:
        rows: Directions of items.
        references: Those of at least one item.
        n_nearest: How many of the nearest count; all, if there are fewer.
    """
    known = unit_rows(references.astype(np.float32)).T
    first = max(0, known.shape[1] - n_nearest)
    found = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        cosines = unit_rows(rows[start : start + _ROWS].astype(np.float32)) @ known
        found[start : start + len(cosines)] = 1 - np.partition(cosines, first, axis=1)[:, first:].mean(axis=1)
    return found


def held_out_distances(
    rows: Float[np.ndarray, "items width"], folds: Int[np.ndarray, " items"]
) -> Float64[np.ndarray, " items"]:
    """The distance of each item to the nearest ones of other folds.

    Args:
        rows: Directions of items.
        folds: The fold of each, two at least.
    """
    found = np.empty(len(rows))
    for fold in np.unique(folds):
        found[folds == fold] = distances(rows[folds == fold], rows[folds != fold])
    return found


def thin(
    targets: Int[np.ndarray, " items"], *, n_most: int = MOST_REFERENCES, seed: int = 0
) -> Int[np.ndarray, " some"]:
    """Positions of some items, in order, each class with its share.

    Args:
        targets: The class of each item.
        n_most: How many at most, 1 or more.
        seed: Of which items of a class.
    """
    order = generator(seed, "references").permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    # Every so many of the items in the order of their classes.
    n_kept = min(n_most, len(order))
    return np.sort(order[np.arange(n_kept) * len(order) // n_kept])
