"""Writing a bundle."""

from __future__ import annotations

import errno
import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bundles import sample
from headstart._fingerprint import sha256_file
from headstart.adaptation.heads.forms import Perceptron
from headstart.adaptation.predictor import Ensemble, Part
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import open_local, source_head, write_local
from headstart.backbones.source_head import SOURCE_HEAD
from headstart.bundles import open_bundle, write_bundle
from headstart.errors import OutputError
from headstart.features.extract import Features


def test_what_is_written_is_what_is_opened(tmp_path: Path) -> None:
    local = sample.tiny(tmp_path / "tiny")
    head = sample.predictor((Part("tiny", "last"), Part("tiny", "early")), 8)
    write_bundle(tmp_path / "bundle", head, {"tiny": local}, manifest=sample.manifest(head), card="card")
    bundle = open_bundle(tmp_path / "bundle")
    np.testing.assert_array_equal(bundle.predictor.head.weight, head.head.weight)
    np.testing.assert_array_equal(bundle.predictor.head.bias, head.head.bias)
    assert (bundle.predictor.classes, bundle.predictor.parts, bundle.predictor.temperature) == (
        head.classes,
        head.parts,
        head.temperature,
    )
    assert bundle.backbones["tiny"].spec == local.spec
    assert bundle.backbones["tiny"].folder == tmp_path / "bundle" / "backbones" / "0"


def test_a_linear_head_keeps_the_schema_that_older_versions_know(tmp_path: Path) -> None:
    local = sample.tiny(tmp_path / "tiny")
    head = sample.predictor((Part("tiny", "last"), Part("tiny", "early")), 8)
    perceptron = Perceptron(np.ones((4, 8)), np.zeros(4), np.ones((3, 4)), np.zeros(3))
    for each, kind, schema in ((head.head, "linear", 1), (perceptron, "perceptron", 2)):
        folder = write_bundle(
            tmp_path / kind, replace(head, head=each), {"tiny": local}, manifest=sample.manifest(head), card="card"
        )
        manifest = open_bundle(folder).manifest
        assert (manifest.head, manifest.schema) == (kind, f"headstart.bundle/{schema}")


def test_sets_and_gate_come_back_as_they_were(tmp_path: Path) -> None:
    folder = sample.doubting(tmp_path)
    bundle, held_out, gate = open_bundle(folder), sample.held_out(), sample.gate("tiny", 5)
    assert bundle.held_out is not None
    np.testing.assert_array_equal(bundle.held_out.scores, held_out.scores)
    np.testing.assert_array_equal(bundle.held_out.weights, held_out.weights)
    assert bundle.held_out.bound(0.9) == held_out.bound(0.9)
    assert bundle.gate is not None
    np.testing.assert_array_equal(bundle.gate.references, gate.references)
    assert bundle.gate.references.dtype == np.float16
    assert (bundle.gate.backbones, bundle.gate.threshold, bundle.gate.neighbours, bundle.gate.passes) == (
        gate.backbones,
        gate.threshold,
        gate.neighbours,
        gate.passes,
    )
    assert bundle.manifest.n_held_out == 50
    assert bundle.manifest.schema == "headstart.bundle/1"  # older versions predict from it as well
    assert {"sets.safetensors", "gate.safetensors"} <= set(bundle.manifest.files)


def test_a_bundle_without_them_has_none(tmp_path: Path) -> None:
    bundle = open_bundle(sample.written(tmp_path))
    assert (bundle.held_out, bundle.gate, bundle.manifest.n_held_out, bundle.manifest.gate) == (None, None, 0, None)


