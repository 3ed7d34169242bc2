"""What a further step is expected to bring, before it is made: the share of the present errors that it takes away.

The shares are means over what the project itself has measured on public sets (`benchmarks/strategies.py`, rows in
`benchmarks/results/strategies.csv`; three backbones side by side: `benchmarks/accuracy.py`). They only decide the order
of steps and which are worth their time; whether one has helped is decided out-of-fold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from headstart.data.dataset import Modality

LEAST_GAIN = 0.006
"""Weights are not moved unasked for less: where a head errs in 1 to 3 of 100 (pacs_photo), it cost 2 to 3 points."""

FEWER_ITEMS = 0.05
"""The share of the errors that a training on four fifths of the items leaves, and one on all would have taken away."""

_FURTHER_BACKBONE = 0.08
_UNKNOWN = 0.1
# By labels a class, from few to many; between them the logarithm counts. Against the linear head on all layers, without
# pacs_photo, which `LEAST_GAIN` keeps out.
_MOVING: dict[tuple[Modality, str], tuple[tuple[int, float], ...]] = {
    ("image", "finetune"): ((8, 0.14), (32, 0.28), (60, 0.33)),
    ("text", "contrastive"): ((8, 0.11), (32, 0.15), (256, 0.10), (3000, 0.0)),
    ("text", "finetune"): ((8, 0.0), (32, 0.0), (256, 0.15), (3000, 0.24)),
}
_WORTH_OF_PRIOR = 1.0  # as much as one training of this run


def further_backbone(error: float) -> float:
    """The expected gain in accuracy from the features of one more backbone, alone or beside the others.

    Args:
        error: Of the best candidate so far, out-of-fold, 0 to 1.
    """
    return _FURTHER_BACKBONE * error


def moving(
    strategy: str, modality: Modality, *, error: float, labels_a_class: float, seen: Sequence[float] = ()
) -> float:
    """The expected gain in accuracy from moving weights, against the head that the training starts from.

    Args:
        strategy: The strategy's name.
        modality: `image` or `text`.
        error: Of that head, out-of-fold, 0 to 1.
        labels_a_class: Training items of a class, on average.
        seen: What share of the errors the same strategy took away in this run, on other backbones.
    """
    share = _share(_MOVING.get((modality, strategy), ((1, _UNKNOWN),)), labels_a_class)
    return error * (_WORTH_OF_PRIOR * share + sum(seen)) / (_WORTH_OF_PRIOR + len(seen))


def suited(modality: Modality) -> tuple[str, ...]:
    """The strategies that move weights which are worth trying unasked.

    Args:
        modality: `image` or `text`.
    """
    return tuple(strategy for of, strategy in _MOVING if of == modality)


def _share(known: Sequence[tuple[int, float]], labels_a_class: float) -> float:
    """Between two known numbers of labels, on the scale of their logarithm; beyond them the nearest."""
    at = math.log(max(1.0, labels_a_class))
    places = [(math.log(labels), share) for labels, share in known]
    if at <= places[0][0]:
        return places[0][1]
    for (low, before), (high, after) in pairwise(places):
        if at <= high:
            return before + (after - before) * (at - low) / (high - low)
    return places[-1][1]
