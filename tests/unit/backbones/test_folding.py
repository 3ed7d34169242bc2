"""BatchNorm goes into the convolution before it where that changes nothing, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from headstart.backbones.loaders._folding import fold_batch_norm

EXAMPLE = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)


def run(network: Any) -> tuple[Any, ...]:
    return (network(EXAMPLE),)


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def trained(network: nn.Module) -> nn.Module:
    """As training leaves it: statistics and weights that are not the identity."""
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                if tensor is not None:
                    tensor.data.uniform_(0.5, 1.5, generator=random)
    return network.eval()


def assert_equal_outputs(one: Any, other: Any) -> None:
    with torch.no_grad():
        for new, old in zip(run(one), run(other), strict=True):
            torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_a_pair_becomes_one_convolution_with_the_same_output(bias: bool, affine: bool) -> None:
    network = trained(nn.Sequential(nn.Conv2d(3, 8, 3, bias=bias), nn.BatchNorm2d(8, affine=affine), nn.ReLU()))
    folded = fold_batch_norm(network, run)
    assert (norms(folded), norms(network)) == (0, 1)
    assert_equal_outputs(folded, network)


def test_the_activation_inside_timms_norm_stays() -> None:
    from timm.layers import BatchNormAct2d

    network = trained(nn.Sequential(nn.Conv2d(3, 8, 3, groups=1), BatchNormAct2d(8, act_layer=nn.SiLU)))
    folded = fold_batch_norm(network, run)
    assert norms(folded) == 0
    assert_equal_outputs(folded, network)


class Branching(nn.Module):
    """The convolution's output is used without its norm, too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, pictures: Any) -> Any:
        raw = self.convolution(pictures)
        return raw + self.norm(raw)


class Shared(nn.Module):
    """One convolution runs twice, with a norm of its own each time."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, pictures: Any) -> Any:
        return self.second(self.convolution(self.first(self.convolution(pictures))))


class NormTwice(nn.Module):
    """The norm sees the convolution's output, and the picture itself."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, pictures: Any) -> Any:
        return self.norm(pictures) + self.norm(self.convolution(pictures))


@pytest.mark.parametrize("kind", [Branching, Shared, NormTwice])
def test_where_folding_would_change_the_output_nothing_is_folded(kind: type[nn.Module]) -> None:
    network = trained(kind())
    assert fold_batch_norm(network, run) is network


def test_an_output_that_leaves_before_the_norm_is_guarded() -> None:
    network = trained(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))

    def both(each: Any) -> tuple[Any, ...]:
        raw = each[0](EXAMPLE)
        return each[1](raw), raw

    assert fold_batch_norm(network, both) is network


def test_shared_parameters_are_not_written_into() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1))
    network[3].weight = network[0].weight
    trained(network)
    folded = fold_batch_norm(network, run)
    assert norms(folded) == 0
    assert_equal_outputs(folded, network)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)),
    ],
    ids=["norm after activation", "no statistics", "no BatchNorm"],
)
def test_other_norms_stay(network: nn.Module) -> None:
    trained(network)
    assert fold_batch_norm(network, run) is network


def test_an_output_that_is_no_tensor_cannot_be_compared_so_nothing_is_folded() -> None:
    network = trained(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))
    assert fold_batch_norm(network, lambda each: ([each(EXAMPLE)],)) is network
