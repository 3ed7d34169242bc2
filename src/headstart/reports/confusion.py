"""Which classes are taken for which: the whole matrix when it can be read, else its largest mistakes."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.evaluation.records import ClassReport, Evaluation

MATRIX_CLASSES = 25
"""Up to this many classes the matrix is shown whole."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One count of the matrix.

    Attributes:
        count: How many items of the row's class got the column's.
        shade: How strong its colour is, from 0 to 1: the count as a share of its row.
        right: Whether row and column are the same class.
    """

    count: int
    shade: float
    right: bool


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """A kind of mistake.

    Attributes:
        target: The class in the data.
        prediction: The class that the model gave.
        count: How often.
        n: How many items truly belong to the target.
    """

    target: str
    prediction: str
    count: int
    n: int


def shaded_matrix(evaluation: Evaluation) -> tuple[tuple[Cell, ...], ...]:
    """The confusion matrix with its shades; row = truth, column = prediction."""
    return tuple(
        tuple(
            Cell(count=count, shade=count / report.n if report.n else 0.0, right=row == column)
            for column, count in enumerate(counts)
        )
        for row, (report, counts) in enumerate(zip(evaluation.per_class, evaluation.confusion, strict=True))
    )


def most_confused(evaluation: Evaluation, limit: int) -> tuple[ConfusedPair, ...]:
    """The most frequent kinds of mistakes, most frequent first.

    Args:
        evaluation: The sealed test.
        limit: How many at most.
    """
    reports = evaluation.per_class
    pairs = [
        ConfusedPair(target=truth.name, prediction=reports[column].name, count=count, n=truth.n)
        for truth, counts in zip(reports, evaluation.confusion, strict=True)
        for column, count in enumerate(counts)
        if count and reports[column] is not truth
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.count)[:limit])


def worst_first(evaluation: Evaluation) -> tuple[ClassReport, ...]:
    """The classes by F1, lowest first; those without an F1 are last."""
    return tuple(
        sorted(evaluation.per_class, key=lambda report: (report.f1 is None, report.f1.value if report.f1 else 0.0))
    )
