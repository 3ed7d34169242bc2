"""What an evaluation is: numbers with their intervals and their n."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["helps", "no difference", "hurts"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured number with its 95 % interval.

    Attributes:
        value: The number.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: How many items it was measured on.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one model is than another.

    Attributes:
        value: Difference in accuracy, from −1 to 1; positive means that the first model is better.
        low: Lower end of its 95 % interval (paired where the items are the same).
        high: Upper end of the same interval.
        p_value: Exact two-sided test that both are equally often right, from 0 to 1: McNemar's, or Fisher's where they
            were measured on different items.
        n: How many items both were measured on; the smaller number where these differ.
    """

    value: float
    low: float
    high: float
    p_value: float
    n: int


@dataclass(frozen=True, slots=True)
class ClassReport:
    """One class, one against the rest.

    Attributes:
        name: The class.
        n: How many items truly belong to it.
        precision: Share of right ones among those predicted as it; None when none was predicted.
        recall: Share of its items that were found; None when it has none.
        f1: Harmonic mean of both; None when it has neither items nor predictions.
    """

    name: str
    n: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Items of similar confidence: how sure the model was against how often it was right.

    Attributes:
        confidence: Mean probability of the predicted class.
        accuracy: Share of right predictions, with its interval and n.
    """

    confidence: float
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good predictions are, on items whose targets were not used to make them.

    Attributes:
        n: How many items.
        accuracy: Share of right predictions (Wilson interval).
        balanced_accuracy: Mean recall over the classes that have items.
        precision_macro: Mean precision over classes.
        recall_macro: Mean recall over classes.
        f1_macro: Mean F1 over classes.
        precision_weighted: Precision weighted by class size.
        recall_weighted: Recall weighted by class size (equals accuracy).
        f1_weighted: F1 weighted by class size.
        log_loss: Mean negative log probability of the true class, in nats; lower is better.
        brier: Mean squared distance of the probabilities from the truth, 0 to 2; lower is better.
        ece: Expected calibration error over bins of equal size, 0 to 1; lower is better.
        roc_auc: Area under the ROC curve, macro one-against-rest; None when a class is absent or holds all items.
        per_class: One report a class, in the order of the classes.
        confusion: Counts; row = truth, column = prediction.
        reliability: Bins of equal size, from least to most confident.
    """

    n: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    precision_macro: Estimate
    recall_macro: Estimate
    f1_macro: Estimate
    precision_weighted: Estimate
    recall_weighted: Estimate
    f1_weighted: Estimate
    log_loss: Estimate
    brier: Estimate
    ece: Estimate
    roc_auc: Estimate | None
    per_class: tuple[ClassReport, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Accuracy with part of the training items.

    Attributes:
        n_train: How many training items.
        accuracy: Mean over the draws, with an interval that covers draws and items.
        draws: The accuracy of each draw.
    """

    n_train: int
    accuracy: Estimate
    draws: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ExpectedAccuracy:
    """What more labels of the same kind are expected to lead to.

    Attributes:
        times: How many times as many labels as there are; 1 for those.
        n_labels: The number of labels.
        accuracy: The expected accuracy of a model trained on them, with an interval that covers draws, items and the
            ways to continue the curve.
    """

    times: int
    n_labels: int
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class LabelsNeeded:
    """How many labels an accuracy takes.

    Attributes:
        target: The accuracy, above 0 to 1.
        n: How many labels it is expected to take, those that there are included; None where the curve does not reach
            it, as far as it can be continued.
        low: The lower end of the 95 % interval; None where not even the upper end of the curve reaches the target.
        high: The upper end; None where the lower end of the curve does not reach the target.
        sentence: The same in words, or why there is no number.
    """

    target: float
    n: int | None
    low: int | None
    high: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Accuracy at growing numbers of training items.

    Attributes:
        points: From few to many.
        gain_of_doubling: Expected gain in accuracy from twice the labels, with its 95 % interval (n is that of the
            last point), over what was measured and never beyond 100 %; None when there are too few points to say.
        sentence: What the curve supports, in words.
        expected: The accuracy to expect with the labels that there are, and with 2, 4 and 8 times as many, as far as
            something can be said; empty where nothing can.
        goals: How many labels the next round accuracies would take; `labels_needed` says it for any other.
    """

    points: tuple[CurvePoint, ...]
    gain_of_doubling: Estimate | None
    sentence: str
    expected: tuple[ExpectedAccuracy, ...] = ()
    goals: tuple[LabelsNeeded, ...] = ()


@dataclass(frozen=True, slots=True)
class SetReport:
    """Prediction sets of one coverage, on items that played no part in them.

    Attributes:
        asked: The coverage that was asked for: how often a set is to hold the true class, 0 to 1.
        covered: How often it does.
        expected_low: Between this share and the next one `covered` lies in 95 of 100 cases if these items come about as
            the training items did.
        expected_high: The upper end of that; it is exceeded where the most probable class alone, which always is in
            the set, is right more often than was asked.
        size: The mean number of classes in a set.
        single: The share of sets with one class.
        is_reached: Whether there were held-out items enough for this coverage; else each set holds all classes.
    """

    asked: float
    covered: Estimate
    expected_low: float
    expected_high: float
    size: Estimate
    single: Estimate
    is_reached: bool


@dataclass(frozen=True, slots=True)
class AnsweredPoint:
    """What comes of answering the most confident items only.

    Attributes:
        answered: The share of items that are answered, above 0 to 1.
        confidence: The lowest of their highest probabilities.
        accuracy: The share of right answers among them; its n is how many they are.
    """

    answered: float
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class AskingCost:
    """What an item costs when a person is asked wherever that is to be expected to cost less; an error costs 1.

    Attributes:
        ask: What asking costs, above 0 and below 1.
        answered: The share of items that the model answers.
        accuracy: The share of right answers among them; None where it answers none.
        expected: The mean cost of an item.
        never: The mean cost of an item if nobody is ever asked: the share of errors.
    """

    ask: float
    answered: Estimate
    accuracy: Estimate | None
    expected: Estimate
    never: float


@dataclass(frozen=True, slots=True)
class Abstention:
    """What passing the least confident items on to a person brings.

    Attributes:
        points: From few answered items to all.
        area: The area under the curve of errors: the mean, over items, of the share of errors among those at least as
            confident, 0 to 1; lower is better, and 0 is perfect.
        costs: For some costs of asking what an item costs.
    """

    points: tuple[AnsweredPoint, ...]
    area: Estimate
    costs: tuple[AskingCost, ...]
