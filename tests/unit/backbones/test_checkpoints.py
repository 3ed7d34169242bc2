"""Weights alone in a file, whose network the user names."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.unit.backbones.tiny import random_torchvision, save_timm, train_norms

from headstart.backbones.resolve import load, open_local, resolve, source_head
from headstart.errors import BackboneError
from headstart.testing.backbones import example


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("test_resnet", pretrained=False, num_classes=7)
        train_norms(network)
    return dict(network.state_dict())


def features(name: str, home: Path, arch: str = "test_resnet") -> Any:
    local = resolve(name, home, arch=arch)
    return load(local).forward(example(local, 2))


def test_weights_with_the_name_of_their_network_run(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "mine.safetensors")
    (tmp_path / "config.json").write_text('{"model_args": {"colour": 1}}')  # of something else
    local = resolve(f"local:{tmp_path / 'mine.safetensors'}", tmp_path, arch="test_resnet")
    assert (local.spec.name, local.spec.architecture, local.spec.licence) == ("local/mine", "test_resnet", "")
    reference = timm.create_model("test_resnet", pretrained=False, num_classes=7).eval()
    reference.load_state_dict(tensors)
    batch = np.asarray(example(local, 2))
    assert local.spec.image is not None
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (local.spec.image.mean, local.spec.image.std))
    with torch.inference_mode():
        logits = reference((torch.tensor(batch).permute(0, 3, 1, 2) / 255.0 - mean) / std).numpy()
    last = load(local).forward(batch)[:, -local.spec.layers[-1].width :]
    head = source_head(local)
    assert head is not None
    np.testing.assert_allclose(head.logits(last), logits, rtol=1e-4, atol=1e-4)
    (tmp_path / "mine.safetensors").unlink()
    assert load(open_local(local.folder)).forward(batch).shape == (2, local.spec.width)


def test_the_usual_wrappings_are_taken_off(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "plain.safetensors")
    expected = features(f"local:{tmp_path / 'plain.safetensors'}", tmp_path)
    wrapped = {
        "alone": tensors,
        "wrapped": {"state_dict": tensors, "epoch": 3, "optimizer": {"lr": 0.1}},
        "parallel": {"model": {f"module.{name}": tensor for name, tensor in tensors.items()}},
        "compiled": {"model_state_dict": {f"module._orig_mod.{name}": tensor for name, tensor in tensors.items()}},
        "lightning": {"state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}},
    }
    for name, content in wrapped.items():
        torch.save(content, tmp_path / f"{name}.pth")
        np.testing.assert_array_equal(features(f"local:{tmp_path / name}.pth", tmp_path), expected, err_msg=name)
    assert len(list((tmp_path / "backbones").iterdir())) == 1 + len(wrapped)


def test_weights_saved_without_their_classifier_run(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    save_file({name: w for name, w in tensors.items() if not name.startswith("fc.")}, tmp_path / "b.safetensors")
    complete, headless = (
        resolve(f"local:{tmp_path / name}.safetensors", tmp_path, arch="test_resnet") for name in "ab"
    )
    batch = example(complete, 2)
    np.testing.assert_array_equal(load(complete).forward(batch), load(headless).forward(batch))
    assert source_head(complete) is not None
    assert source_head(headless) is None


def test_weights_of_torchvision_run(tmp_path: Path) -> None:
    network = random_torchvision("mobilenet_v3_small", num_classes=5)
    save_file(dict(network.state_dict()), tmp_path / "a.safetensors")
    local = resolve(f"local:{tmp_path / 'a.safetensors'}", tmp_path, arch="torchvision/mobilenet_v3_small")
    head = source_head(local)
    assert (local.spec.loader, local.spec.tag, local.spec.pretrained_on) == ("torchvision", "", "")
    assert head is not None
    assert head.weight.shape == (5, 1024)
    assert load(local).forward(example(local, 2)).shape == (2, local.spec.width)
    with pytest.raises(BackboneError, match=r"do not fit 'resnet18': missing conv1.weight, bn1.weight, "):
        resolve(f"local:{tmp_path / 'a.safetensors'}", tmp_path, arch="torchvision/resnet18")


def test_the_same_file_as_another_network_is_another_backbone(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        network = timm.create_model("test_vit", pretrained=False)
    save_file(dict(network.state_dict()), tmp_path / "a.safetensors")
    resolve(f"local:{tmp_path / 'a.safetensors'}", tmp_path, arch="timm/test_vit")
    with pytest.raises(BackboneError, match="the weights of 'local/a' do not fit 'test_vit2'"):
        resolve(f"local:{tmp_path / 'a.safetensors'}", tmp_path, arch="test_vit2")


def test_names_that_do_not_fit_are_listed_shortened_and_nothing_is_kept(
    tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    renamed = {f"net.{name}" if name.startswith("layer1") else name: w for name, w in tensors.items()}
    n_unexpected = sum(name.startswith("net.") for name in renamed)
    n_counters = sum(name.startswith("net.") and name.endswith("num_batches_tracked") for name in renamed)
    n_missing = n_unexpected - n_counters  # older files have no such counters, and need none
    save_file(renamed, tmp_path / "a.safetensors")
    lists = rf"missing layer1[^ ]+(, layer1[^ ]+){{4}} and {n_missing - 5} more, "
    lists += rf"unexpected net\.[^ ]+(, net\.[^ ]+){{4}} and {n_unexpected - 5} more, of another shape none"
    with pytest.raises(BackboneError, match=f"the weights of 'local/a' do not fit 'test_resnet': {lists}$"):
        resolve(f"local:{tmp_path / 'a.safetensors'}", tmp_path, arch="test_resnet")
    assert list((tmp_path / "backbones").iterdir()) == []


class _Custom:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("the-pickle-ran"),))


def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Custom()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(_Custom()))
    torch.save(timm.create_model("test_resnet", pretrained=False), tmp_path / "c.pth")  # the whole module
    for name in "abc":
        with pytest.raises(
            BackboneError, match=f"the checkpoint of 'local/{name}' is a pickle that holds more than pl"
        ):
            resolve(f"local:{name}.pth", tmp_path, arch="test_resnet")
    assert not (tmp_path / "the-pickle-ran").exists()


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, {"state_dict": {"a": 1}}, torch.zeros(3)], ids=str)
def test_a_checkpoint_without_tensors_by_name_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(BackboneError, match="'local/a' must hold tensors by name, alone or under state_dict, model_st"):
        resolve(f"local:{tmp_path / 'a.pth'}", tmp_path, arch="test_resnet")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:1000])
    (tmp_path / "empty.pt").touch()
    for name in ("cut.pth", "empty.pt"):
        with pytest.raises(BackboneError, match=r"the checkpoint of 'local/.*' cannot be read: "):
            resolve(f"local:{tmp_path / name}", tmp_path, arch="test_resnet")
    (tmp_path / "a.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(BackboneError, match="'local/a' are no readable safetensors file"):
        resolve(f"local:{tmp_path / 'a.safetensors'}", tmp_path, arch="test_resnet")


def test_what_is_missing_is_said(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"there is no file of weights '.*nowhere.safetensors'"):
        resolve(f"local:{tmp_path / 'nowhere.safetensors'}", tmp_path, arch="test_resnet")
    save_file(tensors, tmp_path / "a.safetensors")
    name = f"local:{tmp_path / 'a.safetensors'}"
    with pytest.raises(BackboneError, match=r"'a.safetensors' do not say what network they belong to") as caught:
        resolve(name, tmp_path)
    assert "--arch resnet50" in caught.value.hint
    with pytest.raises(BackboneError, match=r"timm [\d.]+\S* has no architecture 'resnt50'"):
        resolve(name, tmp_path, arch="resnt50")
    with pytest.raises(
        BackboneError, match=r"timm [\d.]+\S* has no weights 'resnet50.mine' whose preprocessing"
    ) as caught:
        resolve(name, tmp_path, arch="resnet50.mine")
    assert caught.value.hint == "Leave the tag out: --arch resnet50"


def test_an_import_of_an_older_version_gets_its_classifier(tmp_path: Path) -> None:
    import json

    folder = save_timm(tmp_path / "tiny")
    local = resolve(str(folder), tmp_path)
    record = json.loads((local.folder / "spec.json").read_text())
    assert record.pop("source_head")
    (local.folder / "spec.json").write_text(json.dumps(record))
    (local.folder / "source_head.safetensors").unlink()
    assert source_head(local) is None
    assert resolve(str(folder), tmp_path) == local
    assert source_head(local) is not None
    assert [each.name for each in (tmp_path / "backbones").iterdir()] == [local.folder.name]


def test_a_changed_classifier_is_noticed(tmp_path: Path) -> None:
    local = resolve(str(save_timm(tmp_path / "tiny")), tmp_path)
    with (local.folder / "source_head.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(
        BackboneError, match=r"the file 'source_head.safetensors' of the backbone 'local/tiny' was chan"
    ):
        source_head(local)


def test_a_classifier_that_is_not_one_linear_layer_is_not_kept(tmp_path: Path) -> None:
    """A distilled DeiT answers with the mean of two classifiers on two tokens."""
    with torch.random.fork_rng(devices=[]):
        network = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False)
    save_file(dict(network.state_dict()), tmp_path / "a.safetensors")
    local = resolve(f"local:{tmp_path / 'a.safetensors'}", tmp_path, arch="deit_tiny_distilled_patch16_224")
    assert source_head(local) is None