def test_several_heads_come_back_with_their_weights_and_say_the_same(tmp_path: Path) -> None:
    tiny, pixels = sample.tiny(tmp_path / "tiny"), sample.pixels(tmp_path / "pixels")
    (one, share), (two, rest) = sample.ensemble((Part("tiny", "last"), Part("tiny", "early")), 8).members
    other = sample.predictor((Part("pixels", "last"),), PIXELS.width)
    head = Ensemble(((one, share), (two, rest / 2), (other, rest / 2)))
    given = {"pixels": pixels, "tiny": tiny}
    folder = write_bundle(tmp_path / "bundle", head, given, manifest=sample.manifest(head), card="card")
    bundle = open_bundle(folder)
    assert (bundle.manifest.schema, bundle.manifest.head) == ("headstart.bundle/3", "ensemble")
    assert [each.head for each in bundle.manifest.heads] == ["linear", "perceptron", "linear"]
    assert sorted(bundle.backbones) == ["pixels", "tiny"]
    assert [weight for _, weight in bundle.predictor.members] == [share, rest / 2, rest / 2]
    assert bundle.predictor.parts == head.parts == bundle.manifest.parts
    rng = np.random.default_rng(0)
    seen = {
        local.spec.name: Features(
            local.spec, rng.normal(size=(5, local.spec.width)).astype(np.float32), np.ones(5, dtype=bool)
        )
        for local in given.values()
    }
    np.testing.assert_array_equal(bundle.predictor.probabilities(seen), head.probabilities(seen))


def test_a_bundle_with_one_head_is_written_as_before(tmp_path: Path) -> None:
    written = json.loads((sample.written(tmp_path) / "manifest.json").read_text())
    assert (written["schema"], written["head"], written["heads"]) == ("headstart.bundle/1", "linear", [])
    assert (written["temperature"], len(written["parts"])) == (1.5, 2)


def test_a_manifest_from_before_there_were_several_heads_is_read(tmp_path: Path) -> None:
    folder = sample.written(tmp_path)
    expected = open_bundle(folder).predictor
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["heads"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = open_bundle(folder).predictor
    np.testing.assert_array_equal(found.head.weight, expected.head.weight)


def test_the_source_classifier_stays_at_home(tmp_path: Path) -> None:
    local = sample.tiny(tmp_path / "tiny")
    save_file({"weight": np.zeros((2, 5), np.float32), "bias": np.zeros(2, np.float32)}, local.folder / SOURCE_HEAD)
    write_local(local.spec, local.folder)
    local = open_local(local.folder)
    assert source_head(local) is not None
    head = sample.predictor((Part("tiny", "last"),), 5)
    write_bundle(tmp_path / "bundle", head, {"tiny": local}, manifest=sample.manifest(head), card="card")
    assert not list((tmp_path / "bundle").rglob(SOURCE_HEAD))
    assert source_head(open_bundle(tmp_path / "bundle").backbones["tiny"]) is None


def test_the_manifest_has_the_sha256_of_every_other_file(tmp_path: Path) -> None:
    folder = sample.written(tmp_path)
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    found = {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
    found.pop("manifest.json")
    assert listed == found
    assert set(listed) == {
        "head.safetensors",
        "README.md",
        *(f"backbones/0/{name}" for name in ("spec.json", "config.json", "model.safetensors")),
    }


def test_only_backbones_that_the_head_needs_are_shipped(tmp_path: Path) -> None:
    tiny, pixels = sample.tiny(tmp_path / "tiny"), sample.pixels(tmp_path / "pixels")
    head = sample.predictor((Part("tiny", "last"),), 5)
    given = {"pixels": pixels, "tiny": tiny}
    folder = write_bundle(tmp_path / "bundle", head, given, manifest=sample.manifest(head), card="")
    assert list(open_bundle(folder).backbones) == ["tiny"]


def test_editing_a_bundle_in_place_leaves_the_cache_alone(tmp_path: Path) -> None:
    folder = sample.written(tmp_path)
    with (folder / "backbones" / "0" / "model.safetensors").open("r+b") as file:
        file.write(b"W")
    assert (tmp_path / "home" / "tiny" / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.skipif(not hasattr(stat, "S_IMODE"), reason="modes are POSIX")
def test_every_file_may_be_read_by_whoever_may_read_the_others(tmp_path: Path) -> None:
    folder = sample.written(tmp_path)
    (tmp_path / "plain").write_text("")
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {usual}


def test_a_full_disk_is_an_output_error_and_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputError) as caught:
        sample.written(tmp_path)
    assert str(caught.value) == (
        f"the bundle cannot be written to {str(tmp_path / 'bundle')!r}: No space left on device"
    )
    assert "the features that were computed are kept" in caught.value.hint
    assert not (tmp_path / "bundle" / "manifest.json").exists()
