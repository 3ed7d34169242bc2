"""Trainings as the page shows them: those of one strategy on one network side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.reports.formatting import sentence, training_name
from headstart.reports.record import TrainingRecord


@dataclass(frozen=True, slots=True)
class Trainings:
    """The trainings of one strategy on one network, fold after fold.

    Attributes:
        strategy: The strategy's name.
        backbone: The name of the network.
        trainings: In their order.
        has_accuracy: Whether any epoch has one.
        has_one_loss: Whether the losses of what was trained on and of what was held out are of one kind. They are not
            where items were trained on in pairs or mixtures, which have no accuracy.
        remarks: Why they ended and what was remarkable, each sentence with the trainings that it is about.
    """

    strategy: str
    backbone: str
    trainings: tuple[TrainingRecord, ...]
    has_accuracy: bool
    has_one_loss: bool
    remarks: tuple[tuple[str, str], ...]


def side_by_side(trainings: Sequence[TrainingRecord]) -> tuple[Trainings, ...]:
    """Trainings with at least one epoch, by strategy and network.

    Args:
        trainings: In their order.
    """
    groups: dict[tuple[str, str], list[TrainingRecord]] = {}
    for each in trainings:
        if each.epochs:
            groups.setdefault((each.strategy, each.backbone), []).append(each)
    return tuple(
        Trainings(strategy, backbone, tuple(group), _has_accuracy(group), _has_one_loss(group), _remarks(group))
        for (strategy, backbone), group in groups.items()
    )


def _has_accuracy(group: Sequence[TrainingRecord]) -> bool:
    sides = [side for each in group for epoch in each.epochs for side in (epoch.train, epoch.validation)]
    return any(side is not None and side.accuracy is not None for side in sides)


def _has_one_loss(group: Sequence[TrainingRecord]) -> bool:
    epochs = [epoch for each in group for epoch in each.epochs if epoch.validation is not None]
    return all(epoch.train.accuracy is not None for epoch in epochs)


def _remarks(group: Sequence[TrainingRecord]) -> tuple[tuple[str, str], ...]:
    """What is true of several trainings is said once."""
    whose: dict[str, list[str]] = {}
    for each in group:
        for words in dict.fromkeys((each.ended, *each.notes)):
            whose.setdefault(sentence(words), []).append(training_name(each.fold))
    everywhere = "" if len(group) == 1 else "All trainings"
    return tuple(
        (words, everywhere if len(names) == len(group) else ", ".join(names)) for words, names in whose.items() if words
    )
