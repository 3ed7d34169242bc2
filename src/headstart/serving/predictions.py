"""What a model answers, item by item and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
from jaxtyping import Bool, Float64, Int

from headstart.data.dataset import LeftOut

if TYPE_CHECKING:
    import pandas as pd


def joined(names: Sequence[str]) -> str:
    r"""Class names as one text, from which they can be told apart again.

    They are joined by `|`; one that is part of a name is written `\|`, and a backslash `\\`.

    Args:
        names: At least one.
    """
    return "|".join(name.replace("\\", r"\\").replace("|", r"\|") for name in names)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one item.

    Attributes:
        item: Its name.
        label: The most probable class, the first of equals; None where the model abstains.
        probability: Of the most probable class, 0 to 1.
        probabilities: Of every class, by name.
        set: The classes that the item may belong to, the most probable first; None where no coverage was asked for.
        abstained: Whether a person should look; None where no cost of that was given.
        unusual: Whether the item looks like nothing the model was trained on; None where that was not asked for.
    """

    item: str
    label: str | None
    probability: float
    probabilities: dict[str, float]
    set: tuple[str, ...] | None = None
    abstained: bool | None = None
    unusual: bool | None = None


@dataclass(frozen=True, eq=False)
class Predictions(Sequence[Prediction]):
    """The answers for several items, in the order in which these were given.

    Attributes:
        items: The names of the items that were used.
        classes: The class names.
        probabilities: One row an item, one column a class; each row sums to 1.
        rows: The position of each used item among those that were read; what was left out has none.
        left_out: What could not be used, with the reason.
        in_set: For each item the classes that it may belong to; None where no coverage was asked for.
        abstained: For each item whether a person should look; None where no cost of that was given.
        unusual: For each item whether it looks like nothing the model was trained on; None where that was not asked
            for, or the bundle cannot tell.
        notes: What is to be said about the answers, one sentence each.
    """

    items: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Float64[np.ndarray, "items classes"]
    rows: Int[np.ndarray, " items"]
    left_out: tuple[LeftOut, ...] = ()
    in_set: Bool[np.ndarray, "items classes"] | None = None
    abstained: Bool[np.ndarray, " items"] | None = None
    unusual: Bool[np.ndarray, " items"] | None = None
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The most probable class of each item; None where the model abstains."""
        passed = np.zeros(len(self), dtype=np.bool_) if self.abstained is None else self.abstained
        best = self.probabilities.argmax(axis=1)
        return tuple(None if ask else self.classes[at] for at, ask in zip(best, passed, strict=True))

    @property
    def sets(self) -> tuple[tuple[str, ...], ...] | None:
        """For each item the classes that it may belong to, the most probable first; None where nobody asked."""
        if self.in_set is None:
            return None
        return tuple(self._set(row, self.in_set) for row in range(len(self)))

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
        abstained = None if self.abstained is None else bool(self.abstained[index])
        return Prediction(
            item=self.items[index],
            label=None if abstained else self.classes[best],
            probability=float(row[best]),
            probabilities=dict(zip(self.classes, row.tolist(), strict=True)),
            set=None if self.in_set is None else self._set(index, self.in_set),
            abstained=abstained,
            unusual=None if self.unusual is None else bool(self.unusual[index]),
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))

    def _set(self, index: int, in_set: Bool[np.ndarray, "items classes"]) -> tuple[str, ...]:
        order = np.argsort(-self.probabilities[index], kind="stable")
        return tuple(self.classes[at] for at in order if in_set[index, at])

    def to_frame(self) -> pd.DataFrame:
        """A table with the columns `item, prediction, probability` and one `p:CLASS` per class.

        Before the last ones come `set` (see `joined`), `abstained` and `unusual`, as far as they were asked for.
        """
        import pandas as pd

        head = {"item": self.items, "prediction": self.labels, "probability": self.probabilities.max(axis=1)}
        asked = {
            "set": None if self.sets is None else [joined(names) for names in self.sets],
            "abstained": self.abstained,
            "unusual": self.unusual,
        }
        head |= {name: column for name, column in asked.items() if column is not None}
        return pd.DataFrame(head | {f"p:{name}": self.probabilities[:, i] for i, name in enumerate(self.classes)})
