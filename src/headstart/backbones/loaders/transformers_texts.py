"""Runs text encoders and decoders through transformers."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch

from headstart.backbones.backbone import Batch
from headstart.backbones.fresh import Fresh
from headstart.backbones.hub_files import PROMPTS, TOKENIZER, VOCABULARIES
from headstart.backbones.loaders._texts import DEFAULT_MAX_TOKENS, TextNetwork, cut_text, open_text, token
from headstart.backbones.loaders._transformers import (
    converted_tokenizer,
    fresh_part,
    is_decoder,
    open_part,
    read_config,
    save_part,
    tried,
    write_part,
)
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, Layer, Pooling, Source, TextInput
from headstart.backbones.stages import Cut
from headstart.errors import BackboneError

_PROMPT_NAMES = ("classification", "query")  # the best first; E5, for one, has both kinds of text begin with "query: "


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a folder in the hub's layout for texts, or in that of sentence-transformers.

    Raises:
        BackboneError: If there is no tokenizer, transformers does not know the architecture, or it is neither encoder
            nor decoder.
    """
    if not any((folder / file).exists() for file in (TOKENIZER, *VOCABULARIES)):
        raise BackboneError(
            f"{name!r} has no {TOKENIZER}, which text backbones need, and no vocabulary to make one of",
            hint="Save it with AutoTokenizer.from_pretrained(…).save_pretrained(folder).",
        )
    config = read_config(folder, name)
    limit = _read_json(folder / "sentence_bert_config.json").get("max_seq_length") or DEFAULT_MAX_TOKENS

    def run(network: Any) -> tuple[int, int]:
        max_tokens = int(min(limit, _positions(network)))
        tokens = torch.full((1, max_tokens), int(token(config, "pad_token_id") == 0), device=network.device)
        return max_tokens, int(network(input_ids=tokens).last_hidden_state.shape[-1])

    (max_tokens, width), n_params, gflops = tried(config, folder / source.file, name, run)
    return BackboneSpec(
        name=name,
        modality="text",
        loader="transformers",
        architecture=str(config.model_type),
        source=source,
        n_params=n_params,
        gflops=gflops,
        text=TextInput(max_tokens, _pooling(folder, config), _normalised(folder), _prompt(folder)),
        layers=(Layer("layer_mean", width), Layer("last", width)),
    )


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _pooling(folder: Path, config: Any) -> Pooling:
    """As sentence-transformers writes it, newer versions in one field; other kinds than these three by the mean."""
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    if not pooling:
        return "last" if is_decoder(config) else "mean"
    if pooling.get("pooling_mode_cls_token") or pooling.get("pooling_mode") == "cls":
        return "cls"
    return "last" if pooling.get("pooling_mode_lasttoken") or pooling.get("pooling_mode") == "lasttoken" else "mean"


def _normalised(folder: Path) -> bool:
    """Whether sentence-transformers divides what it pooled by its length, with no further layer in between."""
    kinds = [str(module.get("type")).rpartition(".")[2] for module in _read_json(folder / "modules.json")]
    return kinds[1:3] == ["Pooling", "Normalize"]


def _prompt(folder: Path) -> str:
    """What sentence-transformers puts before a text that is to be classified, as the repository declares it."""
    declared = _read_json(folder / PROMPTS).get("prompts") or {}
    prompts = {str(name).lower(): str(prompt) for name, prompt in declared.items()}
    return next((prompts[name] for name in _PROMPT_NAMES if prompts.get(name)), "")


def _positions(network: Any) -> int:
    """How many tokens have a position; RoBERTa and its kin count theirs from behind the padding's."""
    positions = int(getattr(network.config, "max_position_embeddings", None) or DEFAULT_MAX_TOKENS)
    reserved = [
        module.padding_idx + 1
        for name, module in network.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return positions - max(reserved, default=0)


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Write tokenizer, configuration and the weights without the task's head.

    Raises:
        BackboneError: If the weights do not fit the architecture, or there is no tokenizer and none can be made.
    """
    origin = (source_folder / spec.source.file).parent
    if (origin / TOKENIZER).exists():
        shutil.copyfile(origin / TOKENIZER, folder / TOKENIZER)
    else:
        (folder / TOKENIZER).write_text(converted_tokenizer(origin, spec.name), encoding="utf-8")
    save_part(read_config(origin, spec.name), source_folder / spec.source.file, folder, spec.name)


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> TextNetwork:
    """The network with the weights of `import_weights`.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    return open_text(spec, folder, open_part(folder, spec.name), device, precision)


def fresh(spec: BackboneSpec, folder: Path, device: str) -> Fresh:
    """The network with the random weights that transformers gives a new one, and the same tokenizer."""
    network = fresh_part(folder, spec.name)
    backbone = open_text(spec, folder, network, device, "float32")

    def last(batch: Batch) -> torch.Tensor:
        tokens, mask = backbone.tokens(batch)
        return backbone.last(network(input_ids=tokens, attention_mask=mask).last_hidden_state, mask)

    return Fresh(network, last)


def cut(spec: BackboneSpec, folder: Path, n_stages: int | None, device: str, precision: Precision) -> Cut:
    """The network in two parts: some of its layers, and the embeddings with the layers below them.

    Raises:
        OptionError: If the network has fewer layers.
        BackboneError: If the weights do not fit, or the network has no row of layers.
    """
    network = open_part(folder, spec.name)
    write = partial(write_part, network)
    return cut_text(spec, folder, network, n_stages, device, precision, write=write)
