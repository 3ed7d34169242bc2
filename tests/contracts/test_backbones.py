"""Every kind of backbone keeps the same promises."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart.backbones.catalogue import catalogue
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local, resolve
from headstart.testing.backbones import BACKBONE_CHECKS, check_backbone

SAVED: dict[str, Callable[[Path], Path]] = {
    "test_resnet": lambda folder: save_timm(folder, "test_resnet"),
    "test_vit": lambda folder: save_timm(folder, "test_vit", img_size=64),
    "test_efficientnet": lambda folder: save_timm(folder, "test_efficientnet"),
    "bert": save_bert,
    "roberta": lambda folder: save_bert(folder, kind="roberta"),
}
NAMES = ["pixels", *catalogue(), *SAVED]
SLOW = {"efficientnet_lite1", "efficientnet_lite2"}  # the same network as lite0, larger
MARKED = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Local]:
    home = tmp_path_factory.mktemp("home")

    def find(name: str) -> Local:
        if name == "pixels":
            return Local(PIXELS, home, {})
        if name in SAVED:
            folder = home / "saved" / name
            return resolve(str(folder if folder.exists() else SAVED[name](folder)), home)
        if importlib.util.find_spec(catalogue()[name].source.location) is None:
            pytest.skip("needs headstart[starter]")
        return resolve(name, home)

    return find


@pytest.mark.parametrize("check", BACKBONE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", MARKED)
def test_promises(name: str, check: Callable[[Local], None], found: Callable[[str], Local]) -> None:
    check(found(name))


def test_all_checks_are_listed_and_run(found: Callable[[str], Local]) -> None:
    import headstart.testing.backbones as suite

    written = {name for name in vars(suite) if name.startswith("check_")} - {"check_backbone", "check_preprocessing"}
    assert written == {check.__name__ for check in BACKBONE_CHECKS}
    assert check_backbone(found("pixels")) == len(BACKBONE_CHECKS) == 11
    assert len(NAMES) == 10
