"""Tiny networks with random weights as transformers saves them, with heads and other towers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = ["a", "the", "small", "red", "old", "bird", "sleeps", "under", "over", "green", "trees", "and", "sings", "17"]
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_TEXT = _SIZES | {"vocab_size": 4 + len(WORDS), "max_position_embeddings": 64, "initializer_range": 0.5}
_DECODER = {"bos_token_id": 2, "eos_token_id": 3, "vocab_size": _TEXT["vocab_size"]}
_TOWER = {**_SIZES, "image_size": 32, "patch_size": 8, "initializer_range": 0.3}


def _texts() -> dict[str, Callable[[], Any]]:
    import transformers as t

    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    deberta = {"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
    deberta |= {"pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "max_relative_positions": -1}
    distil = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "vocab_size": 18, "initializer_range": 0.5}
    shifted = _TEXT | {"max_position_embeddings": 66, "pad_token_id": 1}
    gpt = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.3}
    return {
        "bert": lambda: t.BertForMaskedLM(t.BertConfig(**_TEXT)),
        "roberta": lambda: t.RobertaForMaskedLM(t.RobertaConfig(**shifted)),
        "distilbert": lambda: t.DistilBertForMaskedLM(t.DistilBertConfig(**distil)),
        "electra": lambda: t.ElectraForPreTraining(t.ElectraConfig(embedding_size=8, **_TEXT)),
        "deberta-v2": lambda: t.DebertaV2ForMaskedLM(t.DebertaV2Config(**_TEXT, **deberta)),
        "modernbert": lambda: t.ModernBertForMaskedLM(t.ModernBertConfig(**_TEXT, **special)),
        "xlm-roberta": lambda: t.XLMRobertaForMaskedLM(t.XLMRobertaConfig(**shifted)),
        "mpnet": lambda: t.MPNetForMaskedLM(t.MPNetConfig(**shifted)),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**gpt, **_DECODER)),
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**_TEXT | _DECODER, num_key_value_heads=1)),
        "qwen3": lambda: t.Qwen3ForCausalLM(
            t.Qwen3Config(**_TEXT | _DECODER, num_key_value_heads=1, head_dim=8, tie_word_embeddings=True)
        ),
    }


def _towers() -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Network and preprocessing, in sizes that are large enough to see a difference."""
    import transformers as t

    text = {**_SIZES, "vocab_size": 18, "bos_token_id": 1, "eos_token_id": 2}
    plain = {key: value for key, value in _TOWER.items() if key != "initializer_range"}
    square = {"height": 32, "width": 32}
    swin = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 2, 2], "initializer_range": 0.3}
    stages = {"hidden_sizes": [8, 12, 16], "depths": [1, 1, 1], "num_stages": 3, "initializer_range": 0.3}
    cut = {"size": {"shortest_edge": 36}, "crop_size": square}
    return {
        "clip": (
            lambda: t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=_TOWER, initializer_factor=5.0)),
            lambda: t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square),
        ),
        "siglip": (
            lambda: t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=plain)),
            lambda: t.SiglipImageProcessor(size=square),
        ),
        "dinov2": (
            lambda: t.Dinov2Model(t.Dinov2Config(**{**_TOWER, "image_size": 48}, layerscale_value=1.0)),
            lambda: t.BitImageProcessor(**cut),
        ),
        "dinov2_with_registers": (
            lambda: t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**_TOWER, layerscale_value=1.0)),
            lambda: t.BitImageProcessor(**cut),
        ),
        "dinov3_vit": (
            lambda: t.DINOv3ViTModel(t.DINOv3ViTConfig(**_TOWER, num_register_tokens=4)),
            lambda: t.DINOv3ViTImageProcessor(size=square),
        ),
        "vit": (
            lambda: t.ViTForImageClassification(t.ViTConfig(**_TOWER)),
            lambda: t.ViTImageProcessor(size=square),
        ),
        "vit_with_pooler": (lambda: t.ViTModel(t.ViTConfig(**_TOWER)), lambda: t.ViTImageProcessor(size=square)),
        "deit": (
            lambda: t.DeiTForImageClassificationWithTeacher(t.DeiTConfig(**_TOWER)),
            lambda: t.DeiTImageProcessor(size={"height": 36, "width": 36}, crop_size=square),
        ),
        "beit": (
            lambda: t.BeitForImageClassification(t.BeitConfig(**_TOWER, use_relative_position_bias=True)),
            lambda: t.BeitImageProcessor(size=square),
        ),
        "swin": (
            lambda: t.SwinForImageClassification(t.SwinConfig(**swin, image_size=64, patch_size=4, window_size=4)),
            lambda: t.ViTImageProcessor(size={"height": 64, "width": 64}),
        ),
        "convnext": (
            lambda: t.ConvNextForImageClassification(t.ConvNextConfig(**stages, layer_scale_init_value=1.0)),
            lambda: t.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.875),
        ),
        "resnet": (
            lambda: t.ResNetForImageClassification(t.ResNetConfig(**stages, embedding_size=8)),
            lambda: t.ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=0.95),
        ),
    }


TEXTS = ("bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert", "xlm-roberta", "mpnet") + (
    DECODERS := ("gpt2", "llama", "qwen3")
)
TOWERS_OF_MAPS = ("swin", "convnext", "resnet")
TOWERS = (
    *("clip", "siglip", "dinov2", "dinov2_with_registers", "dinov3_vit", "vit", "vit_with_pooler", "deit", "beit"),
    *TOWERS_OF_MAPS,
)


def _save(network: Callable[[], Any], folder: Path) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network().eval().save_pretrained(folder)


def save_text(folder: Path, kind: str) -> Path:
    """A network for texts with its tokenizer; that of a decoder adds no special tokens and pads on the left."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    _save(_texts()[kind], folder)
    # RoBERTa and its kin pad with the second token.
    special = ["[UNK]", "[PAD]"] if kind in {"roberta", "xlm-roberta", "mpnet"} else ["[PAD]", "[UNK]"]
    words = [*special, "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(words[:4])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if kind in DECODERS:
        tokenizer.enable_padding(direction="left", length=64)
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def save_tower(folder: Path, kind: str) -> Path:
    """A network for pictures with its preprocessing."""
    network, processor = _towers()[kind]
    _save(network, folder)
    processor().save_pretrained(folder)
    return folder
