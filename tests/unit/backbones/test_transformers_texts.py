"""Text encoders from the folders that transformers and sentence-transformers write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tests.unit.backbones.tiny import save_bert
from tests.unit.backbones.tiny_transformers import save_text

from headstart.backbones.loaders import transformers_texts
from headstart.backbones.resolve import load, resolve
from headstart.backbones.spec import BackboneSpec, Source
from headstart.errors import BackboneError


def described(folder: Path) -> BackboneSpec:
    return transformers_texts.describe(folder, "tiny", Source("folder", str(folder), "model.safetensors"))


def write(folder: Path, name: str, **values: Any) -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(values))
    return folder


def test_a_folder_says_how_texts_are_cut_and_pooled(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    spec = described(folder)
    assert spec.text is not None
    assert (spec.text.max_tokens, spec.text.pooling) == (64, "mean")
    assert (spec.architecture, spec.width) == ("bert", 32)
    assert spec.gflops > 0
    write(folder, "sentence_bert_config.json", max_seq_length=20)
    write(folder, "1_Pooling/config.json", pooling_mode="cls")
    short = described(folder).text
    assert short is not None
    assert (short.max_tokens, short.pooling) == (20, "cls")


def test_roberta_counts_positions_from_behind_the_padding(tmp_path: Path) -> None:
    local = resolve(str(save_bert(tmp_path / "a", kind="roberta", max_positions=34)), tmp_path)
    assert local.spec.text is not None
    assert local.spec.text.max_tokens == 32
    assert load(local).forward(["the bird sleeps " * 50]).shape == (1, 32)


def test_long_texts_are_cut_and_short_ones_padded_without_effect(tmp_path: Path) -> None:
    backbone = load(resolve(str(save_bert(tmp_path / "a")), tmp_path))
    words = ["bird", "old", "trees", "red"] * 40
    exactly, longer = " ".join(words[:62]), " ".join(words)  # 64 tokens with the two special ones
    together = backbone.forward([exactly, longer, "the bird", ""])
    np.testing.assert_array_equal(together[0], together[1])
    np.testing.assert_allclose(together[2], backbone.forward(["the bird"])[0], atol=1e-5)
    assert not np.allclose(together[0], backbone.forward([" ".join(words[:61])])[0], atol=1e-5)


def test_half_a_surrogate_pair_is_read_as_a_question_mark(tmp_path: Path) -> None:
    backbone = load(resolve(str(save_bert(tmp_path / "a")), tmp_path))
    np.testing.assert_array_equal(backbone.forward(["the \ud83d bird"]), backbone.forward(["the ? bird"]))


def test_weights_with_a_task_head_and_names_of_old_are_the_same_encoder(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a", with_head=True)
    plain = load(resolve(str(folder), tmp_path)).forward(["the bird"])
    weights = load_file(folder / "model.safetensors")
    assert "classifier.weight" in weights
    assert "bert.embeddings.LayerNorm.weight" in weights
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
    }
    save_file(old, folder / "model.safetensors")
    np.testing.assert_array_equal(load(resolve(str(folder), tmp_path)).forward(["the bird"]), plain)


def test_an_encoder_without_its_pooler_is_complete_and_another_loss_is_not(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")}
    save_file(kept, folder / "model.safetensors")
    local = resolve(str(folder), tmp_path)
    assert set(load_file(local.folder / "model.safetensors")) == set(kept)
    assert np.isfinite(load(local).forward(["the bird"])).all()
    del kept["embeddings.word_embeddings.weight"]
    name = "encoder.layer.0.output.dense.bias"
    kept[name] = kept[name][:-1].clone()
    save_file(kept, folder / "model.safetensors")
    expected = f"missing embeddings.word_embeddings.weight, unexpected none, of another shape {name}"
    with pytest.raises(BackboneError, match=f"the weights of 'local/a' do not fit 'bert': {expected}"):
        resolve(str(folder), tmp_path)


def test_weights_in_half_precision_compute_in_float32(tmp_path: Path) -> None:
    import torch

    folder = save_bert(tmp_path / "a")
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    write(folder, "config.json", **{**config, "dtype": "bfloat16"})
    features = load(resolve(str(folder), tmp_path)).forward(["the bird", "old trees"])
    assert np.isfinite(features).all()
    rounded = (features.view(np.uint32) & 0xFFFF) == 0
    assert rounded.mean() < 0.1


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tokenizer.json", None, "'tiny' has no tokenizer.json, which text backbones need"),
        ("config.json", '{"model_type": "no_such_model"}', "transformers cannot read the configuration of 'tiny'"),
        ("model.safetensors", "half", "the weights of 'local/a' are no readable safetensors file"),
    ],
)
def test_what_is_missing_or_unknown_is_named(file: str, text: str | None, message: str, tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(BackboneError, match=message) as caught:
        resolve(str(folder), tmp_path) if file == "model.safetensors" else described(folder)
    assert caught.value.hint


def test_of_a_decoder_the_last_token_of_the_text_itself_is_taken(tmp_path: Path) -> None:
    backbone = load(resolve(str(save_text(tmp_path / "a", "gpt2")), tmp_path))
    alone = backbone.forward(["the bird"])[0]
    together = backbone.forward(["the bird", "small red trees and the old bird", "the red bird"])
    np.testing.assert_allclose(together[0], alone, atol=1e-5)
    assert not np.allclose(backbone.forward(["red bird"])[0], alone, atol=1e-2)
    assert not np.allclose(backbone.forward(["the trees"])[0], alone, atol=1e-2)


def test_an_empty_text_is_read_as_the_beginning_of_one(tmp_path: Path) -> None:
    """The decoder's tokenizer makes no token of it."""
    backbone = load(resolve(str(save_text(tmp_path / "a", "gpt2")), tmp_path))
    alone = backbone.forward(["", ""])
    assert np.isfinite(alone).all()
    np.testing.assert_array_equal(alone[0], alone[1])
    np.testing.assert_allclose(backbone.forward(["old trees", ""])[1], alone[0], atol=1e-5)
    np.testing.assert_allclose(backbone.forward(["[CLS]"])[0], alone[0], atol=1e-5)


