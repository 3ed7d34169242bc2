"""What an item takes alone and in a batch, on a clock that the network turns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source, TextInput
from headstart.features.latency import measure_latency

IMAGE = ImageInput(8, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass
class Network:
    """Takes `fixed_s` for a batch and `each_s` for each of its items, and `first` times as long for the first one."""

    fixed_s: float
    each_s: float
    modality: str = "text"
    first: float = 10.0
    now: float = 0.0
    batches: list[int] = field(default_factory=list)
    seen: list[object] = field(default_factory=list)

    @property
    def spec(self) -> BackboneSpec:
        image = self.modality == "image"
        return BackboneSpec(
            *("net", self.modality, "timm", "net", Source("folder", "net", sha256="net")),  # type: ignore[arg-type]
            layers=(Layer("last", 2),),
            n_params=1,
            image=IMAGE if image else None,
            text=None if image else TextInput(16),
        )

    def forward(self, batch: np.ndarray | list[str]) -> np.ndarray:
        taken = self.fixed_s + self.each_s * len(batch)
        self.now += taken if self.batches else self.first * taken
        self.batches.append(len(batch))
        self.seen.append(batch)
        return np.zeros((len(batch), 2), np.float32)


def test_the_first_repeat_does_not_count_and_a_batch_shares_its_fixed_cost() -> None:
    network = Network(fixed_s=0.008, each_s=0.001)
    found = measure_latency(network, ["a", "b"], most_s=1.0, clock=lambda: network.now)
    assert found is not None
    assert found.alone_ms == pytest.approx(9.0)
    assert found.batch_ms == pytest.approx((8 + 32) / 32)
    assert set(network.batches) == {1, 32}


def test_it_takes_about_as_long_as_it_may() -> None:
    network = Network(fixed_s=0.02, each_s=0.004)
    measure_latency(network, ["a"], most_s=1.0, clock=lambda: network.now)
    assert 0.3 < network.now <= 1.0 + 32 * 0.004 + 0.02


def test_of_a_slow_network_the_first_repeat_says_nothing() -> None:
    network = Network(fixed_s=0.0, each_s=2.0)
    assert measure_latency(network, ["a"], most_s=0.5, clock=lambda: network.now) is None
    assert network.batches == [1]


def test_a_batch_that_would_take_too_long_is_not_run() -> None:
    network = Network(fixed_s=0.0, each_s=0.05, first=2.0)
    found = measure_latency(network, ["a"], most_s=0.8, clock=lambda: network.now)
    assert found is not None
    assert found.alone_ms == pytest.approx(50.0)
    assert found.batch_ms is None
    assert set(network.batches) == {1}


def test_texts_take_turns_and_fill_the_batch() -> None:
    network = Network(fixed_s=0.001, each_s=0.001)
    measure_latency(network, ["a", "b", "c"], most_s=1.0, clock=lambda: network.now)
    assert network.seen[:4] == [["a"], ["b"], ["c"], ["a"]]
    assert network.seen[-1] == [*(["a", "b", "c"] * 10), "a", "b"]


def test_pictures_are_prepared_for_the_network() -> None:
    network = Network(fixed_s=0.001, each_s=0.001, modality="image")
    measure_latency(network, [np.zeros((20, 30, 3), np.uint8)], most_s=1.0, clock=lambda: network.now)
    assert {np.shape(batch) for batch in network.seen} == {(1, 8, 8, 3), (32, 8, 8, 3)}
