"""Backbones in the order of what they promise, before any head is tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from headstart._threads import one_thread
from headstart.backbones import BackboneSpec
from headstart.evaluation.comparison import compare_correct
from headstart.features.extract import Features
from headstart.selection.scores.knn import knn_right
from headstart.selection.scores.loo_ridge import loo_right


@dataclass(frozen=True, eq=False)
class Ranked:
    """One backbone.

    Attributes:
        backbone: Its spec.
        scores: `loo_accuracy` and `knn_accuracy` on its last layer, 0 to 1, higher is better.
        tie: Whether its leave-one-out accuracy is not clearly below that of the first.
        seconds: What its features cost in this run.
    """

    backbone: BackboneSpec
    scores: dict[str, float]
    tie: bool
    seconds: float


def rank(
    features: Mapping[str, Features],
    targets: Int[np.ndarray, " items"],
    *,
    seconds: Mapping[str, float],
    groups: Sequence[str] | None = None,
) -> tuple[Ranked, ...]:
    """Rank backbones by leave-one-out ridge and nearest neighbours, the mean of both.

    Args:
        features: Of the training items, by the name of the backbone; controls without parameters are passed over.
        targets: The class of each training item.
        seconds: What the features of each backbone cost.
        groups: For each item what it belongs with; items of one group need not be independent.
    """
    contenders = {name: each for name, each in features.items() if each.backbone.n_params}
    with one_thread():
        loo = {name: loo_right(each.layer("last"), targets) for name, each in contenders.items()}
        knn = {name: knn_right(each.layer("last"), targets) for name, each in contenders.items()}
    order = sorted(contenders, key=lambda name: -(loo[name].mean() + knn[name].mean()))
    return tuple(
        Ranked(
            backbone=contenders[name].backbone,
            scores={"loo_accuracy": float(loo[name].mean()), "knn_accuracy": float(knn[name].mean())},
            tie=name == order[0] or compare_correct(loo[order[0]], loo[name], groups=groups).low <= 0,
            seconds=seconds.get(name, 0.0),
        )
        for name in order
    )
