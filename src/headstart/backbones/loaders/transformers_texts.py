"""Runs text encoders and decoders through transformers, and their tokenizers: the only file that imports tokenizers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from tokenizers import Tokenizer

from headstart.backbones.backbone import Batch
from headstart.backbones.hub_files import PROMPTS, TOKENIZER, VOCABULARIES
from headstart.backbones.loaders._transformers import (
    converted_tokenizer,
    is_decoder,
    open_part,
    read_config,
    save_part,
    tried,
)
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, Layer, Pooling, Source, TextInput
from headstart.errors import BackboneError

_DEFAULT_MAX_TOKENS = 512
_PROMPT_NAMES = ("classification", "query")  # the best first; E5, for one, has both kinds of text begin with "query: "


class TransformersBackbone:
    """A text encoder or decoder; keeps the pooled last layer and the pooled mean over all layers.

    The mean over layers ranks and separates better than the last layer alone on many tasks (Garbas et al., ACL
    Findings 2024).
    """

    def __init__(
        self, spec: BackboneSpec, network: Any, tokenizer: Tokenizer, device: str, precision: Precision
    ) -> None:
        if spec.text is None:
            raise BackboneError(
                f"the spec of {spec.name!r} must say how texts are read, but has no text section",
                hint="Import the backbone again.",
            )
        self.spec = spec
        self._device = torch.device(device)
        self._bfloat16 = precision == "bfloat16"
        self._network = network.to(self._device)
        self._tokenizer = tokenizer
        self._padding = _token(network.config, "pad_token_id")
        # A decoder's tokenizer may make nothing of an empty text; what opens or ends a text stands for it.
        self._nothing = _token(network.config, "bos_token_id", "eos_token_id", "pad_token_id")
        self._text = spec.text

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch of texts; half a surrogate pair, which is no character, reads as `?`."""
        texts = (str(text).encode("utf-8", "replace").decode() for text in batch)
        encodings = self._tokenizer.encode_batch([self._text.prompt + text for text in texts])
        rows = [torch.tensor(encoding.ids or [self._nothing]) for encoding in encodings]
        # On the right, where no token of a decoder sees it, whatever the tokenizer was saved with.
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self._padding).to(self._device)
        lengths = torch.tensor([len(row) for row in rows], device=self._device)
        mask = (torch.arange(tokens.shape[1], device=self._device) < lengths[:, None]).long()
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            output = self._network(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
        with torch.inference_mode():
            # Pooled one by one: all layers of all tokens in float32 side by side are gigabytes for a decoder.
            middle = torch.stack([self._pool(states, mask) for states in output.hidden_states]).mean(dim=0)
            last = self._pool(output.last_hidden_state, mask)
            if self._text.normalised:
                last = torch.nn.functional.normalize(last, dim=1)
            layers = {"layer_mean": middle, "last": last}
            parts = [layers[layer.name] for layer in self.spec.layers]
            return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)

    def _pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self._text.pooling == "cls":
            return states[:, 0].float()
        if self._text.pooling == "last":
            return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1].float()
        weights = mask.unsqueeze(-1).float()
        return (states.float() * weights).sum(dim=1) / weights.sum(dim=1)


def _token(config: Any, *names: str) -> int:
    """The first of these tokens that the vocabulary has; some configurations name none, several, or one outside it."""
    found = (getattr(config, name, None) for name in names)
    return next((token for token in found if isinstance(token, int) and 0 <= token < config.vocab_size), 0)


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
    limit = _read_json(folder / "sentence_bert_config.json").get("max_seq_length") or _DEFAULT_MAX_TOKENS

    def run(network: Any) -> tuple[int, int]:
        max_tokens = int(min(limit, _positions(network)))
        tokens = torch.full((1, max_tokens), int(_token(config, "pad_token_id") == 0), device=network.device)
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
    positions = int(getattr(network.config, "max_position_embeddings", None) or _DEFAULT_MAX_TOKENS)
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


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> TransformersBackbone:
    """The network with the weights of `import_weights`.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(max_length=spec.text.max_tokens if spec.text else _DEFAULT_MAX_TOKENS)
    tokenizer.no_padding()
    return TransformersBackbone(spec, open_part(folder, spec.name), tokenizer, device, precision)
