"""Averages of several trainings: which ones, and what comes out."""

from __future__ import annotations

import pytest
import torch

from headstart.adaptation.soup import average, greedy

AIM = 1.0


def loss_of(weights: dict[str, torch.Tensor]) -> float:
    return abs(float(weights["a"]) - AIM)


def test_the_average_is_the_mean_of_each_weight() -> None:
    found = average([{"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([3.0, 6.0])}])
    assert found["a"].tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    ("weights", "used"),
    [
        ((0.5, 1.2, 3.0), [1, 0]),  # 1.2 first; with 0.5 it is 0.85, nearer; with 3.0 it is 1.57, further away
        ((1.0, 5.0, 9.0), [0]),
        ((0.0, 2.0), [0, 1]),  # of equals the first begins
    ],
)
def test_only_what_does_not_make_the_average_worse_is_used(weights: tuple[float, ...], used: list[int]) -> None:
    assert greedy([{"a": torch.tensor([each])} for each in weights], loss_of) == used
