"""Backbones in the order of what they promise, before any head is tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Int

from headstart._threads import one_thread
from headstart.backbones.spec import BackboneSpec
from headstart.evaluation.comparison import compare_correct, is_tie
from headstart.evaluation.metrics import share_right
from headstart.evaluation.records import Difference, Estimate
from headstart.features.extract import Features
from headstart.selection.prior import Prior, combine
from headstart.selection.scores.knn import knn_right
from headstart.selection.scores.loo_ridge import loo_right

RACE_MARGIN = 0.02
"""Whoever is further behind in a look at some of the items is no tie."""
_WORTH = 0.0025
"""Expected accuracy that is given away for a backbone that costs less to run."""
_PER_DEVIATION = 0.1
"""The share of the errors that one standard deviation of expectation is worth, and how far that strays (`_STRAY`)."""
_STRAY = 0.1
_MOST_ERRORS = 0.2
"""Where more is wrong than this, expectations count as if it were this: 2 points at most for a deviation."""
_FEWEST_ERRORS = 1e-3
_INTERVAL_ERRORS = 2 * 1.96  # standard errors that a 95 % interval spans


@dataclass(frozen=True, eq=False)
class Ranked:
    """One backbone.

    Attributes:
        backbone: Its spec.
        layer: The layer on which it does best.
        accuracy: Leave-one-out accuracy of a ridge classifier on that layer, with its interval.
        scores: `loo_accuracy` (the same) and `knn_accuracy` (on that layer), 0 to 1, higher is better.
        prior: What was expected before it saw an item.
        tie: Whether it is not clearly behind the most accurate one.
        seconds: What its features cost in this run.
        n_items: The items that it was judged on.
    """

    backbone: BackboneSpec
    layer: str
    accuracy: Estimate
    scores: dict[str, float]
    prior: Prior
    tie: bool
    seconds: float
    n_items: int


@dataclass(frozen=True, eq=False)
class Ranking:
    """Backbones on the same items.

    Attributes:
        rows: Those that tie with the most accurate one, then the others; within each the most promising first.
        chosen: Of the ties the cheapest to run that is expected to be at most a quarter of a point behind any other.
        why: The reason in one sentence.
    """

    rows: tuple[Ranked, ...]
    chosen: BackboneSpec
    why: str

    def followed_by(
        self, behind: Sequence[Ranked], *, because: str = "promised less on a first sample and went no further"
    ) -> Self:
        """The same ranking with backbones below it that went no further than a first sample.

        Args:
            behind: The most promising first.
            because: What became of them.
        """
        if not behind:
            return self
        n_all = len(self.rows) + len(behind)
        why = f"{len(behind)} of {n_all} {because}. {self.why}"
        return replace(self, rows=(*self.rows, *behind), why=why)

    @property
    def favourite(self) -> Ranked:
        """The one of which most was expected."""
        return max(self.rows, key=lambda each: each.prior.value)


@dataclass(frozen=True, eq=False)
class _Score:
    layer: str
    loo: Bool[np.ndarray, " items"]
    knn: Bool[np.ndarray, " items"]


def rank(
    features: Mapping[str, Features],
    targets: Int[np.ndarray, " items"],
    *,
    seconds: Mapping[str, float],
    priors: Mapping[str, Prior],
    groups: Sequence[str] | None = None,
) -> Ranking:
    """Rank backbones by leave-one-out ridge and nearest neighbours, and by what was known before.

    A backbone ties with the most accurate one when the 95 % interval of their paired leave-one-out difference contains
    zero and it is at most 2 points behind. Of the ties the cheapest to run is chosen that is expected to be at most a
    quarter of a point behind any other, given its prior and what was measured.

    Args:
        features: Of the training items, by the name of the backbone; at least one. Controls are passed over.
        targets: The class of each item.
        seconds: What the features of each backbone cost.
        priors: What is expected, by the name of the backbone.
        groups: For each item what it belongs with; items of one group need not be independent.
    """
    contenders = {name: each for name, each in features.items() if each.backbone.n_params}
    with one_thread():
        scored = {name: _score(each, targets) for name, each in contenders.items()}
    names = list(contenders)
    loo = {name: float(scored[name].loo.mean()) for name in names}
    knn = {name: float(scored[name].knn.mean()) for name in names}
    promise = combine({name: priors[name].value for name in names}, loo, knn)
    # Names come last, so that nothing depends on the order in which backbones were given.
    names.sort(key=lambda name: (-promise[name], contenders[name].backbone.running_cost, name))
    best = max(names, key=lambda name: loo[name])
    behind = {name: compare_correct(scored[best].loo, scored[name].loo, groups=groups) for name in names}
    ties = {name for name in names if name == best or is_tie(behind[name], margin=RACE_MARGIN)}
    order = sorted(names, key=lambda name: name not in ties)
    losses = _losses({name: behind[name] for name in order if name in ties}, best, priors, accuracy=loo[best])
    near = [name for name, loss in losses.items() if loss <= _WORTH]
    chosen = min(near, key=lambda name: contenders[name].backbone.running_cost)
    return Ranking(
        rows=tuple(
            Ranked(
                backbone=contenders[name].backbone,
                layer=scored[name].layer,
                accuracy=share_right(scored[name].loo, groups=groups),
                scores={"loo_accuracy": loo[name], "knn_accuracy": knn[name]},
                prior=priors[name],
                tie=name in ties,
                seconds=seconds.get(name, 0.0),
                n_items=len(targets),
            )
            for name in order
        ),
        chosen=contenders[chosen].backbone,
        why=_why(len(ties), len(names), len(targets), of_several=len(near) > 1),
    )


def _score(features: Features, targets: Int[np.ndarray, " items"]) -> _Score:
    """On the layer where leave-one-out finds most; of equals on the last."""
    layers = [layer.name for layer in reversed(features.backbone.layers)]
    loo = {layer: loo_right(features.layer(layer), targets) for layer in layers}
    layer = max(layers, key=lambda name: loo[name].mean())
    return _Score(layer, loo[layer], knn_right(features.layer(layer), targets))


def _losses(
    behind: Mapping[str, Difference], best: str, priors: Mapping[str, Prior], *, accuracy: float
) -> dict[str, float]:
    """The accuracy that taking each backbone is expected to cost, given what was expected and what was measured.

    The posterior mean of how far it is behind the most accurate one: the measured difference is normal with the
    standard error of its interval, and before that it was expected to be `_PER_DEVIATION` of the errors for each
    standard deviation between the two, give or take `_STRAY` of them (docs/decisions/0011-race.md).
    """
    errors = min(max(1 - accuracy, _FEWEST_ERRORS), _MOST_ERRORS)
    lag = {}
    for name, difference in behind.items():
        error = max((difference.high - difference.low) / _INTERVAL_ERRORS, float(np.finfo(np.float32).eps))
        expected = errors * _PER_DEVIATION * (priors[best].value - priors[name].value)
        weights = 1 / error**2, 1 / (errors * _STRAY) ** 2
        lag[name] = 0.0 if name == best else float(np.average([difference.value, expected], weights=weights))
    least = min(lag.values())
    return {name: value - least for name, value in lag.items()}


def _why(n_ties: int, n_all: int, n_items: int, *, of_several: bool) -> str:
    if n_all == 1:
        return f"It is the only backbone that was judged on {n_items:,} items."
    if n_ties == 1:
        return f"It is ahead of the other {n_all - 1} on {n_items:,} items by more than chance or 2 points."
    which = "All" if n_ties == n_all else f"{n_ties} of"
    reason = (
        "the cheapest of them to run that should lose nothing worth its price"
        if of_several
        else "the one of which most is to be expected"
    )
    return f"{which} {n_all} are indistinguishable on {n_items:,} items; chosen is {reason}."
