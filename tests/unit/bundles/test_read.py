"""Opening a bundle: nothing is believed that was not checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from bundles import sample
from headstart._fingerprint import sha256_file
from headstart.bundles import open_bundle
from headstart.errors import BundleError


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that can be opened."""
    return sample.written(tmp_path)


def _edit(bundle: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def _head(bundle: Path, weight: np.ndarray, bias: np.ndarray) -> None:
    """Another head, whose hash is right."""
    (bundle / "head.safetensors").write_bytes(save({"weight": weight, "bias": bias}))
    _rehash(bundle, "head.safetensors")


def _rehash(bundle: Path, name: str) -> None:
    _edit(bundle, lambda manifest: manifest["files"].__setitem__(name, sha256_file(bundle / name)))


def _refused(bundle: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle)
    return caught.value


def test_a_run_and_its_bundle_open_alike(bundle: Path) -> None:
    assert open_bundle(bundle.parent).folder == bundle
    assert open_bundle(str(bundle)).manifest == open_bundle(bundle.parent).manifest


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    error = _refused(tmp_path / "nope")
    assert str(error) == f"{str(tmp_path / 'nope')!r} is no bundle and no run: there is no such folder"
    assert error.hint == "Give the folder that `headstart fit` wrote, or the bundle in it."


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    assert str(_refused(tmp_path)) == f"{str(tmp_path)!r} is no bundle and no run: it has no manifest.json"


@pytest.mark.parametrize(
    "name",
    [
        "head.safetensors",
        "README.md",
        *(f"backbones/0/{name}" for name in ("spec.json", "config.json", "model.safetensors")),
    ],
)
def test_one_changed_byte_in_any_file_is_noticed(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    error = _refused(bundle)
    assert f"the file {name!r} of the bundle {str(bundle)!r} is not the one that was written" in str(error)
    assert "(sha256 must begin with " in str(error)
    assert error.hint == "Copy the bundle again, or fit again."


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "README.md").unlink()
    assert str(_refused(bundle)) == f"the bundle {str(bundle)!r} lacks the file 'README.md'"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "backbones/../../secret", "..\\secret", "C:/secret", "a\0b", "", "."]
)
def test_a_manifest_cannot_name_files_outside(bundle: Path, name: str) -> None:
    (bundle.parent / "secret").write_text("secret")
    _edit(bundle, lambda manifest: manifest["files"].update({name: "0" * 64}))
    assert str(_refused(bundle)) == f"the bundle {str(bundle)!r} names a file outside of itself: {name!r}"


def test_a_backbone_cannot_lie_outside(bundle: Path) -> None:
    _edit(bundle, lambda manifest: manifest.update(backbones={"tiny": "../home/tiny"}))
    assert str(_refused(bundle)) == f"the manifest of {str(bundle)!r} does not cover '../home/tiny/spec.json'"


@pytest.mark.parametrize("name", ["head.safetensors", "backbones/0/spec.json", "backbones/0/model.safetensors"])
def test_a_file_that_matters_must_be_covered(bundle: Path, name: str) -> None:
    _edit(bundle, lambda manifest: manifest["files"].pop(name))
    assert str(_refused(bundle)) == f"the manifest of {str(bundle)!r} does not cover {name!r}"


def test_a_file_slipped_into_a_backbone_is_refused(bundle: Path) -> None:
    (bundle / "backbones" / "0" / "tokenizer.json").write_text("{}")
    assert "does not cover 'backbones/0/tokenizer.json'" in str(_refused(bundle))


def test_what_an_operating_system_leaves_behind_is_no_reason_to_refuse(bundle: Path) -> None:
    (bundle / "backbones" / "0" / ".DS_Store").write_text("")
    (bundle / "notes.txt").write_text("mine")
    assert open_bundle(bundle).manifest.classes == sample.CLASSES


