"""Activations go into the convolutions before them where that changes nothing but rounding, and nowhere else."""

from __future__ import annotations

import platform
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from headstart.backbones.loaders import _fusing
from headstart.backbones.loaders._fusing import fuse_activations

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available(),
    reason="oneDNN runs on x86 processors",
)

RANDOM = torch.Generator().manual_seed(0)
EXAMPLE = torch.randn(1, 3, 16, 16, generator=RANDOM).contiguous(memory_format=torch.channels_last)


def run(network: Any, example: torch.Tensor = EXAMPLE) -> tuple[Any, ...]:
    return (network(example),)


def prepared(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    return network.eval().requires_grad_(requires_grad=False).to(dtype, memory_format=torch.channels_last)


def count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


BFLOAT16 = pytest.param(
    torch.bfloat16,
    marks=pytest.mark.skipif(
        not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has bfloat16 from AVX-512 on"
    ),
)


@pytest.mark.parametrize("dtype", [torch.float32, BFLOAT16])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(inplace=True), nn.Hardtanh(-0.5, 2.0)])
@pytest.mark.parametrize("groups", [1, 8])
def test_a_convolution_clips_what_it_gives(activation: nn.Module, groups: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, groups=groups, bias=False), activation
    network = prepared(nn.Sequential(*layers), dtype)
    fused = fuse_activations(network, partial(run, example=EXAMPLE.to(dtype)))
    assert count(fused, _fusing._Convolution) == 2
    assert count(fused, type(activation)) == 0
    assert count(network, nn.Conv2d) == 2  # the network that was given is left alone
    for n_pictures, size in ((1, 16), (5, 23)):
        pictures = torch.randn(n_pictures, 3, size, size, generator=RANDOM).to(dtype)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            # Plain torch leaves convolutions as small as these to other code, which rounds differently.
            torch.testing.assert_close(fused(pictures), network(pictures))


class Branching(nn.Module):
    """The convolution's output is used without its activation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.activation = nn.Conv2d(3, 8, 3), nn.ReLU()

    def forward(self, pictures: Any) -> Any:
        raw = self.convolution(pictures)
        return raw + self.activation(raw)


def test_where_the_output_would_change_the_activation_stays() -> None:
    network = prepared(Branching())
    fused = fuse_activations(network, run)
    assert (count(fused, _fusing._Convolution), count(fused, nn.ReLU)) == (1, 1)
    torch.testing.assert_close(run(fused), run(network))


class Looking(nn.Module):
    """Something else looks at the weights of the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.activation = nn.Conv2d(3, 8, 3), nn.ReLU()

    def forward(self, pictures: Any) -> Any:
        return self.activation(self.convolution(pictures)) * self.convolution.weight.mean()


def test_a_convolution_whose_weights_are_looked_at_stays() -> None:
    network = prepared(Looking())
    assert fuse_activations(network, run) is network


class InPlace(nn.Module):
    """As timm's ResNets: the shortcut is added in place, between the convolution and its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.one, self.other = nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, pictures: Any) -> Any:
        maps = self.second(self.one(self.first(pictures)))
        maps += pictures
        return self.other(maps)


def test_what_is_added_in_place_is_not_clipped_before() -> None:
    network = prepared(InPlace())
    fused = fuse_activations(network, run)
    assert (count(fused, _fusing._Convolution), count(fused, nn.ReLU)) == (2, 1)
    torch.testing.assert_close(run(fused), run(network))


class Named(nn.Module):
    """Modules that are called by the names of their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.activation = nn.Conv2d(3, 8, 3), nn.ReLU()

    def forward(self, pictures: Any) -> Any:
        return self.activation(input=self.convolution(input=pictures))


def test_modules_that_are_called_by_name_are_left_alone() -> None:
    network = prepared(Named())
    torch.testing.assert_close(run(fuse_activations(network, run)), run(network))


class Residual(nn.Module):
    """One activation runs twice, as in torchvision's ResNets, the second time behind a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.activation = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.ReLU()

    def forward(self, pictures: Any) -> Any:
        inner = self.activation(self.first(pictures))
        return self.activation(inner + self.second(inner))


class Shared(nn.Module):
    """One convolution runs twice on maps of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.activation = nn.Conv2d(3, 3, 3), nn.ReLU()

    def forward(self, pictures: Any) -> Any:
        return self.activation(self.convolution(self.convolution(pictures)))


@pytest.mark.parametrize(("kind", "n_convolutions"), [(Residual, 2), (Shared, 1)])
def test_what_runs_twice_stays_an_activation(kind: type[nn.Module], n_convolutions: int) -> None:
    network = prepared(kind())
    fused = fuse_activations(network, run)
    assert (count(fused, _fusing._Convolution), count(fused, nn.ReLU)) == (n_convolutions, 1)
    torch.testing.assert_close(run(fused), run(network))


class Padded(nn.Conv2d):
    """As timm's `Conv2dSame`: pads more at one side."""

    def forward(self, pictures: Any) -> Any:
        return super().forward(nn.functional.pad(pictures, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    "convolution",
    [Padded(3, 8, 3), nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.Conv2d(3, 8, 3, padding="same")],
)
def test_convolutions_that_pad_in_their_own_way_are_left_alone(convolution: nn.Module) -> None:
    network = prepared(nn.Sequential(convolution, nn.ReLU()))
    fused = fuse_activations(network, run)
    assert count(fused, _fusing._Convolution) == 0
    torch.testing.assert_close(run(fused), run(network))


def test_an_activation_that_rounding_would_change_stays() -> None:
    network = prepared(nn.Sequential(nn.Conv2d(3, 8, 3), nn.SiLU()))
    fused = fuse_activations(network, run)
    assert (count(fused, _fusing._Convolution), count(fused, nn.SiLU)) == (1, 1)


def test_another_processor_and_another_torch_get_the_network_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = prepared(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    with monkeypatch.context() as patched:
        patched.setattr(platform, "machine", lambda: "arm64")
        assert fuse_activations(network, run) is network
    with monkeypatch.context() as patched:
        patched.setattr(torch.backends.mkldnn, "enabled", False)
        assert fuse_activations(network, run) is network

    def refuse(*arguments: Any) -> Any:
        raise AttributeError(arguments)

    monkeypatch.setattr(_fusing, "_Convolution", refuse)
    _fusing._has_operators.cache_clear()
    try:
        assert fuse_activations(network, run) is network
    finally:
        _fusing._has_operators.cache_clear()


def test_no_weights_are_copied_but_those_of_convolutions() -> None:
    network = prepared(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 2)))
    fused = fuse_activations(network, run)
    assert [id(each) for each in fused.parameters()] == [id(each) for each in network[3].parameters()]
