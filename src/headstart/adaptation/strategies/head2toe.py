"""The strategy `head2toe`: the columns of all layers that matter, and a linear head on them.

Evci et al. 2022 (arXiv:2201.03529): a linear head on everything that a network says says which columns it needs, by
the norm of their weights over all classes; a second one is fitted on those alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies._seen import best_of, scaled
from headstart.adaptation.strategies.contract import OutOfFold
from headstart.adaptation.strategies.settings import check_settings, real
from headstart.features.extract import Features

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
_STRENGTHS = (1.0, 0.1, 0.01)
"""Of the second head, as multiples of the first one's."""


@dataclass(frozen=True, slots=True)
class Head2Toe:
    """A linear head on the columns with the largest weights of a first one.

    Attributes:
        parts: The layers that the heads see; the more, the more there is to select from.
        share: How many columns are kept, as a share of all; None chooses it out-of-fold.
    """

    parts: tuple[Part, ...]
    share: float | None = real(None, 0.001, 1.0, log=True)
    name: ClassVar[str] = "head2toe"
    modalities: ClassVar[tuple[str, ...]] = ("image", "text")
    n_views: ClassVar[int] = 1
    is_random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            OptionError: If one is outside its range.
        """
        check_settings(self)

    def cross_validate(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        folds: Int[np.ndarray, " items"],
        *,
        n_classes: int,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> OutOfFold:
        """Choose share and strength, with columns that were selected without the items that they are judged on."""
        seen, _ = scaled(features, self.parts)
        path = logistic.cross_validate(seen, targets, folds, n_classes=n_classes)
        tried = [
            {"first_l2": path.l2, "share": share, "l2": float(f"{factor * path.l2:.3g}")}
            for share in (_SHARES if self.share is None else (self.share,))
            for factor in _STRENGTHS
        ]
        logits = np.empty((len(tried), len(targets), n_classes))
        names = np.unique(folds)
        masks = folds != names[:, None]
        norms = _norms(seen, targets, masks, l2=path.l2, n_classes=n_classes)
        for mask, norm in zip(masks, norms, strict=True):
            for each, settings in zip(logits, tried, strict=True):
                kept = _kept(seen, norm, settings["share"])
                (found,) = logistic.fit_subsets(
                    kept.columns, targets, mask[None], l2=settings["l2"], n_classes=n_classes
                )
                each[~mask] = found[~mask]
        return best_of(logits, tried, targets)

    def fit(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        *,
        classes: tuple[str, ...],
        chosen: OutOfFold,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> Predictor:
        """Both heads on all training items; columns that are left out get no weight."""
        seen, scaling = scaled(features, self.parts)
        first, share, l2 = (float(chosen.chosen[name]) for name in ("first_l2", "share", "l2"))
        everything = np.ones((1, len(targets)), dtype=np.bool_)
        (norm,) = _norms(seen, targets, everything, l2=first, n_classes=len(classes))
        kept = _kept(seen, norm, share)
        head = logistic.fit(kept.columns, targets, l2=l2, n_classes=len(classes))
        weight = np.zeros((len(classes), seen.shape[1]), dtype=np.float32)
        weight[:, kept.places] = head.weight * kept.factor
        return Predictor(classes, self.parts, scaling.fold_into(LinearHead(weight, head.bias)), chosen.temperature)

    def n_numbers(self, *, width: int, n_classes: int, n_items: int) -> int:  # noqa: ARG002 - every item leaves as many
        """As of a linear head on all columns: those that are left out have weights of 0."""
        return n_classes * (width + 1)

    def fit_subsets(
        self,
        features: Mapping[str, Features],
        targets: Int[np.ndarray, " items"],
        masks: Bool[np.ndarray, "subsets items"],
        *,
        n_classes: int,
        chosen: OutOfFold,
        seed: int = 0,  # noqa: ARG002 - nothing here is random
    ) -> Float[np.ndarray, "subsets items classes"]:
        """The logits of all items from heads whose columns were selected on subsets of them."""
        seen, _ = scaled(features, self.parts)
        first, share, l2 = (float(chosen.chosen[name]) for name in ("first_l2", "share", "l2"))
        logits = np.empty((*masks.shape, n_classes), dtype=np.float32)
        for each, mask, norm in zip(
            logits, masks, _norms(seen, targets, masks, l2=first, n_classes=n_classes), strict=True
        ):
            columns = _kept(seen, norm, share).columns
            (each[:],) = logistic.fit_subsets(columns, targets, mask[None], l2=l2, n_classes=n_classes)
        return logits


@dataclass(frozen=True, eq=False)
class _Kept:
    """Columns, their places among all, and what they were multiplied by so that rows have a mean square of 1."""

    columns: Float[np.ndarray, "items kept"]
    places: Int[np.ndarray, " kept"]
    factor: float


def _kept(seen: Float[np.ndarray, "items width"], norm: Float[np.ndarray, " width"], share: float) -> _Kept:
    n_kept = max(1, round(share * len(norm)))
    places = np.sort(np.argsort(-norm, kind="stable")[:n_kept])
    columns = seen[:, places]
    size = float(np.sqrt(np.square(columns).sum(axis=1).mean()))
    factor = 1 / size if size > 0 else 1.0
    return _Kept(columns * np.float32(factor), places, factor)


def _norms(
    seen: Float[np.ndarray, "items width"],
    targets: Int[np.ndarray, " items"],
    masks: Bool[np.ndarray, "subsets items"],
    *,
    l2: float,
    n_classes: int,
) -> Sequence[Float[np.ndarray, " width"]]:
    """For each subset how much each column matters to a linear head on all of them."""
    heads = logistic.fit_heads(seen, targets, masks, l2=l2, n_classes=n_classes)
    return [np.linalg.norm(head.weight, axis=0) for head in heads]