def test_a_newer_schema_asks_for_an_update(bundle: Path) -> None:
    _edit(bundle, lambda manifest: manifest.update(schema="headstart.bundle/9", classes="not even a list"))
    error = _refused(bundle)
    assert str(error) == (
        f"the bundle {str(bundle)!r} has the schema 'headstart.bundle/9', "
        "and this version of headstart knows 'headstart.bundle/1', 'headstart.bundle/2', 'headstart.bundle/3'"
    )
    assert error.hint == "Update headstart: pip install --upgrade headstart"


def test_another_schema_does_not(bundle: Path) -> None:
    _edit(bundle, lambda manifest: manifest.pop("schema"))
    assert _refused(bundle).hint == "Copy the bundle again, or fit again."


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"classes": 3}, "$.classes"),
        ({"parts": [{"backbone": "tiny"}]}, "$.parts[0]"),
        ({"temperature": "warm"}, "$.temperature"),
        ({"precision": "float8"}, "$.precision"),
        ({"modality": "sound"}, "$.modality"),
        ({"files": ["head.safetensors"]}, "$.files"),
        ({"backbones": {"tiny": 0}}, "$.backbones"),
    ],
)
def test_a_manifest_with_wrong_types_says_where(bundle: Path, change: dict[str, Any], where: str) -> None:
    _edit(bundle, lambda manifest: manifest.update(change))
    error = _refused(bundle)
    assert str(error).startswith(f"the manifest of {str(bundle)!r} cannot be read: ")
    assert where in str(error)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_a_manifest_that_is_no_object(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_bytes(text.encode("latin-1"))
    assert str(_refused(bundle)).startswith(f"the manifest of {str(bundle)!r} cannot be read: ")


WEIGHT, BIAS = np.zeros((3, 8), dtype=np.float32), np.zeros(3, dtype=np.float32)
NAN = np.full((3, 8), np.nan, dtype=np.float32)


@pytest.mark.parametrize(
    ("weight", "bias", "problem"),
    [
        (WEIGHT[:2], BIAS, "3 classes and features of width 8 have a head of shape (2, 8) and (3,)"),
        (WEIGHT[:, :7], BIAS, "3 classes and features of width 8 have a head of shape (3, 7) and (3,)"),
        (WEIGHT, BIAS[:2], "3 classes and features of width 8 have a head of shape (3, 8) and (2,)"),
        (NAN, BIAS, "the head and its temperature must be finite numbers, the temperature above 0"),
    ],
)
def test_a_head_that_does_not_fit(bundle: Path, weight: np.ndarray, bias: np.ndarray, problem: str) -> None:
    _head(bundle, np.ascontiguousarray(weight), bias)
    assert str(_refused(bundle)) == f"the parts of {str(bundle)!r} do not fit together: {problem}"


NEIGHBOURS = {
    "mean": np.zeros(8, dtype=np.float32),
    "scale": np.ones(8, dtype=np.float32),
    "items": np.eye(4, 8, dtype=np.float32),
    "votes": np.eye(4, 3, dtype=np.float32),
    "k": np.array(2),
}


def _neighbours(bundle: Path, changes: dict[str, np.ndarray | None]) -> None:
    arrays = {name: each for name, each in (NEIGHBOURS | changes).items() if each is not None}
    (bundle / "head.safetensors").write_bytes(save(arrays))
    _rehash(bundle, "head.safetensors")
    _edit(bundle, lambda manifest: manifest.update(head="neighbours", schema="headstart.bundle/2"))


def test_a_head_that_is_not_linear(bundle: Path) -> None:
    _neighbours(bundle, {})
    head = open_bundle(bundle).predictor.head
    assert head.kind == "neighbours"
    assert int(head.k) == 2
    assert head.logits(np.eye(8)).shape == (8, 3)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"k": np.array(0)}, "do not fit together: 3 classes and features of width 8 have a head of shape (8,) and"),
        ({"k": np.array(5)}, "do not fit together: "),
        ({"k": np.array([2])}, "do not fit together: "),
        ({"votes": np.eye(3, 3, dtype=np.float32)}, "do not fit together: "),
        ({"items": np.eye(4, 7, dtype=np.float32)}, "do not fit together: "),
        ({"mean": np.full(8, np.inf, dtype=np.float32)}, "must be finite numbers"),
        ({"votes": None}, "cannot be read: 'votes'"),
    ],
)
def test_a_head_that_is_not_linear_and_does_not_fit(
    bundle: Path, changes: dict[str, np.ndarray | None], problem: str
) -> None:
    _neighbours(bundle, changes)
    assert problem in str(_refused(bundle))