@pytest.mark.parametrize("values", [{"pad_token_id": None}, {"pad_token_id": -1, "eos_token_id": [3, 2]}])
def test_a_padding_token_that_the_vocabulary_lacks_does_no_harm(values: dict[str, Any], tmp_path: Path) -> None:
    folder = save_text(tmp_path / "a", "llama")
    expected = load(resolve(str(folder), tmp_path)).forward(["the bird", "old trees sleeps"])
    config = json.loads((folder / "config.json").read_text())
    write(folder, "config.json", **config | values)
    features = load(resolve(str(folder), tmp_path)).forward(["the bird", "old trees sleeps"])
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kinds", "normalised"),
    [
        (["Transformer", "Pooling", "Normalize"], True),
        (["Transformer", "Pooling"], False),
        (["Transformer", "Pooling", "Dense", "Normalize"], False),
    ],
)
def test_only_what_was_pooled_is_normalised(kinds: list[str], normalised: bool, tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    modules = [{"idx": row, "type": f"sentence_transformers.models.{kind}"} for row, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    text = described(folder).text
    assert text is not None
    assert text.normalised == normalised
    ends = load(resolve(str(folder), tmp_path)).forward(["the bird", "old trees"])[:, 16:]
    assert np.allclose(np.linalg.norm(ends, axis=1), 1.0) == normalised


def test_weights_in_half_precision_stay_as_small_on_the_disk(tmp_path: Path) -> None:
    import torch

    folder = save_text(tmp_path / "a", "gpt2")
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    local = resolve(str(folder), tmp_path)
    assert {tensor.dtype for tensor in load_file(local.folder / "model.safetensors").values()} == {torch.bfloat16}


def test_a_network_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    from transformers import T5Config

    folder = save_bert(tmp_path / "a")
    T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2).save_pretrained(folder)
    with pytest.raises(BackboneError, match="does not turn tokens alone into one vector for each"):
        described(folder)
