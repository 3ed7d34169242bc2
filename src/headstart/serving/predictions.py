"""What a model answers, item by item and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
from jaxtyping import Float64, Int

from headstart.data.dataset import LeftOut

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one item.

    Attributes:
        item: Its name.
        label: The most probable class, the first of equals.
        probability: Of that class, 0 to 1.
        probabilities: Of every class, by name.
    """

    item: str
    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True, eq=False)
class Predictions(Sequence[Prediction]):
    """The answers for several items, in the order in which these were given.

    Attributes:
        items: The names of the items that were used.
        classes: The class names.
        probabilities: One row an item, one column a class; each row sums to 1.
        rows: The position of each used item among those that were read; what was left out has none.
        left_out: What could not be used, with the reason.
    """

    items: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Float64[np.ndarray, "items classes"]
    rows: Int[np.ndarray, " items"]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The most probable class of each item."""
        return tuple(self.classes[best] for best in self.probabilities.argmax(axis=1))

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, index: int | slice) -> Prediction | tuple[Prediction, ...]:
        if isinstance(index, slice):
            return tuple(self[row] for row in range(*index.indices(len(self))))
        row = self.probabilities[index]
        best = int(row.argmax())
        by_name = dict(zip(self.classes, row.tolist(), strict=True))
        return Prediction(self.items[index], self.classes[best], float(row[best]), by_name)

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    def to_frame(self) -> pd.DataFrame:
        """A table with the columns `item, prediction, probability` and one `p:CLASS` per class."""
        import pandas as pd

        head = {"item": self.items, "prediction": self.labels, "probability": self.probabilities.max(axis=1)}
        return pd.DataFrame(head | {f"p:{name}": self.probabilities[:, i] for i, name in enumerate(self.classes)})