@pytest.fixture
def doubting(tmp_path: Path) -> Path:
    """A bundle with sets and a gate."""
    return sample.doubting(tmp_path)


def test_a_bundle_of_an_older_version_has_neither_sets_nor_gate(doubting: Path) -> None:
    for name in ("sets.safetensors", "gate.safetensors"):
        (doubting / name).unlink()
        _edit(doubting, lambda manifest, name=name: manifest["files"].pop(name))
    for name in ("n_held_out", "gate"):
        _edit(doubting, lambda manifest, name=name: manifest.pop(name))
    bundle = open_bundle(doubting)
    assert (bundle.held_out, bundle.gate) == (None, None)


@pytest.mark.parametrize("name", ["sets.safetensors", "gate.safetensors"])
def test_sets_and_gate_are_covered_and_as_written(doubting: Path, name: str) -> None:
    content = bytearray((doubting / name).read_bytes())
    content[-1] ^= 1
    (doubting / name).write_bytes(content)
    assert f"the file {name!r} of the bundle" in str(_refused(doubting))
    _edit(doubting, lambda manifest: manifest["files"].pop(name))
    assert str(_refused(doubting)) == f"the manifest of {str(doubting)!r} does not cover {name!r}"


SCORES, WEIGHTS = np.linspace(0, 1, 50), np.ones(50)


@pytest.mark.parametrize(
    "arrays",
    [
        {"scores": SCORES[::-1].copy(), "weights": WEIGHTS},
        {"scores": SCORES[:49].copy(), "weights": WEIGHTS[:49].copy()},
        {"scores": SCORES, "weights": 0 * WEIGHTS},
        {"scores": SCORES, "weights": WEIGHTS[:49].copy()},
        {"scores": np.full(50, np.nan), "weights": WEIGHTS},
        {"scores": np.arange(50), "weights": WEIGHTS},
    ],
)
def test_scores_that_promise_nothing(doubting: Path, arrays: dict[str, np.ndarray]) -> None:
    (doubting / "sets.safetensors").write_bytes(save(arrays))
    _rehash(doubting, "sets.safetensors")
    assert str(_refused(doubting)) == (
        f"the prediction sets of {str(doubting)!r} need 50 scores in order, each with a weight"
    )


def test_files_of_sets_and_gate_that_hold_something_else(doubting: Path) -> None:
    for name in ("sets.safetensors", "gate.safetensors"):
        kept = (doubting / name).read_bytes()
        for content in (save({"other": np.zeros(3)}), b"no safetensors"):
            (doubting / name).write_bytes(content)
            _rehash(doubting, name)
            assert f"the file {name!r} of {str(doubting)!r} cannot be read: " in str(_refused(doubting))
        (doubting / name).write_bytes(kept)
        _rehash(doubting, name)


@pytest.mark.parametrize(
    ("facts", "references"),
    [
        ({}, np.zeros((4, 4), np.float16)),
        ({}, np.zeros((0, 5), np.float16)),
        ({}, np.zeros(5, np.float16)),
        ({}, np.full((4, 5), np.inf, np.float16)),
        ({"backbones": ["other"]}, None),
        ({"backbones": []}, None),
        ({"threshold": -1.0}, None),
        ({"neighbours": 0}, None),
    ],
)
def test_a_gate_that_does_not_fit(doubting: Path, facts: dict[str, Any], references: np.ndarray | None) -> None:
    _edit(doubting, lambda manifest: manifest["gate"].update(facts))
    if references is not None:
        (doubting / "gate.safetensors").write_bytes(save({"references": references}))
        _rehash(doubting, "gate.safetensors")
    assert f"the gate of {str(doubting)!r} does not fit its backbones: " in str(_refused(doubting))


