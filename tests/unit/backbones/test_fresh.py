"""A network without its weights is the one that its library makes new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from tests.unit.backbones.tiny import save_bert, save_timm, save_torchvision
from tests.unit.backbones.tiny_transformers import save_tower
from transformers import AutoConfig, AutoModel

from headstart._fingerprint import sha256_file
from headstart._randomness import generator
from headstart.backbones.fresh import can_be_fresh, fresh
from headstart.backbones.loaders._transformers import open_part
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local, load, resolve
from headstart.errors import BackboneError
from headstart.testing.backbones import example


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Local]:
    def find(name: str) -> Local:
        if name == "shufflenet_v2_x0_5":
            save_torchvision(tmp_path / "torch", name, monkeypatch)
            return resolve(f"torchvision/{name}", tmp_path)
        saved = tmp_path / "saved"
        save = {"bert": save_bert, "vit": lambda folder: save_tower(folder, "vit")}.get(
            name, lambda folder: save_timm(folder, name)
        )
        return resolve(str(save(saved)), tmp_path)

    return find


def pretrained_of(local: Local) -> dict[str, torch.Tensor]:
    """The weights under the names of today's library; transformers writes older ones."""
    if local.spec.loader == "transformers":
        return dict(open_part(local.folder, local.spec.name).state_dict())
    return load_file(local.folder / "model.safetensors")


def new(seed: int, make: Callable[[], Any]) -> dict[str, torch.Tensor]:
    """What a library makes after its generator was set as `fresh` sets it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "fresh").integers(2**63)))
        return dict(make().state_dict())


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) <= set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit"])
def test_parity_with_timm(name: str, found: Callable[[str], Local]) -> None:
    made = fresh(found(name), seed=3).network.state_dict()
    expected = new(3, lambda: timm.create_model(name, pretrained=False, num_classes=0))
    assert_same(made, expected)
    assert len(made) == len(expected)


def test_parity_with_transformers(found: Callable[[str], Local], tmp_path: Path) -> None:
    local = found("bert")
    made = fresh(local, seed=3).network.state_dict()
    expected = new(3, lambda: AutoModel.from_config(AutoConfig.from_pretrained(local.folder), dtype=torch.float32))
    assert_same(made, expected)
    assert len(expected) - len(made) in (0, 2), "all but the pooler"


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "bert", "vit", "shufflenet_v2_x0_5"])
def test_no_weight_is_a_pretrained_one_and_none_is_written(name: str, found: Callable[[str], Local]) -> None:
    local = found(name)
    file = local.folder / "model.safetensors"
    before, pretrained = sha256_file(file), pretrained_of(local)
    made = fresh(local, seed=0)
    random = {key: each for key, each in made.network.state_dict().items() if each.ndim > 1 and each.std() > 0}
    assert len(random) > 5
    assert not [key for key in random if key in pretrained and torch.equal(random[key], pretrained[key])]
    assert sum(key in pretrained for key in random) >= 0.9 * len(random)
    made.last(example(local, 2)).sum().backward()  # type: ignore[no-untyped-call]
    assert made.network.training
    assert sha256_file(file) == before


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "bert", "vit", "shufflenet_v2_x0_5"])
def test_with_the_pretrained_weights_it_is_the_backbone(name: str, found: Callable[[str], Local]) -> None:
    """So what differs is the weights, and neither the network nor how items are prepared."""
    local, batch = (where := found(name)), example(where, 3)
    made = fresh(local, seed=0)
    made.network.load_state_dict(pretrained_of(local))
    made.network.eval()
    expected = load(local).forward(batch)[:, -local.spec.layers[-1].width :]
    with torch.no_grad():
        last = made.last(batch).numpy()
    assert np.linalg.norm(last - expected) <= 1e-4 * np.linalg.norm(expected)


def test_the_seed_decides_and_the_callers_random_numbers_stay(found: Callable[[str], Local]) -> None:
    local = found("test_efficientnet")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, same, other = (fresh(local, seed=seed).network.state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_what_cannot_be_made_anew_says_so() -> None:
    pixels = Local(PIXELS, Path(), {})
    assert not can_be_fresh(pixels)
    with pytest.raises(BackboneError, match="cannot be trained from scratch") as caught:
        fresh(pixels, seed=0)
    assert "quick control" in caught.value.hint
