"""All scores by name: what each means, what it needs, and all of them at once from one decomposition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from headstart._threads import one_thread
from headstart.errors import DataError
from headstart.selection.scores._inputs import check_classes
from headstart.selection.scores.components import decompose
from headstart.selection.scores.gbc import gbc
from headstart.selection.scores.h_score import h_score
from headstart.selection.scores.knn import knn_accuracy
from headstart.selection.scores.leep import leep
from headstart.selection.scores.logme import logme
from headstart.selection.scores.loo_ridge import loo_accuracy
from headstart.selection.scores.nce import nce
from headstart.selection.scores.nleep import nleep
from headstart.selection.scores.parc import parc
from headstart.selection.scores.sfda import sfda
from headstart.selection.scores.transrate import transrate

Needs = Literal["features", "components", "source probabilities"]


@dataclass(frozen=True, slots=True)
class Score:
    """A way to say before training how good features are for a task; higher is better for each.

    Attributes:
        compute: The pure function of what it needs and the targets.
        meaning: What it measures, in one line.
        needs: The features, their components (or the features), or the source classifier's probabilities.
        decides: Whether it takes part in the order of the ranking; the others are printed beside it.
        regression: Whether it takes values to predict as well as classes.
    """

    compute: Callable[[Any, np.ndarray], float]
    meaning: str
    needs: Needs = "components"
    decides: bool = False
    regression: bool = False


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "loo_accuracy": Score(loo_accuracy, "accuracy of a ridge classifier on items left out of it", decides=True),
        "knn_accuracy": Score(
            knn_accuracy, "accuracy of the vote of the 5 nearest other items", needs="features", decides=True
        ),
        "logme": Score(logme, "log evidence of the targets under Bayesian linear regression", regression=True),
        "h_score": Score(h_score, "spread between classes over the whole, with a shrunk covariance"),
        "nleep": Score(nleep, "log-probability of the targets given a mixture of Gaussians on the features"),
        "transrate": Score(transrate, "nats to code all items, less those to code a class"),
        "gbc": Score(gbc, "minus the overlap of the classes as Gaussian balls"),
        "parc": Score(parc, "rank correlation of distances between features and between targets"),
        "sfda": Score(sfda, "posterior of a regularised discriminant, items moved towards other classes"),
        "leep": Score(leep, "log-probability of the targets given the source classes", needs="source probabilities"),
        "nce": Score(nce, "minus the entropy of the targets given the source class", needs="source probabilities"),
    }
)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a score says.

    Attributes:
        value: The score, or None where it is not defined.
        reason: Why it is not defined, or an empty string.
    """

    value: float | None
    reason: str = ""


def all_scores(
    features: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"] | Float[np.ndarray, " items"],
    *,
    probabilities: Float[np.ndarray, "items sources"] | None = None,
) -> dict[str, Scored]:
    """Every score, in the order of `SCORES`, from one decomposition of the features.

    Args:
        features: What the backbone says.
        targets: Classes as whole numbers, or values to predict as floating-point ones.
        probabilities: What the source classifier says about the items, where there is one.

    Raises:
        DataError: If there are fewer than two items, or features are not finite.
        OptionError: If there is not one target for each item, or a class is negative.
    """
    values = np.issubdtype(targets.dtype, np.floating)
    if not values:
        try:
            # Leaving items out gives a number for single items too: 0, whatever the features.
            check_classes(targets, len(features))
        except DataError as error:
            return dict.fromkeys(SCORES, Scored(None, str(error)))
    with one_thread():
        parts = decompose(features)
        inputs: dict[Needs, Any] = {"features": features, "components": parts, "source probabilities": probabilities}
        return {name: _scored(score, inputs[score.needs], targets, values=values) for name, score in SCORES.items()}


def _scored(score: Score, given: Any, targets: np.ndarray, *, values: bool) -> Scored:
    if given is None:
        return Scored(None, "the backbone has no source classifier")
    if values and not score.regression:
        return Scored(None, "it is defined for classes, not for values")
    try:
        return Scored(score.compute(given, targets))
    except DataError as error:
        return Scored(None, str(error))
