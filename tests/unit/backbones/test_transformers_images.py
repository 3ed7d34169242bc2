"""Image towers from the folders that transformers writes. Equal numbers: tests/parity/test_transformers.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tests.unit.backbones.tiny_transformers import save_tower

from headstart.backbones.resolve import load, resolve
from headstart.errors import BackboneError
from headstart.testing.backbones import example


def rewrite(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_of_an_image_text_model_only_the_tower_is_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = save_tower(tmp_path / "a", "clip")
    (folder / "tokenizer.json").write_text("{}")
    capfd.readouterr()
    local = resolve(str(folder), tmp_path)
    assert capfd.readouterr() == ("", "")
    assert (local.spec.modality, local.spec.architecture) == ("image", "clip_vision_model")
    kept = load_file(local.folder / "model.safetensors")
    assert local.spec.n_params == sum(tensor.numel() for tensor in kept.values())
    assert not any("text" in name or "projection" in name.replace("patch_embedding", "") for name in kept)
    assert set(local.sha256) == {"config.json", "model.safetensors"}


def test_preprocessing_is_found_where_a_whole_processor_was_saved(tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", "siglip")
    expected = resolve(str(folder), tmp_path / "one").spec.image
    own = folder / "preprocessor_config.json"
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": json.loads(own.read_text())}))
    own.unlink()
    assert resolve(str(folder), tmp_path / "two").spec.image == expected


def test_the_input_is_part_of_what_is_imported(tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", "vit")
    before = resolve(str(folder), tmp_path)
    rewrite(folder / "preprocessor_config.json", image_mean=[0.1, 0.2, 0.3])
    after = resolve(str(folder), tmp_path)
    assert after.spec.image is not None
    assert after.spec.image.mean == (0.1, 0.2, 0.3)
    assert after.folder != before.folder


def test_pictures_that_are_not_normalised_are_left_as_they_are(tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", "beit")
    rewrite(folder / "preprocessor_config.json", do_normalize=False)
    image = resolve(str(folder), tmp_path).spec.image
    assert image is not None
    assert (image.mean, image.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "values",
    [
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5},
        {"do_resize": False},
        {"size": {"shortest_edge": 32}},
        {"size": {"height": 32, "width": 48}},
        {"size": {"height": 32, "width": 32}, "do_center_crop": True, "crop_size": {"height": 48, "width": 48}},
        {"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True},
    ],
    ids=str,
)
def test_preprocessing_that_is_more_than_ours_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", "vit")
    rewrite(folder / "preprocessor_config.json", **values)
    with pytest.raises(BackboneError, match="'local/a' prepares pictures in a way that is not followed here") as caught:
        resolve(str(folder), tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("text", [None, "half", '{"image_processor_type": "NoSuchProcessor"}'])
def test_no_readable_preprocessing_is_one_sentence(text: str | None, tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", "vit")
    (folder / "preprocessor_config.json").unlink()
    if text is not None:
        (folder / "preprocessor_config.json").write_text(text)
    with pytest.raises(BackboneError, match="transformers cannot read how pictures are prepared for 'local/a'"):
        resolve(str(folder), tmp_path)


def test_networks_without_a_token_for_each_patch_are_refused(tmp_path: Path) -> None:
    """Masked autoencoders leave patches out, and YOLOS has tokens of its own behind them."""
    from transformers import ViTMAEConfig, ViTMAEModel, YolosConfig, YolosModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    networks = {
        "vit_mae": ViTMAEModel(ViTMAEConfig(**sizes, image_size=32, patch_size=8)),
        "yolos": YolosModel(YolosConfig(**sizes, image_size=[32, 32], patch_size=8, num_detection_tokens=10)),
    }
    for kind, network in networks.items():
        folder = save_tower(tmp_path / kind, "vit")
        network.save_pretrained(folder)
        with pytest.raises(BackboneError, match=f"of 'local/{kind}' .{kind}. does not turn a picture into one vector"):
            resolve(str(folder), tmp_path)


@pytest.mark.parametrize("side", [64, 384])
def test_pictures_for_convnext_are_cropped_only_where_they_are_small(side: int, tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", "convnext")
    rewrite(folder / "preprocessor_config.json", size={"shortest_edge": side})
    image = resolve(str(folder), tmp_path).spec.image
    assert image is not None
    expected = (64, 73, "center-down") if side == 64 else (384, 384, "squash")
    assert (image.size_px, int(image.size_px / image.crop), image.crop_mode) == expected


def test_a_picture_of_another_size_than_the_network_takes_is_refused(tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", "vit")
    rewrite(folder / "preprocessor_config.json", size={"height": 48, "width": 48})
    with pytest.raises(BackboneError, match="does not turn a picture into one vector for each of its parts"):
        resolve(str(folder), tmp_path)


def test_missing_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    folder = save_tower(tmp_path / "a", "vit")
    weights = load_file(folder / "model.safetensors")
    del weights["vit.layernorm.weight"]
    weights["vit.layernorm.bias"] = weights["vit.layernorm.bias"][:-1].clone()
    weights["vit.layernorm.scale"] = weights["vit.layernorm.bias"].clone()
    save_file(weights, folder / "model.safetensors")
    # What belongs to the task's head is left out, and named here too.
    expected = "missing layernorm.weight, unexpected classifier.bias, classifier.weight, vit.layernorm.scale, "
    expected += "of another shape layernorm.bias"
    with pytest.raises(BackboneError, match=f"the weights of 'local/a' do not fit 'vit': {expected}"):
        resolve(str(folder), tmp_path)


def test_a_shallow_tower_has_its_only_block_in_the_middle(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    folder = save_tower(tmp_path / "a", "vit")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(**sizes, image_size=32, patch_size=8)).save_pretrained(folder)
    local = resolve(str(folder), tmp_path)
    assert [layer.name for layer in local.spec.layers] == ["block1", "patches", "last"]
    assert np.isfinite(load(local).forward(example(local, 2))).all()
