"""What trains, at what rate; how rates go; and what holds weights back. Against closed forms."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from headstart.adaptation.parameters import Ladder, interpolate, keep_asking, parameter_groups, train_mode
from headstart.adaptation.penalties import l2_sp
from headstart.adaptation.schedules import SCHEDULES, cosine, one_cycle, slanted_triangular


def test_each_stage_learns_slower_than_the_one_above_it() -> None:
    stages = [nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)]
    network, head = nn.Sequential(*stages, nn.LayerNorm(2)), nn.Linear(2, 3)
    network[0].weight.requires_grad = False
    groups = parameter_groups(network, head, stages[1:], lr=0.1, stage_decay=0.5, weight_decay=0.01)
    rate = {id(each): group["peak_lr"] for group in groups for each in group["params"]}
    decay = {id(each): group["weight_decay"] for group in groups for each in group["params"]}
    assert id(network[0].weight) not in rate
    assert rate[id(stages[1].weight)] == pytest.approx(0.05)
    for full in (stages[2].weight, network[3].weight, head.weight, head.bias):
        assert rate[id(full)] == pytest.approx(0.1)
    assert decay[id(head.weight)] == 0.01
    assert decay[id(head.bias)] == decay[id(network[3].weight)] == 0
    assert sum(len(group["params"]) for group in groups) == len(rate) == 9


def asking(network: nn.Module) -> set[str]:
    return {name for name, each in network.named_parameters() if each.requires_grad}


def test_fewer_parameters_ask_and_none_that_did_not_ask_before() -> None:
    def made() -> nn.Sequential:
        network = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2), nn.Linear(2, 2))
        network[3].bias.requires_grad = False
        return network

    for trains, expected in (
        ("all", {"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.weight"}),
        ("biases", {"0.bias", "1.weight", "1.bias", "2.bias"}),
        ("one", {"2.weight", "2.bias"}),
    ):
        network = made()
        keep_asking(network, [network[2], network[3]], trains)  # type: ignore[arg-type]
        assert asking(network) == expected


def test_stages_are_released_from_the_highest_on() -> None:
    network = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(4)), nn.LayerNorm(2, bias=False))
    network[1].weight.requires_grad = False  # a stage with nothing to train is no step
    ladder = Ladder(list(network)[:4], 2)
    for epoch, expected in ((0, {"3"}), (1, {"3"}), (2, {"2", "3"}), (4, {"0", "2", "3"}), (99, {"0", "2", "3"})):
        ladder.release(epoch)
        assert asking(network) == {f"{name}.weight" for name in expected | {"4"}}
    ladder.release(0)  # as after a resume
    assert asking(network) == {"3.weight", "4.weight"}
    Ladder(list(network)[:4], 0).release(0)
    assert asking(network) == {"3.weight", "4.weight"}


def test_batch_norm_keeps_its_statistics_in_training() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    train_mode(network)
    before = network[1].running_mean.clone()
    network(torch.randn(8, 3, 2, 2))
    assert torch.equal(network[1].running_mean, before)
    assert network[2].training


def test_interpolation_goes_from_the_start_to_the_trained_weights() -> None:
    for share, expected in ((0.0, 1.0), (0.25, 1.5), (1.0, 3.0)):
        weights = {"a": nn.Parameter(torch.full((2,), 3.0))}
        interpolate(weights, {"a": torch.ones(2)}, share)
        assert weights["a"].tolist() == [expected] * 2


def test_l2_sp_is_half_the_squared_distance() -> None:
    weights = {"a": torch.tensor([1.0, 2.0], requires_grad=True), "head": torch.tensor([9.0], requires_grad=True)}
    value = l2_sp(weights, {"a": torch.tensor([0.0, 4.0])}, 0.1)
    assert float(value.detach()) == pytest.approx(0.1 / 2 * (1 + 4))
    value.backward()
    assert weights["a"].grad is not None
    assert weights["a"].grad.tolist() == pytest.approx([0.1, -0.2])
    assert weights["head"].grad is None


def test_schedules_begin_peak_and_end_where_they_should() -> None:
    assert (one_cycle(0), one_cycle(0.25), one_cycle(1)) == pytest.approx((1 / 25, 1, 0))
    assert (cosine(0), cosine(0.5), cosine(1)) == pytest.approx((1, 0.5, 0))
    assert (slanted_triangular(0), slanted_triangular(0.1), slanted_triangular(1)) == pytest.approx((1 / 32, 1, 1 / 32))
    assert slanted_triangular(0.55) == pytest.approx((1 + 0.5 * 31) / 32)
    assert len(SCHEDULES) == 3
    for schedule in SCHEDULES.values():
        values = [schedule(step / 1000) for step in range(1001)]
        assert all(-1e-12 <= value <= 1 + 1e-12 for value in values)
        assert max(abs(a - b) for a, b in itertools.pairwise(values)) < 0.02