def test_a_kind_of_head_that_nobody_knows(bundle: Path) -> None:
    _edit(bundle, lambda manifest: manifest.update(head="oracle"))
    assert str(_refused(bundle)) == f"the head of {str(bundle)!r} cannot be read: 'oracle'"


def test_a_head_that_is_no_safetensors_file(bundle: Path) -> None:
    (bundle / "head.safetensors").write_bytes(b"pickle")
    _rehash(bundle, "head.safetensors")
    assert str(_refused(bundle)).startswith(f"the head of {str(bundle)!r} cannot be read: ")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"temperature": 0}, "finite numbers, the temperature above 0"),
        ({"temperature": -1}, "finite numbers, the temperature above 0"),
        ({"classes": ["cat", "cat", "owl"]}, "at least two different classes are needed"),
        ({"classes": []}, "at least two different classes are needed"),
        ({"parts": [{"backbone": "other", "layer": "last"}]}, "no backbone 'other' with a layer 'last' is in it"),
        ({"parts": [{"backbone": "tiny", "layer": "top"}]}, "no backbone 'tiny' with a layer 'top' is in it"),
        ({"modality": "text"}, "'tiny' sees images, and the bundle texts"),
    ],
)
def test_parts_that_do_not_belong_together(bundle: Path, change: dict[str, Any], problem: str) -> None:
    _edit(bundle, lambda manifest: manifest.update(change))
    assert problem in str(_refused(bundle))


def test_a_backbone_without_a_readable_spec(bundle: Path) -> None:
    (bundle / "backbones" / "0" / "spec.json").write_text("{}")
    _rehash(bundle, "backbones/0/spec.json")
    assert "the backbone 'backbones/0' of" in str(_refused(bundle))


def test_a_file_that_cannot_be_read_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("headstart.bundles.read.sha256_file", denied)
    error = _refused(bundle)
    assert "cannot be read: Permission denied" in str(error)
    assert error.hint == "Check who may read it."


@pytest.fixture
def of_several(tmp_path: Path) -> Path:
    """A bundle with two heads."""
    return sample.of_pixels(tmp_path, several=True)


def test_each_of_several_heads_must_be_covered(of_several: Path) -> None:
    _edit(of_several, lambda manifest: manifest["files"].pop("heads/1.safetensors"))
    assert str(_refused(of_several)) == f"the manifest of {str(of_several)!r} does not cover 'heads/1.safetensors'"


def test_one_changed_byte_in_any_head_is_noticed(of_several: Path) -> None:
    content = bytearray((of_several / "heads" / "1.safetensors").read_bytes())
    content[-1] ^= 1
    (of_several / "heads" / "1.safetensors").write_bytes(content)
    assert "the file 'heads/1.safetensors' of the bundle" in str(_refused(of_several))


@pytest.mark.parametrize("weights", [(0.5, 0.6), (1.0, 0.0), (1.5, -0.5)])
def test_weights_that_are_no_average(of_several: Path, weights: tuple[float, float]) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for head, weight in zip(manifest["heads"], weights, strict=True):
            head["weight"] = weight

    _edit(of_several, change)
    assert str(_refused(of_several)) == (
        f"the parts of {str(of_several)!r} do not fit together: the weights of heads must be above 0 and sum to 1, "
        f"but they are {list(weights)}"
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"temperature": 0.0}, "finite numbers, the temperature above 0"),
        ({"parts": [{"backbone": "other", "layer": "last"}]}, "no backbone 'other' with a layer 'last' is in it"),
        ({"head": "linear"}, "3 classes and features of width 768 have a head of shape (3, 4) and (3,)"),
        ({"head": "oracle"}, "cannot be read: 'oracle'"),
        ({"file": "../secret"}, "does not cover '../secret'"),
    ],
)
def test_each_of_several_heads_must_fit(of_several: Path, change: dict[str, Any], problem: str) -> None:
    _edit(of_several, lambda manifest: manifest["heads"][1].update(change))
    assert problem in str(_refused(of_several))
