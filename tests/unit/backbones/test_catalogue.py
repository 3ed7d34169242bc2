"""Every fact of the catalogue is checked against the network itself."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from headstart.backbones.catalogue import catalogue, starters
from headstart.backbones.locate import package_folder
from headstart.backbones.resolve import load, resolve
from headstart.backbones.spec import BackboneSpec
from headstart.testing.backbones import example

SPECS = list(catalogue().values())


def _installed(spec: BackboneSpec) -> BackboneSpec:
    if importlib.util.find_spec(spec.source.location) is None:
        pytest.skip("needs headstart[starter]")
    return spec


def _network(spec: BackboneSpec) -> Any:
    if spec.loader == "timm":
        import timm

        return timm.create_model(spec.architecture, pretrained=False, num_classes=0).eval()
    from transformers import AutoConfig, AutoModel

    folder = (package_folder(_installed(spec).source) / spec.source.file).parent
    return AutoModel.from_config(AutoConfig.from_pretrained(folder)).eval()


def test_there_are_four_starters_and_their_names_are_their_keys() -> None:
    assert [spec.name for spec in starters("image")] == [
        "efficientnet_lite0",
        "efficientnet_lite1",
        "efficientnet_lite2",
    ]
    assert [spec.name for spec in starters("text")] == ["all_minilm_l6_v2"]
    assert all(name == spec.name for name, spec in catalogue().items())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_spec_is_complete(spec: BackboneSpec) -> None:
    assert spec.licence
    assert spec.citation
    assert spec.pretrained_on
    assert spec.gflops > 0
    assert len(spec.source.sha256) == 64
    assert (spec.image is None) == (spec.modality == "text")
    assert (spec.text is None) == (spec.modality == "image")
    assert spec.layers[-1].name == "last"
    assert spec.layers[-1].grid == 1


def test_starters_come_cheapest_first() -> None:
    for modality in ("image", "text"):
        costs = [spec.gflops for spec in starters(modality)]
        assert costs == sorted(costs)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_parameters_and_cost_are_those_of_the_network(spec: BackboneSpec) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network = _network(spec)
    assert sum(weight.numel() for weight in network.parameters()) == spec.n_params
    size = spec.image.size_px if spec.image else 0
    if spec.image:
        given: tuple[torch.Tensor, ...] = (torch.zeros(1, 3, size, size),)
    else:
        assert spec.text is not None
        given = (torch.ones(1, spec.text.max_tokens, dtype=torch.long),)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(*given)
    assert counter.get_total_flops() / 2e9 == pytest.approx(spec.gflops, rel=0.02)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.image], ids=lambda spec: spec.name)
def test_preprocessing_is_the_one_that_timm_states(spec: BackboneSpec) -> None:
    import timm

    assert spec.image is not None
    facts = timm.get_pretrained_cfg(f"{spec.architecture}.{spec.tag}")
    assert (3, spec.image.size_px, spec.image.size_px) == facts.input_size
    assert (spec.image.crop, spec.image.interpolation) == (facts.crop_pct, facts.interpolation)
    assert (spec.image.mean, spec.image.std, spec.image.crop_mode) == (facts.mean, facts.std, facts.crop_mode)
    assert spec.licence.lower() == facts.license


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_weights_are_the_named_file_and_layers_have_the_declared_widths(spec: BackboneSpec, home: Any) -> None:
    local = resolve(_installed(spec).name, home)  # verifies the sha256 of the original file when it imports it
    features = load(local).forward(example(local, 2))
    start = 0
    for layer in spec.layers:
        assert np.ptp(features[:, start : start + layer.width]) > 0
        start += layer.width
    assert features.shape == (2, start)


def test_gflops_of_texts_count_attention() -> None:
    """By hand: 6 layers of 4·384² + 2·384·1536 weights over 256 tokens, and 2·256²·384 for attention."""
    by_hand = 6 * ((4 * 384**2 + 2 * 384 * 1536) * 256 + 2 * 256**2 * 384) / 1e9
    assert catalogue()["all_minilm_l6_v2"].gflops == pytest.approx(by_hand, rel=0.01)
