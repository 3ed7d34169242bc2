"""The record of a comparison of two runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from headstart.evaluation.records import Difference, Estimate

COMPARISON_SCHEMA = "headstart.comparison/1"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs.

    Attributes:
        name: The run's name; its folder where both have the same name.
        out: The folder, as it was given.
        model: Backbones, layers and strategy.
        accuracy: On its sealed test.
        log_loss: On the same items, in nats.
        n_train: Its training items.
        n_params: Parameters of its backbones; None when not known.
        ms_per_item: Predicted time to serve one item on the machine of the run, in milliseconds; None when not known.
        seconds: What the whole run took; None when not known.
    """

    name: str
    out: str
    model: str
    accuracy: Estimate
    log_loss: Estimate
    n_train: int
    n_params: int | None
    ms_per_item: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class ClassDifference:
    """One class, on the test items that belong to it.

    Attributes:
        name: The class.
        recall: Recall of the first run minus that of the second, with its interval and p-value.
        stands_out: Whether the p-value is below 5 % after Holm's correction for the number of classes.
    """

    name: str
    recall: Difference
    stands_out: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that the two runs did not do alike.

    Attributes:
        name: What it is.
        first: Its value in the first run; None where there is none.
        second: Its value in the second run.
    """

    name: str
    first: str | float | int | None
    second: str | float | int | None


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """Everything that one `compare` found.

    Attributes:
        first: The first run.
        second: The second run.
        paired: Whether both were tested on the same items, and are compared item by item.
        pairing: Why or why not, in one sentence.
        difference: Accuracy of the first run minus that of the second, from −1 to 1.
        sentence: The result in words.
        classes: The classes that have test items in both runs, in the order of the first run.
        settings: What differs between the two.
        schema: The version of this record's format.
    """

    first: Side
    second: Side
    paired: bool
    pairing: str
    difference: Difference
    sentence: str
    classes: tuple[ClassDifference, ...]
    settings: tuple[Setting, ...]
    schema: str = field(default=COMPARISON_SCHEMA)
