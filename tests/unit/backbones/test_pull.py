"""Fetching ahead, from a hub that runs on this machine: what is said, recorded, verified and refused."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.backbones.fake_hub import FakeHub
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart.backbones import locate
from headstart.backbones.catalogue import entries
from headstart.backbones.presence import places
from headstart.backbones.pull import pull
from headstart.backbones.resolve import load, resolve
from headstart.errors import BackboneError, OfflineError
from headstart.testing.backbones import example

NAME = "timm/test_resnet.r160_in1k"


class Said:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Said]:
        self._done = 0
        yield self
        self.steps.append((title, total, self._done))

    def advance(self, steps: int = 1) -> None:
        self._done += steps


@pytest.fixture
def hub(empty_hub: FakeHub, tmp_path: Path) -> FakeHub:
    empty_hub.publish(NAME, save_timm(tmp_path / "first"))
    return empty_hub


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: False)


def other_weights(folder: Path) -> Path:
    """A network as it was saved, with one weight changed."""
    from safetensors.numpy import load_file, save_file

    save_timm(folder)
    weights = load_file(folder / "model.safetensors")
    first = next(name for name, values in weights.items() if values.dtype == np.float32)
    weights[first] += 1.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_size_and_licence_are_said_before_and_what_came_is_recorded(hub: FakeHub, tmp_path: Path) -> None:
    said = Said()
    local = pull(NAME, tmp_path, progress=said)
    folder = tmp_path / "first"
    n_bytes = sum((folder / name).stat().st_size for name in ("config.json", "model.safetensors"))
    assert said.lines == [f"{NAME}: {n_bytes / 1e6:.1f} MB, licence apache-2.0"]
    ((title, total, done),) = said.steps
    assert title == f"fetching {NAME}, MB"
    assert done == total == -(-n_bytes // 10**6)
    commit = hub.commit_of(NAME, "main")
    assert local.spec.source.revision == commit
    pin = json.loads(next((tmp_path / "pins").iterdir()).read_text())
    assert (pin["name"], pin["revision"]) == (NAME, commit)
    assert pin["sha256"]["model.safetensors"] == local.spec.source.sha256
    assert load(local).forward(example(local, 1)).shape == (1, local.spec.width)


@pytest.mark.usefixtures("hub", "offline")
def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(OfflineError, match="must be fetched from the Hugging Face hub, and the hub cannot be reached"):
        pull(NAME, tmp_path)


@pytest.mark.usefixtures("hub")
def test_what_was_pulled_needs_neither_hub_nor_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pull(NAME, tmp_path)
    shutil.rmtree(tmp_path / "hub-cache")
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: False)
    assert pull(NAME, tmp_path) == resolve(NAME, tmp_path) == first


def test_later_loads_ask_the_hub_nothing(hub: FakeHub, tmp_path: Path) -> None:
    first = pull(NAME, tmp_path)
    hub.publish(NAME, other_weights(tmp_path / "second"))
    shutil.rmtree(tmp_path / "hub-cache")
    hub.asked.clear()
    assert resolve(NAME, tmp_path) == first
    assert hub.asked == []


def test_a_second_pull_of_the_same_fetches_nothing(hub: FakeHub, tmp_path: Path) -> None:
    first = pull(NAME, tmp_path)
    hub.fetched.clear()
    said = Said()
    assert pull(NAME, tmp_path, progress=said) == first
    assert (hub.fetched, said.steps) == ([], [])


def test_weights_that_changed_are_refused_until_they_are_accepted(hub: FakeHub, tmp_path: Path) -> None:
    first = pull(NAME, tmp_path)
    newest = hub.publish(NAME, other_weights(tmp_path / "second"))
    with pytest.raises(BackboneError, match=r"the file 'model.safetensors' of '.*' has changed since it was") as caught:
        pull(NAME, tmp_path)
    assert caught.value.hint == f"If you trust the change: headstart backbones pull {NAME} --accept"
    assert resolve(NAME, tmp_path) == first
    accepted = pull(NAME, tmp_path, accept=True)
    assert accepted.spec.source.revision == newest
    assert accepted.spec.source.sha256 != first.spec.source.sha256
    assert resolve(NAME, tmp_path) == accepted
    assert not np.allclose(load(accepted).forward(example(first, 1)), load(first).forward(example(first, 1)))


def test_a_first_use_records_too_and_comes_back_to_its_revision(hub: FakeHub, tmp_path: Path) -> None:
    first = resolve(NAME, tmp_path)
    hub.publish(NAME, other_weights(tmp_path / "second"))
    shutil.rmtree(first.folder)
    assert resolve(NAME, tmp_path) == first


def test_a_file_of_the_cache_that_was_changed_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    first = pull(NAME, tmp_path)
    shutil.rmtree(first.folder)
    weights = next((tmp_path / "hub-cache").rglob("model.safetensors")).resolve()
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BackboneError, match=r"its sha256 was [0-9a-f]{16}…, and now it is [0-9a-f]{16}…"):
        resolve(NAME, tmp_path)


def test_a_revision_is_part_of_the_name(hub: FakeHub, tmp_path: Path) -> None:
    old = hub.commit_of(NAME, "main")
    hub.publish(NAME, other_weights(tmp_path / "second"), tag="v2")
    at_commit = resolve(f"{NAME}@{old}", tmp_path)
    at_tag = resolve(f"{NAME}@v2", tmp_path)
    assert at_commit.spec.source.revision == old
    assert at_commit.spec.source.sha256 != at_tag.spec.source.sha256
    assert resolve(NAME, tmp_path).spec.source.sha256 == at_tag.spec.source.sha256


@pytest.mark.parametrize("fetch", [pull, resolve])
def test_a_revision_that_does_not_exist_says_so(hub: FakeHub, tmp_path: Path, fetch: type[pull]) -> None:
    with pytest.raises(BackboneError, match=rf"the repository '{NAME}' of the Hugging Face hub has no revision 'v9'"):
        fetch(f"{NAME}@v9", tmp_path)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("fetch", [pull, resolve])
def test_a_repository_that_does_not_exist_says_so(tmp_path: Path, fetch: type[pull]) -> None:
    with pytest.raises(BackboneError, match="has no repository 'some/body', or shows it only to its members"):
        fetch("hf/some/body", tmp_path)


@pytest.mark.parametrize("fetch", [pull, resolve])
@pytest.mark.parametrize("status", [401, 403])
def test_a_licence_that_must_be_accepted_says_where(
    hub: FakeHub, tmp_path: Path, status: int, fetch: type[pull]
) -> None:
    hub.gated[NAME] = status
    with pytest.raises(BackboneError, match="only to those who have accepted its licence") as caught:
        fetch(NAME, tmp_path)
    assert f"https://huggingface.co/{NAME}" in caught.value.hint
    assert hub.fetched == []


@pytest.mark.parametrize("fetch", [pull, resolve])
def test_a_private_repository_says_how_to_log_in(hub: FakeHub, tmp_path: Path, fetch: type[pull]) -> None:
    hub.private.add(NAME)
    with pytest.raises(BackboneError, match=f"has no repository '{NAME}', or shows it only to its members") as caught:
        fetch(NAME, tmp_path)
    assert "hf auth login" in caught.value.hint


def test_a_repository_without_weights_says_what_to_do(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "config.json").write_text("{}")
    hub.publish(NAME, tmp_path / "second")
    with pytest.raises(BackboneError, match=r"lacks model.safetensors, and has no pytorch_model.bin in its"):
        pull(NAME, tmp_path)
    assert not (tmp_path / "pins").exists()


def test_texts_come_the_same_way(hub: FakeHub, tmp_path: Path) -> None:
    hub.publish("some/bert", save_bert(tmp_path / "bert"))
    local = pull("hf/some/bert", tmp_path)
    assert load(local).forward(["a small bird"]).shape == (1, local.spec.width)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(hub.fetched)


@pytest.mark.usefixtures("hub")
def test_a_record_that_is_damaged_is_told(tmp_path: Path) -> None:
    pull(NAME, tmp_path)
    next((tmp_path / "pins").iterdir()).write_text("{")
    with pytest.raises(BackboneError, match=r"the record of what '.*' stood for, '.*', cannot be read"):
        resolve(NAME, tmp_path)


@pytest.mark.usefixtures("hub")
def test_a_record_of_another_name_is_not_taken_for_this_one(tmp_path: Path) -> None:
    pull(NAME, tmp_path)
    record = next((tmp_path / "pins").iterdir())
    record.write_text(record.read_text().replace(NAME, "timm/other"))
    with pytest.raises(BackboneError, match=rf"says what 'timm/other' stood for, and not '{NAME}'"):
        resolve(NAME, tmp_path)


def test_a_file_that_was_added_is_refused_until_it_is_accepted(hub: FakeHub, tmp_path: Path) -> None:
    name, folder = "hf/some/bert", save_bert(tmp_path / "bert")
    hub.publish("some/bert", folder)
    first = pull(name, tmp_path)
    more = shutil.copytree(folder, tmp_path / "more")
    prompts = {"prompts": {"query": "query: "}}
    (more / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    hub.publish("some/bert", more)
    with pytest.raises(BackboneError, match=r"has 'config_sentence_transformers.json' now, which was not") as caught:
        pull(name, tmp_path)
    assert caught.value.hint == f"If you trust the change: headstart backbones pull {name} --accept"
    assert resolve(name, tmp_path) == first
    accepted = pull(name, tmp_path, accept=True)
    assert accepted.spec.text is not None
    assert accepted.spec.text.prompt == "query: "


def test_a_recorded_commit_is_looked_for_in_the_recorded_repository(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of timm may have other default weights for an architecture."""
    from headstart.backbones.loaders import timm_images

    hub.publish("timm/test_resnet.newer", other_weights(tmp_path / "newer"))
    monkeypatch.setattr(timm_images, "hub_repository", lambda architecture: NAME)
    first = resolve("timm/test_resnet", tmp_path)
    monkeypatch.setattr(timm_images, "hub_repository", lambda architecture: "timm/test_resnet.newer")
    shutil.rmtree(first.folder)
    assert resolve("timm/test_resnet", tmp_path) == first


