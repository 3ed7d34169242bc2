"""Networks of torchvision from torch.hub's cache."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from sklearn.datasets import load_sample_images
from tests.unit.backbones.tiny import random_torchvision, save_torchvision
from torchvision import models

from headstart._fingerprint import sha256_bytes
from headstart.backbones.loaders import torchvision_images
from headstart.backbones.loaders._weights import load_strictly
from headstart.backbones.resolve import load, resolve, source_head
from headstart.backbones.spec import Source
from headstart.backbones.torch_hub import verified_checkpoint
from headstart.errors import BackboneError, OfflineError
from headstart.testing.backbones import check_preprocessing, example

SMALL = ["mobilenet_v3_small", "squeezenet1_1", "resnet18"]
OTHERS = ["vit_b_32", "swin_t", "inception_v3", "googlenet", "densenet121", "mnasnet0_5", "maxvit_t", "regnet_x_400mf"]
OTHERS += ["convnext_tiny", "efficientnet_b0", "shufflenet_v2_x0_5", "alexnet", "swin_v2_t"]
ALL = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


def described(name: str) -> Any:
    return torchvision_images.describe(Path(), name, Source("url", "x"))


def test_a_name_means_the_weights_that_torchvision_means() -> None:
    assert torchvision_images.weights_url("resnet50").endswith("resnet50-11ad3fa6.pth")
    assert torchvision_images.weights_url("resnet50.IMAGENET1K_V1").endswith("resnet50-0676ba61.pth")
    spec = described("torchvision/vgg16")
    assert (spec.architecture, spec.tag, spec.pretrained_on) == ("vgg16", "IMAGENET1K_V1", "ImageNet-1k, supervised")
    swag = described("torchvision/vit_b_16.IMAGENET1K_SWAG_E2E_V1")
    assert swag.licence.endswith("SWAG/blob/main/LICENSE")
    assert swag.image.size_px == 384


def test_unknown_names_get_the_nearest_known_one(home: Path) -> None:
    with pytest.raises(BackboneError, match=r"torchvision [\d.]+\S* has no image classifier 'resnet5O'") as caught:
        resolve("torchvision/resnet5O", home)
    assert caught.value.hint == "Did you mean 'resnet50'?"
    with pytest.raises(BackboneError, match="has no image classifier 'fcn_resnet50'"):
        resolve("torchvision/fcn_resnet50", home)
    with pytest.raises(BackboneError, match="has no weights 'IMAGENET1K_V3' of 'resnet50'; there is IMAGENET1K_V1, IM"):
        resolve("torchvision/resnet50.IMAGENET1K_V3", home)


def test_every_weights_transform_is_expressed_exactly() -> None:
    """Sizes, interpolation and statistics of all weights; that equal numbers give equal pixels, the next test shows."""
    seen = 0
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            theirs = weights.transforms()
            ours = torchvision_images._image_input(theirs)
            assert [int(ours.size_px / ours.crop)] == theirs.resize_size
            assert [ours.size_px] == theirs.crop_size
            assert (list(ours.mean), list(ours.std), theirs.antialias) == (theirs.mean, theirs.std, True)
            assert ours.interpolation == theirs.interpolation.value
            seen += 1
    assert seen >= 115


@pytest.mark.parametrize("name", ["resnet50", "resnet50.IMAGENET1K_V1", "inception_v3", "swin_t", "efficientnet_b1"])
def test_pixels_equal_those_of_the_weights_own_transform(name: str) -> None:
    from PIL import Image

    spec = described(f"torchvision/{name}")
    transform = torchvision_images._weights(name).transforms()
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    # float32: the one divides by 255 before it subtracts the mean, the other after it.
    assert check_preprocessing(spec, lambda image: transform(image).numpy(), photos, tolerance=1e-5) > len(photos)


@pytest.mark.parametrize("name", ALL)
def test_features_and_logits_equal_those_of_torchvision(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = save_torchvision(tmp_path, name, monkeypatch)
    local = resolve(f"torchvision/{name}", tmp_path)
    assert local.spec.image is not None
    batch = np.asarray(example(local, 2))
    pixels = torch.tensor(batch).permute(0, 3, 1, 2).float() / 255.0
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (local.spec.image.mean, local.spec.image.std))
    inputs: list[Any] = []
    last_linear = [each for each in network.modules() if isinstance(each, torch.nn.Linear)]
    if last_linear:
        last_linear = [network.get_submodule(torchvision_images._classifier(network))]
        last_linear[0].register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    with torch.inference_mode():
        logits = network((pixels - mean) / std).numpy()
    features = load(local).forward(batch)
    last = features[:, -local.spec.layers[-1].width :]
    head = source_head(local)
    if not last_linear:
        assert name.startswith("squeezenet")
        assert head is None
        return
    assert head is not None
    difference = np.linalg.norm(last - inputs[0].numpy()) / np.linalg.norm(inputs[0].numpy())
    assert difference < 1e-4
    np.testing.assert_allclose(head.logits(last), logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max())
    assert len(local.spec.layers) == 3


def test_stages_are_those_of_torchvisions_own_feature_extraction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models.feature_extraction import create_feature_extractor

    network = save_torchvision(tmp_path, "resnet18", monkeypatch)
    local = resolve("torchvision/resnet18", tmp_path)
    assert [(layer.name, layer.grid) for layer in local.spec.layers] == [("layer3", 2), ("layer4", 2), ("last", 1)]
    extractor = create_feature_extractor(network, ["layer3", "layer4"])
    backbone = load(local)
    batch = example(local, 2)
    with torch.inference_mode():
        theirs = extractor(backbone._normalised(batch))  # type: ignore[attr-defined]
    pooled = [torch.nn.functional.adaptive_avg_pool2d(theirs[name], 2).flatten(1) for name in ("layer3", "layer4")]
    expected = torch.cat(pooled, dim=1).numpy()
    ours = backbone.forward(batch)[:, : expected.shape[1]]
    assert np.linalg.norm(ours - expected) <= 1e-4 * np.linalg.norm(expected)


def test_the_class_token_is_no_patch_and_swin_puts_channels_last() -> None:
    tokens = torch.arange(1 * 5 * 2).view(1, 5, 2)
    assert torchvision_images._maps(tokens, "vit_b_16")[0, 0].tolist() == [[2, 4], [6, 8]]
    assert torchvision_images._maps(torch.zeros(1, 7, 7, 96), "swin_t").shape == (1, 96, 7, 7)


def test_it_is_imported_once_and_needs_the_cache_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_torchvision(tmp_path, "squeezenet1_1", monkeypatch)
    local = resolve("torchvision/squeezenet1_1", tmp_path)
    assert local.spec.source.origin == "url"
    (file,) = (tmp_path / "hub" / "checkpoints").iterdir()
    assert local.spec.source.sha256.startswith(file.stem.rpartition("-")[2])
    file.unlink()
    assert resolve("torchvision/squeezenet1_1", tmp_path) == local


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_torchvision(tmp_path, "squeezenet1_1", monkeypatch)
    (file,) = (tmp_path / "hub" / "checkpoints").iterdir()
    with file.open("ab") as end:
        end.write(b"\0")
    with pytest.raises(
        BackboneError, match=r"are damaged or were changed: their sha256 must begin with [0-9a-f]{8}, bu"
    ):
        resolve("torchvision/squeezenet1_1", tmp_path)
    assert not (tmp_path / "backbones").exists()


def test_weights_that_cannot_be_fetched_say_from_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        OfflineError, match=r"the weights of 'torchvision/resnet18' must be fetched from https://downlo"
    ):
        resolve("torchvision/resnet18", tmp_path)
    assert not (tmp_path / "hub").exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The files of a folder over HTTP on this machine."""
    (tmp_path / "served").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_weights_are_fetched_to_torch_hubs_cache(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    content = b"weights"
    good, bad = f"a-{sha256_bytes(content)[:8]}.pth", "a-00000000.pth"
    for name in (good, bad):
        (tmp_path / "served" / name).write_bytes(content)
    file, digest = verified_checkpoint(f"{server}/{good}", "a")
    assert file == tmp_path / "torch" / "hub" / "checkpoints" / good
    assert digest == sha256_bytes(content)
    (tmp_path / "served" / good).unlink()
    assert verified_checkpoint(f"{server}/{good}", "a") == (file, digest)
    for name, reason in ((bad, "invalid hash value"), ("b-00000000.pth", "404")):
        with pytest.raises(
            BackboneError, match=f"the weights of 'a' cannot be fetched from {server}/{name}: .*{reason}"
        ):
            verified_checkpoint(f"{server}/{name}", "a")
    assert [each.name for each in file.parent.iterdir()] == [good]
    with pytest.raises(BackboneError, match=r"do not carry the beginning of their sha256 in their name"):
        verified_checkpoint(f"{server}/b.pth", "a")


def test_features_that_are_not_numbers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of torchvision's VGG16_Weights.IMAGENET1K_FEATURES, whose classifier is not a number."""
    import tests.unit.backbones.tiny as tiny

    network = random_torchvision("mobilenet_v3_small")
    torch.nn.init.constant_(network.classifier[0].weight, float("nan"))
    monkeypatch.setattr(tiny, "random_torchvision", lambda name: network)
    save_torchvision(tmp_path, "mobilenet_v3_small", monkeypatch)
    with pytest.raises(BackboneError, match="give features that are not finite numbers"):
        resolve("torchvision/mobilenet_v3_small", tmp_path)


def test_older_names_are_translated_as_torchvision_does() -> None:
    network = random_torchvision("densenet121")
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): w for name, w in network.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    present = torchvision_images._present_names({**old, "AuxLogits.fc.weight": torch.zeros(1)})
    assert present.keys() == network.state_dict().keys()
    empty = torchvision_images._build("densenet121", 224)
    load_strictly(empty, present, name="x", architecture="densenet121")
    for name, tensor in empty.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name


def test_weights_from_before_batches_were_counted_load() -> None:
    network = random_torchvision("mnasnet0_5")
    old = {name: w for name, w in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    load_strictly(torchvision_images._build("mnasnet0_5", 224), old, name="x", architecture="mnasnet0_5")
