"""A network in two parts gives what the whole one gives, and a gradient reaches what lies above the cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart.backbones.loaders import timm_images
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local, load, open_local, resolve, write_local
from headstart.backbones.stages import Cut, cut
from headstart.errors import BackboneError, OptionError
from headstart.testing.backbones import example

SAVED: dict[str, Callable[[Path], Path]] = {
    "test_resnet": lambda folder: save_timm(folder, "test_resnet"),
    "test_vit": lambda folder: save_timm(folder, "test_vit", img_size=64),
    "test_efficientnet": lambda folder: save_timm(folder, "test_efficientnet"),
    "test_convnext": lambda folder: save_timm(folder, "test_convnext"),
    "test_nfnet": lambda folder: save_timm(folder, "test_nfnet"),
    "regnetx_002": lambda folder: save_timm(folder, "regnetx_002"),
    "mobilenetv3_small_050": lambda folder: save_timm(folder, "mobilenetv3_small_050"),
    "bert": save_bert,
    "roberta": lambda folder: save_bert(folder, kind="roberta"),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Local]:
    home = tmp_path_factory.mktemp("home")

    def find(name: str) -> Local:
        folder = home / "saved" / name
        return resolve(str(folder if folder.exists() else SAVED[name](folder)), home)

    return find


def last_of(parts: Cut, batch: object) -> np.ndarray:
    activations, lengths = parts.lower(batch)  # type: ignore[arg-type]
    return parts.upper(activations, lengths).detach().numpy()


@pytest.mark.parametrize("n_stages", [1, 2])
@pytest.mark.parametrize("name", SAVED)
def test_the_two_parts_together_are_the_whole_network(name: str, n_stages: int, found: Callable[[str], Local]) -> None:
    local = found(name)
    batch = example(local, 3)
    expected = load(local).forward(batch)[:, -local.spec.layers[-1].width :]
    parts = cut(local, n_stages)
    assert len(parts.stages) == n_stages
    together = last_of(parts, batch)
    assert np.linalg.norm(together - expected) <= 1e-5 * np.linalg.norm(expected)


def test_all_kinds_were_cut() -> None:
    assert len(SAVED) == 9


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "bert"])
def test_a_deeper_cut_trains_more_and_never_all(name: str, found: Callable[[str], Local]) -> None:
    few, more = cut(found(name), 1), cut(found(name), 2)
    in_stages = sum(1 for _ in more.stages[0].parameters())
    assert len(more.trained) - len(few.trained) == in_stages > 0
    assert len(more.trained) < sum(1 for _ in more.network.parameters())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "bert"])
def test_what_is_saved_is_the_network_with_its_new_weights(
    name: str, found: Callable[[str], Local], tmp_path: Path
) -> None:
    local = found(name)
    parts, batch = cut(local, 1), example(local, 2)
    before = last_of(parts, batch)
    with torch.no_grad():
        for weight in parts.trained.values():
            weight.mul_(1.1)
    after = last_of(parts, batch)
    parts.save(tmp_path)
    write_local(local.spec, tmp_path)
    saved = load(open_local(tmp_path)).forward(batch)[:, -after.shape[1] :]
    assert np.linalg.norm(saved - after) <= 1e-5 * np.linalg.norm(after)
    assert np.linalg.norm(saved - before) > 1e-3 * np.linalg.norm(before)
    again = load(local).forward(batch)[:, -after.shape[1] :]
    assert np.linalg.norm(again - before) <= 1e-5 * np.linalg.norm(before), "the original must stay"


def test_a_shorter_text_does_not_feel_the_padding(found: Callable[[str], Local]) -> None:
    parts = cut(found("bert"), 1)
    alone = last_of(parts, ["a bird"])
    together = last_of(parts, ["a bird", "the small red old bird sleeps under trees"])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_too_many_stages_are_refused_with_how_many_there_are(found: Callable[[str], Local]) -> None:
    for n_stages in (0, 3):
        with pytest.raises(OptionError, match=f"must be from 1 to 2, but got {n_stages}"):
            cut(found("bert"), n_stages)


def test_a_network_without_stages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="the weights of 'pixels' cannot be moved"):
        cut(Local(PIXELS, tmp_path, {}), 1)


def test_parts_that_do_not_make_the_whole_are_refused(
    found: Callable[[str], Local], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages_in_order = timm_images._stages_in_order
    monkeypatch.setattr(timm_images, "_stages_in_order", lambda network: (stages_in_order(network)[0], []))
    with pytest.raises(BackboneError, match="cannot be run in two parts"):
        cut(found("test_efficientnet"), 1)
