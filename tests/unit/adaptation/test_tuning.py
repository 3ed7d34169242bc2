"""What a training made is kept whole, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart._fingerprint import sha256_bytes
from headstart._progress import SILENT
from headstart.adaptation import tuning
from headstart.adaptation.epochs import Epoch, History, Scores
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.tuning import Tuned, keep_tuned, kept_tuned, open_body, write_tuned
from headstart.backbones.resolve import Local, resolve
from headstart.backbones.stages import cut
from headstart.data.dataset import Items
from headstart.errors import OutputError
from headstart.features.extract import Compute


@pytest.fixture
def local(tmp_path: Path) -> Local:
    return resolve(str(save_timm(tmp_path / "saved", "test_efficientnet")), tmp_path)


@pytest.fixture
def tuned(local: Local, tmp_path: Path) -> Tuned:
    parts = cut(local, 1)
    for weight in parts.trained.values():
        weight.data += 0.01
    head = LinearHead(np.ones((2, 4), dtype=np.float32), np.zeros(2, dtype=np.float32))
    epochs = (Epoch(1, Scores(0.5, 0.9), None, 1e-3, 1e-4, 1.0, 2.0),)
    moved = write_tuned(local, parts, tmp_path / "tuned", how="finetune")
    logits, directions = np.eye(5, 2, dtype=np.float32), np.eye(5, 4, dtype=np.float16)
    return Tuned(moved, head, logits, History(epochs, "all 1 epochs", 1), {"epochs": 1}, directions)


def test_it_comes_back_as_it_was(tuned: Tuned, tmp_path: Path) -> None:
    keep_tuned(tuned, tmp_path / "a.tuned")
    again = kept_tuned(tmp_path / "a.tuned", tmp_path / "tuned")
    assert again is not None
    assert again.local.spec == tuned.local.spec
    assert (again.history, again.chosen) == (tuned.history, tuned.chosen)
    np.testing.assert_array_equal(again.logits, tuned.logits)
    np.testing.assert_array_equal(again.head.weight, tuned.head.weight)
    assert again.directions is not None
    assert again.directions.dtype == np.float16
    np.testing.assert_array_equal(again.directions, tuned.directions)


def test_what_an_older_version_kept_has_no_directions(tuned: Tuned, tmp_path: Path) -> None:
    keep_tuned(replace(tuned, directions=None), tmp_path / "a.tuned")
    again = kept_tuned(tmp_path / "a.tuned", tmp_path / "tuned")
    assert again is not None
    assert again.directions is None
    np.testing.assert_array_equal(again.logits, tuned.logits)


def test_a_part_that_is_missing_torn_or_another_makes_all_of_it_missing(
    tuned: Tuned, local: Local, tmp_path: Path
) -> None:
    file, folder = tmp_path / "a.tuned", tmp_path / "tuned"
    assert kept_tuned(file, folder) is None
    keep_tuned(tuned, file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert kept_tuned(file, folder) is None
    file.write_bytes(whole)
    assert kept_tuned(file, tmp_path / "nowhere") is None
    write_tuned(local, cut(local, 1), folder, how="finetune")  # weights of another training
    assert kept_tuned(file, folder) is None


def test_a_full_disk_is_said_and_leaves_nothing(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    state = tmp_path / "state.training"
    state.touch()
    monkeypatch.setattr(tuning, "save_file", full)
    with pytest.raises(OutputError, match="cannot be kept"):
        keep_tuned(replace(tuned, states=(state,)), tmp_path / "a.tuned")
    assert list(tmp_path.glob("a.*")) == []
    assert state.exists(), "the training must go on from there"


def test_what_only_a_kill_would_have_needed_goes_once_all_is_kept(tuned: Tuned, tmp_path: Path) -> None:
    states = (tmp_path / "one.training", tmp_path / "other.training")
    for state in states:
        state.touch()
    keep_tuned(replace(tuned, states=states), tmp_path / "a.tuned")
    assert not any(state.exists() for state in states)
    again = kept_tuned(tmp_path / "a.tuned", tmp_path / "tuned")
    assert again is not None
    assert again.states == ()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_full_disk_is_said_whoever_notices_it(local: Local, tmp_path: Path, error: Exception) -> None:
    def full(folder: Path) -> None:
        raise error

    parts = replace(cut(local, 1), save=full)
    with pytest.raises(OutputError, match=r"tuned backbone cannot be written to '.*': No space left on device") as said:
        write_tuned(local, parts, tmp_path / "tuned", how="finetune")
    assert "goes on from the last epoch" in said.value.hint


def test_features_of_texts_of_any_length_come_in_the_order_asked_for(tmp_path: Path) -> None:
    local = resolve(str(save_bert(tmp_path / "saved")), tmp_path)
    values = tuple(" ".join(["good", "bad", "film"] * n) for n in (3, 1, 7, 2, 5, 1, 9, 4))
    items = Items("text", values, tuple(map(str, range(8))), tuple(sha256_bytes(v.encode()) for v in values))
    body = open_body(
        *(local, items),
        n_stages=1,
        n_views=1,
        seed=0,
        compute=Compute(),
        scratch=tmp_path / "scratch",
        progress=SILENT,
    )
    rows = np.array([6, 1, 0, 5, 2, 7])
    alone = np.concatenate([body.features(rows[at : at + 1]) for at in range(len(rows))])
    np.testing.assert_allclose(body.features(rows, batch_size=4), alone, atol=1e-5)
    assert np.linalg.norm(alone[:, None] - alone[None], axis=2)[~np.eye(6, dtype=bool)].max() > 1e-3
