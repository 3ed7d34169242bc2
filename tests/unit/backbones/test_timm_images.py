"""Networks of timm from the folders that timm writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_images
from tests.unit.backbones.tiny import save_timm

from headstart.backbones.loaders import timm_images
from headstart.backbones.resolve import load, resolve
from headstart.backbones.spec import BackboneSpec, Source
from headstart.errors import BackboneError
from headstart.testing.backbones import check_preprocessing, example


def described(folder: Path) -> BackboneSpec:
    return timm_images.describe(folder, "tiny", Source("folder", str(folder), "model.safetensors"))


def change(folder: Path, **facts: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= facts
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_folder_says_how_pictures_are_prepared(tmp_path: Path) -> None:
    folder = change(save_timm(tmp_path / "a"), crop_pct=0.9, test_crop_pct=1.0, mean=[0.1, 0.2, 0.3], license="mit")
    spec = described(folder)
    assert spec.image is not None
    assert (spec.image.size_px, spec.image.crop, spec.image.mean) == (160, 0.9, (0.1, 0.2, 0.3))
    assert spec.licence == "mit"
    assert spec.gflops == pytest.approx(0.1025, rel=0.01)
    larger = described(change(folder, test_input_size=[3, 192, 192], crop_mode="squash"))
    assert larger.image is not None
    assert (larger.image.size_px, larger.image.crop, larger.image.crop_mode) == (192, 1.0, "squash")


@pytest.mark.parametrize("facts", [{}, {"crop_pct": 0.875, "interpolation": "bilinear"}, {"crop_mode": "squash"}])
def test_pixels_equal_those_of_timms_own_transform(facts: dict[str, Any], tmp_path: Path) -> None:
    spec = described(change(save_timm(tmp_path / "a"), **facts))
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"]))
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    # float32: the one divides by 255 before it subtracts the mean, the other after it.
    assert check_preprocessing(spec, lambda image: transform(image).numpy(), photos, tolerance=1e-5) > len(photos)


def test_a_fixed_size_stays(tmp_path: Path) -> None:
    folder = change(save_timm(tmp_path / "a"), fixed_input_size=True, test_input_size=[3, 192, 192], test_crop_pct=1.0)
    image = described(folder).image
    assert image is not None
    assert (image.size_px, image.crop) == (160, 0.95)


@pytest.mark.parametrize("facts", [{"input_size": [1, 28, 28]}, {"input_size": [3, 160, 128]}, {"crop_mode": "border"}])
def test_pictures_that_cannot_be_prepared_are_refused(facts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="'tiny' must see square pictures of 3 channels, cropped or squashed"):
        described(change(save_timm(tmp_path / "a"), **facts))


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "resnet5O"}')
    with pytest.raises(BackboneError, match="has no architecture 'resnet5O'"):
        described(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BackboneError, match=r"the config\.json of 'tiny' cannot be read as JSON"):
        described(tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "test_resnet", "model_args": {"colour": 1}}')
    with pytest.raises(BackboneError, match=r"cannot build 'test_resnet' with the model_args {'colour': 1}"):
        described(tmp_path)


def test_a_network_that_cannot_take_its_own_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not turn a picture of 4 pixels a side into features"):
        described(change(save_timm(tmp_path / "a", "test_vit"), input_size=[3, 4, 4]))


def test_arguments_that_the_network_was_built_with_are_kept(tmp_path: Path) -> None:
    local = resolve(str(change(save_timm(tmp_path / "a", "test_vit", img_size=64), input_size=[3, 64, 64])), tmp_path)
    assert local.spec.image is not None
    assert local.spec.image.size_px == 64
    assert "config.json" in local.sha256
    assert load(local).forward(example(local, 2)).shape == (2, local.spec.width)


def test_weights_that_do_not_fit_are_refused_with_both_sides(tmp_path: Path) -> None:
    folder = save_timm(tmp_path / "a")
    weights = load_file(folder / "model.safetensors")
    weights["strange"] = weights.pop("conv1.0.weight")
    weights["bn1.weight"] = weights["bn1.weight"][:-1].clone()
    save_file(weights, folder / "model.safetensors")
    expected = r"missing conv1\.0\.weight, unexpected strange, of another shape bn1\.weight"
    with pytest.raises(BackboneError, match=f"the weights of 'local/a' do not fit 'test_resnet': {expected}"):
        resolve(str(folder), tmp_path)


def test_another_port_must_have_the_shapes_in_timms_order(tmp_path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    spec = replace(described(save_timm(tmp_path / "a")), source=Source("package", "x", "other.pth"))
    (tmp_path / "out").mkdir()
    with pytest.raises(BackboneError, match="do not have the shapes of 'test_resnet' in its order"):
        timm_images.import_weights(spec, tmp_path, tmp_path / "out")


def test_an_architecture_without_weights_has_no_place_on_the_hub() -> None:
    assert timm_images.hub_repository("resnet50") == "timm/resnet50.a1_in1k"
    with pytest.raises(BackboneError, match=r"has no architecture 'resnet51q_no'"):
        timm_images.hub_repository("resnet51q_no")


def test_a_spec_for_texts_is_refused(tmp_path: Path) -> None:
    local = resolve(str(save_timm(tmp_path / "a")), tmp_path)
    with pytest.raises(BackboneError, match="must say what images it sees, but has no image section"):
        load(replace(local, spec=replace(local.spec, image=None)))


def test_layers_are_given_in_the_order_of_the_spec_whatever_it_is(tmp_path: Path) -> None:
    local = resolve(str(save_timm(tmp_path / "a")), tmp_path)
    turned = replace(local, spec=replace(local.spec, layers=local.spec.layers[::-1]))
    straight, reverse = (load(each).forward(example(local, 2)) for each in (local, turned))
    widths = [layer.width for layer in local.spec.layers]
    parts = np.split(straight, np.cumsum(widths)[:-1], axis=1)
    np.testing.assert_allclose(np.concatenate(parts[::-1], axis=1), reverse, rtol=1e-5)


def test_pictures_may_be_views_and_read_only(tmp_path: Path) -> None:
    local = resolve(str(save_timm(tmp_path / "a")), tmp_path)
    backbone, pictures = load(local), np.asarray(example(local, 2))
    mirrored = pictures[:, :, ::-1]
    pictures.flags.writeable = False
    np.testing.assert_array_equal(backbone.forward(mirrored), backbone.forward(mirrored.copy()))
    backbone.forward(pictures)


def test_a_network_that_pools_by_a_learnt_query_is_described(tmp_path: Path) -> None:
    sizes = {"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2}
    local = resolve(str(save_timm(tmp_path / "a", "vit_base_patch16_siglip_224", num_classes=0, **sizes)), tmp_path)
    assert local.spec.layers[-1].width == 32
    assert load(local).forward(example(local, 1)).shape == (1, local.spec.width)
