"""How far the data lie from what the backbone knows, before anything is trained.

Measured on the last layer of two packaged starters by benchmarks/nearness.py, up to 200 items a set. Gain is the
leave-one-out accuracy of a ridge classifier on the features less that of the same on pixels or words; `rank` is
`rank_share`.

| EfficientNet-Lite0 | entropy | alike | rank | gain  | | MiniLM                   | alike | rank | gain  |
|--------------------|---------|-------|------|-------|-|--------------------------|-------|------|-------|
| clothes            | 40 %    | 0.34  | 0.88 | +0.49 | | English news             | 0.06  | 0.90 | +0.10 |
| photographs        | 45 %    | 0.25  | 0.88 | +0.61 | | English messages         | 0.16  | 0.69 | +0.04 |
| 32-pixel pictures  | 61 %    | 0.47  | 0.91 | +0.36 | | film reviews             | 0.19  | 0.88 | +0.18 |
| sketches           | 66 %    | 0.61  | 0.80 | +0.28 | | the messages in German   | 0.27  | 0.71 | −0.04 |
| hand signs         | 69 %    | 0.75  | 0.78 | +0.20 | | in Japanese              | 0.45  | 0.72 | +0.07 |
| scanned digits     | 80 %    | 0.84  | 0.69 | −0.02 | | in Russian               | 0.50  | 0.57 | −0.04 |
|                    |         |       |      |       | | news, letters exchanged  | 0.71  | 0.82 | −0.23 |

Lite1 and Lite2 put the sets in the same order, but their classifiers are less sure of everything: 56 % and 50 % on
clothes, 63 % and 61 % on photographs, 78 % on signs. So what counts is the way from what is usual for the backbone;
the limits without it are those of Lite0. On the digits Lite2 (78 %, gain +0.03) is far, and not doubtful.

So the entropy decides where there is a source classifier, and else how alike items look beside what is usual for the
backbone. The effective rank orders images too, but not texts, where it falls as they become uniform. The distance to a
reference set orders nothing (clothes lie as far from photographs as sketches do): it says how far the data are from
those items, not from what the backbone knows. Both are reported and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax

from headstart.errors import OptionError
from headstart.selection.scores._inputs import check_features
from headstart.selection.scores.components import decompose

Level = Literal["near", "far", "doubtful", "unknown"]

_ENTROPY_FAR, _ENTROPY_DOUBTFUL = 0.55, 0.75
"""Of the largest entropy, where what is usual is not known."""
_BEYOND_FAR, _BEYOND_DOUBTFUL = 0.2, 0.55
"""Of the way from what is usual to the largest entropy."""
_ALIKE_FAR, _ALIKE_DOUBTFUL = 0.3, 0.5
"""Of the way from what is usual to all items alike."""
_RANK_ITEMS = 100
"""The effective rank grows with the number of items, so it is taken of as many wherever there are as many."""
_NEIGHBOUR = 5
_BLOCK = 1_024


@dataclass(frozen=True, eq=False)
class Reference:
    """What features look like on data that the backbone knows.

    Attributes:
        alike: The usual mean cosine between two items, below 1.
        features: Of items like those that it was pretrained on, more than five, where there are any.
        entropy: The usual mean entropy of its source classifier's predictions over the largest possible one, below 1;
            None where it has none or that is not known.
    """

    alike: float
    features: Float[np.ndarray, "references width"] | None = None
    entropy: float | None = None


REFERENCES: Mapping[str, Reference] = MappingProxyType(
    {
        # The mean of news, film reviews and short English messages; of clothes and photographs.
        "all_minilm_l6_v2": Reference(0.14),
        "efficientnet_lite0": Reference(0.30, entropy=0.43),
        "efficientnet_lite1": Reference(0.30, entropy=0.59),
        "efficientnet_lite2": Reference(0.34, entropy=0.55),
    }
)
"""What was measured of backbones, by name."""


@dataclass(frozen=True, slots=True)
class Nearness:
    """How far data lie from what a backbone knows.

    Attributes:
        level: `near`, `far` (earlier layers, or weights that move, may pay), `doubtful` (the features may be no better
            than pixels or words), or `unknown` where there is nothing to compare with.
        sentence: The same in words, with the number that it rests on.
        n_items: How many items were looked at.
        alike: The mean cosine between two items, from −1 to 1; the nearer to 1 the less the backbone tells them apart.
        effective_rank: The exponential of the entropy of the normalised singular values, of a hundred centred items or
            of all if they are fewer: the number of directions that they differ in.
        rank_share: That number over the largest possible one, 0 to 1.
        entropy_share: The mean entropy of the source classifier's predictions over the largest possible one, 0 to 1;
            None without such a classifier.
        confidence: The mean of its largest probability, 0 to 1; None without such a classifier.
        distance: The median cosine distance to the fifth nearest reference item over the same among the reference items
            themselves, 1 for data like these; None without reference items.
    """

    level: Level
    sentence: str
    n_items: int
    alike: float
    effective_rank: float
    rank_share: float
    entropy_share: float | None = None
    confidence: float | None = None
    distance: float | None = None

    @property
    def warning(self) -> str:
        """The sentence when transfer looks doubtful, else an empty string."""
        return self.sentence if self.level == "doubtful" else ""


def nearness(
    features: Float[np.ndarray, "items width"],
    *,
    logits: Float[np.ndarray, "items sources"] | None = None,
    reference: Reference | None = None,
) -> Nearness:
    """Say how far data lie from what a backbone knows.

    Args:
        features: What its last layer says about the items.
        logits: What its source classifier says about them, before the softmax, where there is one.
        reference: What is known of it, for example from `REFERENCES`.

    Raises:
        DataError: If there are fewer than two items, or features or logits are not finite.
        OptionError: If logits are not one row an item over two classes or more, or the reference has another width or
            fewer than six items.
    """
    check_features(features)
    unit = _unit(features)
    n_items = len(unit)
    # The sum of all cosines is the squared length of the sum; those of items with themselves are taken off.
    total = unit.sum(axis=0, dtype=np.float64)
    alike = (float(total @ total) - float(np.square(unit).sum())) / (n_items * (n_items - 1))
    some = features[np.linspace(0, n_items - 1, min(n_items, _RANK_ITEMS)).round().astype(np.int64)]
    rank = effective_rank(some)
    entropy, confidence = (None, None) if logits is None else _certainty(logits, n_items)
    level, number = _judge(alike, entropy, None if logits is None else logits.shape[1], reference)
    return Nearness(
        level=level,
        sentence=_SENTENCES[level].format(number),
        n_items=n_items,
        alike=alike,
        effective_rank=rank,
        rank_share=rank / min(len(some) - 1, features.shape[1]),
        entropy_share=entropy,
        confidence=confidence,
        distance=None if reference is None or reference.features is None else _distance(unit, reference.features),
    )


def effective_rank(features: Float[np.ndarray, "items width"]) -> float:
    """The number of directions in which items differ (Roy and Vetterli, EUSIPCO 2007).

    It is the exponential of the entropy of the singular values of the centred features, over their sum: from 1 to the
    smaller of the width and the number of items less one.

    Args:
        features: What the backbone says.

    Raises:
        DataError: If there are fewer than two items, or features are not finite.
    """
    singular = np.sqrt(decompose(features).squares)
    shares = singular / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


_SENTENCES: dict[Level, str] = {
    "near": "The data look like what the backbone knows: {}.",
    "far": "The data lie away from what the backbone knows: {}; earlier layers, or moving its weights, may pay.",
    "doubtful": "Transfer looks doubtful: {}; see whether the controls do as well before relying on it.",
    "unknown": "How near the data are to what the backbone knows cannot be said: {}.",
}


def _judge(
    alike: float, entropy: float | None, n_sources: int | None, reference: Reference | None
) -> tuple[Level, str]:
    if entropy is not None and n_sources is not None:
        number = (
            f"its own classifier is as unsure of an item as between {n_sources**entropy:,.0f} of its {n_sources:,} "
            f"classes, {entropy:.0%} of the largest entropy"
        )
        if reference is None or reference.entropy is None:
            return _level(entropy, _ENTROPY_FAR, _ENTROPY_DOUBTFUL), number
        beyond = (entropy - reference.entropy) / (1 - reference.entropy)
        return _level(beyond, _BEYOND_FAR, _BEYOND_DOUBTFUL), f"{number}, where {reference.entropy:.0%} is usual"
    if reference is None:
        number = f"it has no classifier of its own, and what is usual beside {alike:.2f} alike is not known"
        return "unknown", number
    number = f"two items look {alike:.2f} alike to it (the mean cosine), where {reference.alike:.2f} is usual"
    return _level((alike - reference.alike) / (1 - reference.alike), _ALIKE_FAR, _ALIKE_DOUBTFUL), number


def _level(value: float, far: float, doubtful: float) -> Level:
    return "doubtful" if value >= doubtful else "far" if value >= far else "near"


def _certainty(logits: Float[np.ndarray, "items sources"], n_items: int) -> tuple[float, float]:
    """The mean entropy of the predictions over the largest possible, and the mean of their largest probability."""
    if logits.ndim != 2 or len(logits) != n_items or logits.shape[1] < 2:
        raise OptionError(
            f"logits must be a row for each of the {n_items} items over 2 source classes or more, "
            f"but they have the shape {logits.shape}"
        )
    check_features(logits)
    logs = log_softmax(logits.astype(np.float64), axis=1)
    probabilities = np.exp(logs)
    entropies = -np.einsum("iz,iz->i", probabilities, logs)
    return float(entropies.mean() / np.log(logits.shape[1])), float(probabilities.max(axis=1).mean())


def _distance(unit: Float[np.ndarray, "items width"], reference: Float[np.ndarray, "references width"]) -> float:
    if reference.ndim != 2 or reference.shape[1] != unit.shape[1] or len(reference) <= _NEIGHBOUR:
        raise OptionError(
            f"reference features must be more than {_NEIGHBOUR} rows of width {unit.shape[1]}, "
            f"but they have the shape {reference.shape}"
        )
    known = _unit(reference)
    # The nearest of a reference item is itself.
    among = np.median(_to_neighbour(known, known, _NEIGHBOUR + 1))
    return float(np.median(_to_neighbour(unit, known, _NEIGHBOUR)) / max(among, np.finfo(np.float32).eps))


def _to_neighbour(rows: np.ndarray, known: np.ndarray, neighbour: int) -> Float[np.ndarray, " rows"]:
    blocks = [rows[first : first + _BLOCK] @ known.T for first in range(0, len(rows), _BLOCK)]
    return np.concatenate([1 - np.partition(block, -neighbour, axis=1)[:, -neighbour] for block in blocks])


def _unit(features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, "items width"]:
    largest = float(np.abs(features).max())
    scaled = features / (largest if largest > 0 else 1.0)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: np.ndarray = scaled / np.where(lengths > 0, lengths, 1.0)
    return unit
