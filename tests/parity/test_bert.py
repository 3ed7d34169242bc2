"""Our BERT is the one of transformers: forwards, backwards with dropout, and on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.unit.backbones.tiny_transformers import WORDS, save_text

from headstart.backbones.loaders._bert import Bert, open_bert
from headstart.backbones.loaders._transformers import open_part
from headstart.backbones.resolve import Local, resolve
from headstart.backbones.stages import cut
from headstart.errors import BackboneError

TOKENS = torch.tensor([[2, 5, 9, 7, 3], [2, 8, 3, 0, 0], [2, 17, 6, 3, 0]])
MASKS = [torch.ones_like(TOKENS), (TOKENS != 0).long()]


@pytest.fixture
def local(tmp_path: Path) -> Local:
    return resolve(str(save_text(tmp_path / "a", "bert")), tmp_path)


def both(local: Local) -> tuple[Bert, Any]:
    ours = open_bert(local.folder, "a")
    assert ours is not None
    return ours, open_part(local.folder, "a")


def changed(local: Local, **settings: Any) -> Path:
    file = local.folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return local.folder


@pytest.mark.parametrize("mask", MASKS, ids=["whole", "padded"])
def test_states_of_all_layers_are_equal(local: Local, mask: torch.Tensor) -> None:
    ours, theirs = both(local)
    with torch.inference_mode():
        found = ours(TOKENS, mask, output_hidden_states=True)
        expected = theirs(TOKENS, mask, output_hidden_states=True)
    assert len(found.hidden_states) == len(expected.hidden_states) == 3
    there = mask.bool()
    for mine, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(mine[there], other[there], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.last_hidden_state[there], expected.last_hidden_state[there])


def test_training_with_dropout_gives_equal_gradients(local: Local) -> None:
    losses, gradients = [], []
    for network in both(local):
        network.train().requires_grad_(requires_grad=True)
        torch.manual_seed(3)
        loss = network(TOKENS, MASKS[1]).last_hidden_state[MASKS[1].bool()].square().mean()
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: each.grad for name, each in network.named_parameters() if each.grad is not None})
    torch.testing.assert_close(*losses)
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) > 30
    for name, mine in gradients[0].items():
        torch.testing.assert_close(mine, gradients[1][name], rtol=1e-4, atol=1e-6)


def test_dropout_is_there_in_training_alone(local: Local) -> None:
    ours, _ = both(local)
    plain = ours(TOKENS).last_hidden_state
    torch.testing.assert_close(ours(TOKENS).last_hidden_state, plain)
    assert not torch.allclose(ours.train()(TOKENS).last_hidden_state, plain)


@pytest.fixture
def encoder(tmp_path: Path) -> Local:
    """As most sentence encoders are: with a pooler; and in half precision."""
    from transformers import AutoConfig, BertModel

    folder = save_text(tmp_path / "encoder", "bert")
    torch.manual_seed(5)
    BertModel(AutoConfig.from_pretrained(folder)).half().save_pretrained(folder)
    return resolve(str(folder), tmp_path)


def test_a_cut_network_is_saved_as_transformers_reads_it_with_its_new_weights(encoder: Local, tmp_path: Path) -> None:
    from transformers import AutoModel

    parts = cut(encoder, 1)
    with torch.no_grad():
        for weight in parts.trained.values():
            weight.add_(0.1)
    saved = tmp_path / "saved"
    saved.mkdir()
    parts.save(saved)
    before, after = (load_file(folder / "model.safetensors") for folder in (encoder.folder, saved))
    assert before.keys() == after.keys()
    assert {each.dtype for each in after.values()} == {torch.float32}
    moved = {name for name, each in after.items() if not torch.equal(each, before[name].float())}
    assert moved
    assert all(name.startswith("encoder.layer.1.") for name in moved)
    theirs, ours = AutoModel.from_pretrained(saved), open_bert(saved, "a")
    assert theirs.dtype == torch.float32
    assert ours is not None
    with torch.inference_mode():
        torch.testing.assert_close(ours(TOKENS).last_hidden_state, theirs.eval()(TOKENS).last_hidden_state)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_act": "relu"},
        {"is_decoder": True},
        {"position_embedding_type": "relative_key"},
        {"model_type": "x"},
        {"num_hidden_layers": None},
        {"hidden_size": "16"},
        {"num_attention_heads": 3},
    ],
)
def test_another_network_is_left_to_transformers(local: Local, settings: dict[str, Any]) -> None:
    assert open_bert(changed(local, **settings), "a") is None


def test_weights_that_do_not_fit_are_left_to_transformers_which_names_them(local: Local) -> None:
    from headstart.backbones.resolve import load

    folder = changed(local, num_hidden_layers=3)
    assert open_bert(folder, "a") is None
    with pytest.raises(BackboneError, match=r"encoder\.layer\.2"):
        load(local)


def test_a_text_is_read_without_importing_transformers_or_the_compiler(local: Local) -> None:
    """Either would take longer than all that this does."""
    script = (
        "import sys; from pathlib import Path; from headstart.backbones.resolve import load, resolve\n"
        f"local = resolve({str(local.folder.parents[1] / 'a')!r}, Path({str(local.folder.parents[1])!r}))\n"
        f"load(local).forward([{' '.join(WORDS)!r}])\n"
        "print([name for name in ('transformers', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
