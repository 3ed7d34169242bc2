"""The monitor: what it says of records, against tables made by hand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.adaptation.epochs import Epoch, Scores
from headstart.adaptation.monitor import lowest, remarks, watch


def epochs(training: list[float], validation: list[float]) -> list[Epoch]:
    return [
        Epoch(number, Scores(train), Scores(held_out), 0.1, 0.1, 1.0, 1.0)
        for number, (train, held_out) in enumerate(zip(training, validation, strict=True), start=1)
    ]


FALLS = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
RISES_AFTER_FOUR = [0.9, 0.8, 0.7, 0.6, 0.7, 0.8, 0.9]


def test_it_says_why_a_training_should_stop() -> None:
    said = "validation loss has risen for 3 epochs while training loss fell: stopped, epoch 4 kept"
    assert watch(epochs(FALLS, RISES_AFTER_FOUR), 3) == said
    assert watch(epochs(FALLS[:5], RISES_AFTER_FOUR[:5]), 1) == said.replace("3 epochs", "1 epoch")


@pytest.mark.parametrize(
    ("training", "validation", "patience", "why"),
    [
        (FALLS, RISES_AFTER_FOUR, 0, "no patience is for ever"),
        (FALLS, RISES_AFTER_FOUR, 4, "not yet"),
        (FALLS, [0.9, 0.8, 0.7, 0.6, 0.7, 0.69, 0.9], 2, "not in a row"),
        (FALLS, [0.9, 0.8, 0.7, 0.6, 0.7, 0.7, 0.9], 2, "equal is no rise"),
        ([1.0, 0.9, 0.8, 0.7, 0.8, 0.9, 0.95], RISES_AFTER_FOUR, 3, "training loss rises too: that is no overfitting"),
        ([], [], 1, "nothing was done"),
    ],
)
def test_it_says_nothing_too_early(training: list[float], validation: list[float], patience: int, why: str) -> None:
    assert watch(epochs(training, validation), patience) is None, why


def test_without_held_out_items_it_never_stops() -> None:
    alone = [Epoch(number, Scores(1 / number), None, 0.1, 0.1, 1.0, 1.0) for number in range(1, 9)]
    assert watch(alone, 1) is None
    assert lowest(alone) == 0
    assert remarks(alone) == ()


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=12), st.integers(1, 4))
def test_the_rule_in_other_words(losses: list[tuple[float, float]], patience: int) -> None:
    records = epochs([train for train, _ in losses], [held_out for _, held_out in losses])
    tail = losses[-patience - 1 :]
    rises = len(tail) > patience and all(a[1] < b[1] for a, b in itertools.pairwise(tail))
    said = watch(records, patience)
    if not rises:
        assert said is None
    else:
        # Of a longer rise the training loss before all of it counts.
        start = len(losses) - 1
        while start and losses[start - 1][1] < losses[start][1]:
            start -= 1
        assert (said is not None) is (losses[-1][0] < losses[start][0])
    if losses:
        best = min(range(len(losses)), key=lambda at: losses[at][1])
        assert lowest(records) == best + 1


def test_a_rise_without_a_stop_is_a_remark() -> None:
    assert remarks(epochs(FALLS, RISES_AFTER_FOUR)) == (
        "Validation loss has risen for 3 epochs while training loss fell; it was lowest in epoch 4.",
    )
    assert remarks(epochs(FALLS[:6], RISES_AFTER_FOUR[:6])) == ()


def test_a_training_loss_that_does_not_fall_is_a_remark() -> None:
    assert remarks(epochs([1.0, 0.8, 1.05], [0.9, 0.8, 0.7])) == (
        "Training loss did not fall: 1 in epoch 1, 1.05 in epoch 3.",
    )
    assert remarks(epochs([1.0], [0.9])) == ()


def test_validation_better_than_training_is_no_remark_and_much_worse_is() -> None:
    better = [Epoch(1, Scores(1.0, 0.7), Scores(0.5, 0.9), 0.1, 0.1, 1.0, 1.0)]
    worse = [Epoch(1, Scores(0.1, 0.99), Scores(0.9, 0.71), 0.1, 0.1, 1.0, 1.0)]
    assert remarks(better) == ()
    assert remarks(worse) == ("Training accuracy is 0.990 at the end, but validation accuracy 0.710.",)