def test_a_fetch_that_is_stopped_ends_and_leaves_nothing_running(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    before, stop = set(threading.enumerate()), threading.Event()
    counted = locate._counting_bars

    def stop_at_the_first_bytes(on_bytes: Callable[[int], None]) -> type[Any]:
        def count(n_more: int) -> None:
            stop.set()
            on_bytes(n_more)

        return counted(count)

    monkeypatch.setattr(locate, "_counting_bars", stop_at_the_first_bytes)
    with pytest.raises(BackboneError, match=f"fetching '{NAME}' was stopped"):
        pull(NAME, tmp_path, stop=stop)
    left = [each for each in set(threading.enumerate()) - before if "process_request" not in each.name]
    assert left == []
    assert not (tmp_path / "pins").exists()
    monkeypatch.setattr(locate, "_counting_bars", counted)
    assert pull(NAME, tmp_path).spec.name == NAME


def test_what_is_stopped_before_it_began_fetches_nothing(hub: FakeHub, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(BackboneError, match="was stopped"):
        pull(NAME, tmp_path, stop=stop)
    assert hub.fetched == []


def test_where_weights_lie_is_found(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    image = replace(entries()["timm/resnet18.a1_in1k"], name=NAME, repository=NAME)
    torchvision = replace(entries()["torchvision/vgg16.IMAGENET1K_V1"], file="vgg16-00000000.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert places([image, torchvision], tmp_path) == {}
    local = pull(NAME, tmp_path)
    assert places([image], tmp_path) == {NAME: "home"}
    shutil.rmtree(local.folder)
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    (tmp_path / "torch/hub/checkpoints/vgg16-00000000.pth").touch()
    assert places([image, torchvision], tmp_path) == {NAME: "hub cache", torchvision.name: "torch cache"}
