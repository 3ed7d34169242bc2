"""Every family of networks that is run through transformers keeps the promises of a backbone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.backbones.tiny_transformers import TEXTS, TOWERS, save_text, save_tower

from headstart.backbones.resolve import Local, resolve
from headstart.testing.backbones import BACKBONE_CHECKS

KINDS = (*TEXTS, *TOWERS)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Local]:
    home = tmp_path_factory.mktemp("home")

    def find(kind: str) -> Local:
        folder = home / "saved" / kind
        if not folder.exists():
            (save_text if kind in TEXTS else save_tower)(folder, kind)
        return resolve(str(folder), home)

    return find


@pytest.mark.parametrize("check", BACKBONE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_promises(kind: str, check: Callable[[Local], None], found: Callable[[str], Local]) -> None:
    check(found(kind))


def test_all_families_run(found: Callable[[str], Local]) -> None:
    assert len(KINDS) == len(set(KINDS)) == 23
    assert sum(found(kind).spec.modality == "text" for kind in KINDS) == len(TEXTS) == 11
