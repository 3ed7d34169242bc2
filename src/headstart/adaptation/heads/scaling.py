"""What is done to features before a linear head sees them.

All kinds bring the mean squared length of a row to 1, so that one grid of strengths serves every backbone and width.

Columns differ in how far they spread, and a penalty favours those that spread far. Dividing each by its standard
deviation takes that away altogether, and lifts columns that are almost always zero; doing nothing leaves it. Dividing
by the square root of the deviation is between the two and was better than both on 25 sets of features, images and
texts: a mean test accuracy of 0.875 against 0.871 with nothing and 0.860 with the whole deviation, a mean test log
loss of 0.363 against 0.374 and 1.113. With three layers of an image network side by side (15 sets), one block for
each layer brought 0.896 and 0.319, against 0.892 and 0.324 without blocks, and 0.877 and 0.373 with the last layer
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from headstart._checks import did_you_mean
from headstart.adaptation.heads._door import check_features
from headstart.adaptation.heads.forms import LinearHead, unit_rows
from headstart.errors import OptionError

Kind = Literal["soften", "standardise", "normalise"]
_POWER: dict[Kind, float] = {"soften": 0.5, "standardise": 1.0, "normalise": 0.0}
_COLUMNS = 256
_CONSTANT = 1e-6
"""A column whose deviation is below this share of its largest value differs by rounding only."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """(x − mean) / scale, after x has been divided by its length if `normalise`.

    Attributes:
        mean: What is subtracted from each column.
        scale: What each column is divided by, greater than 0.
        normalise: Whether each row is brought to length 1 before.
    """

    mean: Float[np.ndarray, " width"]
    scale: Float[np.ndarray, " width"]
    normalise: bool = False

    @classmethod
    def fit(
        cls,
        features: Float[np.ndarray, "items width"],
        kind: Kind = "soften",
        *,
        blocks: Sequence[int] | None = None,
    ) -> Scaling:
        """The scaling for some training items; targets play no part.

        Args:
            features: What the backbone says.
            kind: `soften` divides each column by the square root of its standard deviation, `standardise` by the
                deviation itself, `normalise` brings each row to length 1 and divides no column. Constant columns
                become 0.
            blocks: The widths of layers that lie side by side; each gets the same mean squared length of its rows.

        Raises:
            DataError: If there are no items, or features are not finite.
            OptionError: If the kind is not known, or the widths do not add up.
        """
        check_features(features)
        if kind not in get_args(Kind):
            raise OptionError(
                f"a kind of scaling must be one of {', '.join(get_args(Kind))}, but got {kind!r}",
                hint=did_you_mean(kind, get_args(Kind)),
            )
        widths = [features.shape[1]] if blocks is None else list(blocks)
        if min(widths, default=0) < 1 or sum(widths) != features.shape[1]:
            raise OptionError(
                f"the widths of blocks must be positive and add up to {features.shape[1]}, but got {widths}"
            )
        seen = unit_rows(features) if kind == "normalise" else features
        mean = seen.mean(axis=0, dtype=np.float64)
        deviation = _deviation(seen)
        varies = deviation > _CONSTANT * np.maximum(seen.max(axis=0), -seen.min(axis=0))
        scale = np.where(varies, deviation, 1.0) ** _POWER[kind]
        left = np.where(varies, deviation / scale, 0.0)
        for columns in np.split(np.arange(features.shape[1]), np.cumsum(widths)[:-1]):
            length = float(np.sqrt(np.square(left[columns]).sum() * len(widths)))
            scale[columns] *= length if length > 0 else 1.0
        return cls(mean.astype(np.float32), scale.astype(np.float32), normalise=kind == "normalise")

    def apply(
        self, features: Float[np.ndarray, "items width"], *, overwrite: bool = False
    ) -> Float[np.ndarray, "items width"]:
        """The scaled features of any items, in float32.

        Args:
            features: What the backbone says.
            overwrite: Whether float32 features may be written over, which saves a copy of them.
        """
        seen = unit_rows(features) if self.normalise else features
        out = seen if overwrite and seen.dtype == np.float32 else None
        scaled: np.ndarray = np.subtract(seen, self.mean, out=out, dtype=np.float32, casting="same_kind")
        scaled /= self.scale
        return scaled

    def fold_into(self, head: LinearHead) -> LinearHead:
        """The head that does to features what scaling and then this head do.

        Dividing rows by their length is not linear and cannot be folded: where `normalise` is set, the new head is for
        `unit_rows(features)`.

        Args:
            head: A head for scaled features.
        """
        weight = head.weight.astype(np.float64) / self.scale
        bias = head.bias - weight @ self.mean.astype(np.float64)
        return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def _deviation(features: Float[np.ndarray, "items width"]) -> Float[np.ndarray, " width"]:
    """The standard deviation of each column, some columns at a time: numpy copies what it is given to float64."""
    starts = range(0, features.shape[1], _COLUMNS)
    return np.concatenate([features[:, start : start + _COLUMNS].std(axis=0, dtype=np.float64) for start in starts])
