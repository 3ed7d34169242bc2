"""Repositories as people have them: weights in parts or as pickles, and vocabularies of older tokenizers."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.unit.backbones.fake_hub import FakeHub
from tests.unit.backbones.tiny import save_bert, save_timm
from tests.unit.backbones.tiny_transformers import save_text

from headstart.backbones.hub_files import needed
from headstart.backbones.pull import pull
from headstart.backbones.resolve import load, preprocessing_of, resolve
from headstart.errors import BackboneError
from headstart.testing.backbones import example

TEXTS = ["the small bird", "old trees sings and sleeps", ""]


def features(folder: Path, home: Path) -> np.ndarray:
    local = resolve(str(folder), home)
    return np.asarray(load(local).forward(example(local, 2) if local.spec.image else TEXTS))


def in_parts(folder: Path, kind: str) -> dict[str, str]:
    """Split the weights in two, as transformers does with large ones; returns in which part each tensor lies."""
    weights = load_file(folder / "model.safetensors")
    stem, ending = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    names = sorted(weights)
    where = {}
    for row in (0, 1):
        part = f"{stem}-0000{row + 1}-of-00002.{ending}"
        where |= dict.fromkeys(names[row::2], part)
        held = {name: weights[name] for name in names[row::2]}
        save_file(held, folder / part) if kind == "safetensors" else torch.save(held, folder / part)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return where


def as_pickle(folder: Path, *, old: bool = False) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not old)
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("kind", ["safetensors", "pickles"])
@pytest.mark.parametrize("save", [save_bert, save_timm])
def test_weights_in_parts_are_the_same_backbone(save: Any, kind: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "a")
    expected = features(folder, tmp_path)
    in_parts(folder, kind)
    np.testing.assert_array_equal(features(folder, tmp_path), expected)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("save", [save_bert, save_timm])
def test_plain_tensors_in_a_pickle_are_the_same_backbone(save: Any, old: bool, tmp_path: Path) -> None:
    folder = save(tmp_path / "a")
    expected = features(folder, tmp_path)
    as_pickle(folder, old=old)
    np.testing.assert_array_equal(features(folder, tmp_path), expected)


def test_every_part_belongs_to_the_identity(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    part = folder / in_parts(folder, "safetensors")["embeddings.word_embeddings.weight"]
    before = resolve(str(folder), tmp_path).spec.source
    assert before.file == "model.safetensors.index.json"
    weights = load_file(part)
    weights["embeddings.word_embeddings.weight"] += 1
    save_file(weights, part)
    assert resolve(str(folder), tmp_path).spec.source.sha256 != before.sha256


def test_parts_that_are_not_as_the_index_says_are_refused(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    where = in_parts(folder, "safetensors")
    name = "embeddings.word_embeddings.weight"
    index = folder / "model.safetensors.index.json"

    def refused(changed: dict[str, str], message: str) -> None:
        index.write_text(json.dumps({"weight_map": changed}))
        with pytest.raises(BackboneError, match=message) as caught:
            resolve(str(folder), tmp_path)
        assert caught.value.hint

    other = next(part for part in where.values() if part != where[name])
    wrong = f"the parts of the weights of 'local/a' do not hold what 'model.safetensors.index.json' says: {name}"
    refused({**where, name: other}, wrong)
    refused({each: part for each, part in where.items() if each != name}, wrong)
    refused({**where, "embeddings.extra": other}, "says: embeddings.extra")
    refused({**where, name: "../secret.safetensors"}, "cannot be read: it names files outside of its folder")
    index.write_text("[1]")
    with pytest.raises(BackboneError, match=r"the index 'model.safetensors.index.json' of .* cannot be read"):
        resolve(str(folder), tmp_path)
    (folder / where[name]).unlink()
    refused(where, f"are not complete: of the parts that 'model.safetensors.index.json' names, '{where[name]}' is")


class Harmful:
    def __reduce__(self) -> Any:
        return (print, ("code has run",))


def test_pickles_of_more_than_tensors_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_bert(tmp_path / "a")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save({**weights, "extra": Harmful()}, file)
    with pytest.raises(BackboneError, match="of 'local/a' is a pickle that holds more than plain tensors"):
        resolve(str(folder), tmp_path)
    file.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(BackboneError, match="of 'local/a' is a pickle that holds more than plain tensors"):
        resolve(str(folder), tmp_path)
    torch.save({"epoch": 3}, file)
    with pytest.raises(BackboneError, match="must hold tensors by name"):
        resolve(str(folder), tmp_path)
    assert "code has run" not in capsys.readouterr().out


def test_from_the_hub_the_same_weights_are_not_fetched_twice(empty_hub: FakeHub, tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    for name in ("vocab.txt", "tf_model.h5", "README.md"):
        (folder / name).write_text("a\n")
    empty_hub.publish("some/bert", folder)
    pull("hf/some/bert", tmp_path)
    assert set(empty_hub.fetched) == {"config.json", "model.safetensors", "tokenizer.json"}


@pytest.mark.parametrize("layout", ["parts", "pickle"])
def test_other_layouts_come_from_the_hub_and_are_recorded(layout: str, empty_hub: FakeHub, tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    expected = features(folder, tmp_path)
    if layout == "parts":
        weights = {*in_parts(folder, "safetensors").values(), "model.safetensors.index.json"}
    else:
        as_pickle(folder)
        weights = {"pytorch_model.bin"}
    empty_hub.publish("some/bert", folder)
    local = pull("hf/some/bert", tmp_path)
    np.testing.assert_array_equal(load(local).forward(TEXTS), expected)
    pin = json.loads(next((tmp_path / "pins").iterdir()).read_text())
    assert set(pin["sha256"]) == weights | {"config.json", "tokenizer.json"}
    assert set(local.sha256) == {"config.json", "model.safetensors", "tokenizer.json"}


def test_what_is_needed_of_a_repository() -> None:
    many = ["model.safetensors.index.json", "model-00001-of-00001.safetensors", "pytorch_model.bin", "spm.model"]
    assert needed([*many, "model-00001-of-00001.bin", "onnx/model.safetensors"]) == sorted({*many} - {many[2]})
    assert needed(["flax_model.msgpack", "README.md"]) == []


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "small", "bird", "old", "tree", "##s", "sings"]


def write_word_pieces(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS))


def write_byte_pairs(folder: Path) -> None:
    letters = ["<s>", "<pad>", "</s>", "<unk>", *"abdehilmnorstĠ", "th"]
    (folder / "vocab.json").write_text(json.dumps({letter: row for row, letter in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\n")


def write_sentence_pieces(folder: Path) -> None:
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    text = folder.parent / "text.txt"
    text.write_text("the small red old bird sleeps under green trees and sings\n" * 20)
    special = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    pieces = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    sizes = {"vocab_size": 30, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
    trainer.train(input=str(text), model_prefix=str(folder / "spm"), **special, **pieces, **sizes)
    (folder / "spm.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "vocab_type": "spm"}))


def save_old(folder: Path, kind: str) -> Path:
    """A network beside the vocabulary of an older tokenizer, in a size that suits both."""
    write = {"electra": write_word_pieces, "roberta": write_byte_pairs, "deberta-v2": write_sentence_pieces}[kind]
    save_text(folder, kind)
    (folder / "tokenizer.json").unlink()
    write(folder)
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, vocab_size=64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["electra", "roberta", "deberta-v2"])
def test_an_older_vocabulary_is_read_as_transformers_does(kind: str, empty_hub: FakeHub, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = save_old(tmp_path / "a", kind)
    empty_hub.publish("some/old", folder)
    local = pull("hf/some/old", tmp_path)
    assert set(local.sha256) == {"config.json", "model.safetensors", "tokenizer.json"}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModel.from_pretrained(folder).eval()
    found = load(local).forward(TEXTS[:2])
    for row, text in enumerate(TEXTS[:2]):
        tokens = tokenizer(text, return_tensors="pt")["input_ids"]
        assert len(set(tokens[0].tolist())) >= 5  # the words are known
        with torch.inference_mode():
            states = network(input_ids=tokens).last_hidden_state[0]
        np.testing.assert_allclose(found[row, -16:], states.mean(dim=0).numpy(), atol=1e-5)


@pytest.mark.parametrize("absent", ["sentencepiece", "google.protobuf"])
def test_a_package_that_a_vocabulary_needs_is_named(
    absent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    folder = save_text(tmp_path / "a", "deberta-v2")
    (folder / "tokenizer.json").unlink()
    (folder / "spm.model").write_bytes(b"")
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(BackboneError, match=f"the vocabulary of 'local/a' needs the package '{absent}'") as caught:
        resolve(str(folder), tmp_path)
    assert caught.value.hint == "Run: pip install 'headstart[sentencepiece]'"


@pytest.mark.parametrize(
    ("kind", "file", "content", "message"),
    [
        ("deberta-v2", "vocab.txt", "the", "DebertaV2Tokenizer needs spm.model"),
        ("roberta", "vocab.json", "{}", "a tokenizer.json of the vocabulary of 'local/a': "),
        ("deberta-v2", "spm.model", "no vocabulary", "a tokenizer.json of the vocabulary of 'local/a': "),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_one_sentence(
    kind: str, file: str, content: str, message: str, tmp_path: Path
) -> None:
    """transformers itself would make a tokenizer that knows no words of some of these."""
    folder = save_text(tmp_path / "a", kind)
    (folder / "tokenizer.json").unlink()
    (folder / file).write_text(content)
    with pytest.raises(BackboneError, match=message) as caught:
        resolve(str(folder), tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ({"query": "the ", "passage": "old "}, "the "),
        ({"query": "the ", "Classification": "old "}, "old "),
        ({"passage": "old ", "classification": ""}, ""),
        ({}, ""),
    ],
)
def test_a_declared_prompt_is_put_before_every_text(prompts: dict[str, str], expected: str, tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "a")
    plain = resolve(str(folder), tmp_path)
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    local = resolve(str(folder), tmp_path)
    assert local.spec.text is not None
    assert local.spec.text.prompt == expected
    by_hand = load(plain).forward([expected + text for text in TEXTS])
    np.testing.assert_array_equal(load(local).forward(TEXTS), by_hand)
    assert (preprocessing_of(local) == preprocessing_of(plain)) == (expected == "")
