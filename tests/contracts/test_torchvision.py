"""Networks of torchvision, and weights alone in a file, keep the promises of every backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from safetensors.torch import save_file
from tests.unit.backbones.tiny import random_torchvision, save_torchvision

from headstart.backbones.resolve import Local, resolve
from headstart.testing.backbones import BACKBONE_CHECKS

SMALL = ["mobilenet_v3_small", "squeezenet1_1", "resnet18"]
SLOW = ["swin_t", "vit_b_32", "inception_v3", "densenet121", "convnext_tiny", "maxvit_t"]
NAMES = ["file", *SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Local]]:
    home, torch_home = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("torch")
    known: dict[str, Local] = {}
    with pytest.MonkeyPatch.context() as patch:

        def find(name: str) -> Local:
            if name not in known and name == "file":
                network = random_torchvision("shufflenet_v2_x0_5", num_classes=3)
                save_file(dict(network.state_dict()), home / "mine.safetensors")
                file = f"local:{home / 'mine.safetensors'}"
                known[name] = resolve(file, home, arch="torchvision/shufflenet_v2_x0_5")
            elif name not in known:
                save_torchvision(torch_home, name, patch)
                known[name] = resolve(f"torchvision/{name}", home)
            return known[name]

        yield find


@pytest.mark.parametrize("check", BACKBONE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_promises(name: str, check: Callable[[Local], None], found: Callable[[str], Local]) -> None:
    check(found(name))
