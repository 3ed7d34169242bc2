"""Tiny networks with random weights, saved as timm and transformers save theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_timm(folder: Path, architecture: str = "test_resnet", **arguments: Any) -> Path:
    import timm
    import torch
    from timm.models import save_for_hf

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(architecture, pretrained=False, **arguments)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as training leaves it, not the identity
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.1)
    save_for_hf(network, str(folder), model_args=arguments or None, safe_serialization=True)
    return folder


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
