"""Tiny networks with random weights, saved as timm and transformers save theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart._fingerprint import sha256_file


def save_timm(folder: Path, architecture: str = "test_resnet", **arguments: Any) -> Path:
    import timm
    import torch
    from timm.models import save_for_hf

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(architecture, pretrained=False, **arguments)
        train_norms(network)
    save_for_hf(network, str(folder), model_args=arguments or None, safe_serialization=True)
    return folder


def train_norms(network: Any) -> None:
    """Norms as training leaves them, not the identity."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)


def random_torchvision(architecture: str, **arguments: Any) -> Any:
    import torch
    from torchvision.models import get_model

    if architecture in {"googlenet", "inception_v3"}:
        arguments = {"transform_input": True, "init_weights": False, **arguments}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = get_model(architecture, weights=None, **arguments).eval()
        train_norms(network)
    return network


def save_torchvision(torch_home: Path, architecture: str, patch: pytest.MonkeyPatch, **arguments: Any) -> Any:
    """A random network in torch.hub's cache, as the default weights of its architecture; returns the network."""
    import torch
    from torchvision.models import get_model_weights

    network = random_torchvision(architecture, **arguments)
    folder = torch_home / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / "new.pth")
    file = folder / f"{architecture}-{sha256_file(folder / 'new.pth')[:8]}.pth"
    (folder / "new.pth").replace(file)
    patch.setenv("TORCH_HOME", str(torch_home))
    weights: Any = get_model_weights(architecture)
    patch.setattr(weights.DEFAULT.value, "url", f"https://download.pytorch.org/models/{file.name}")
    return network


def save_bert(folder: Path, *, kind: str = "bert", max_positions: int = 64, with_head: bool = False) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, RobertaConfig, RobertaModel

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *["a", "the", "small", "red", "old", "bird", "sleeps", "under", "over", "green", "trees", "and"],
    ]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    sizes = {"vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    options = {**sizes, "intermediate_size": 32, "max_position_embeddings": max_positions, "initializer_range": 0.5}
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "roberta":
            network: Any = RobertaModel(RobertaConfig(pad_token_id=1, **options))
        else:
            network = (BertForSequenceClassification if with_head else BertModel)(BertConfig(**options))
        network.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
