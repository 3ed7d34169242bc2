"""Runs text encoders and decoders through transformers, and their tokenizers: the only file that imports tokenizers."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32
from tokenizers import Tokenizer

from headstart.backbones.backbone import Batch
from headstart.backbones.fresh import Fresh
from headstart.backbones.hub_files import PROMPTS, TOKENIZER, VOCABULARIES
from headstart.backbones.loaders._cutting import input_of, with_input
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
from headstart.backbones.stages import Cut, boundary
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
        tokens, mask = self.tokens(batch)
        output = self.run(tokens, mask, output_hidden_states=True)
        with torch.inference_mode():
            # Pooled one by one: all layers of all tokens in float32 side by side are gigabytes for a decoder.
            middle = torch.stack([self._pool(states, mask) for states in output.hidden_states]).mean(dim=0)
            layers = {"layer_mean": middle, "last": self.last(output.last_hidden_state, mask)}
            parts = [layers[layer.name] for layer in self.spec.layers]
            return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)

    def tokens(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network is given: token numbers, padded at the end, and which of them are the text's."""
        texts = (str(text).encode("utf-8", "replace").decode() for text in batch)
        encodings = self._tokenizer.encode_batch([self._text.prompt + text for text in texts])
        rows = [torch.tensor(encoding.ids or [self._nothing]) for encoding in encodings]
        # On the right, where no token of a decoder sees it, whatever the tokenizer was saved with.
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self._padding).to(self._device)
        return tokens, _mask(torch.tensor([len(row) for row in rows], device=self._device), tokens.shape[1])

    def run(self, tokens: torch.Tensor, mask: torch.Tensor, **options: Any) -> Any:
        """What the library returns for tokens, without gradients."""
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            return self._network(input_ids=tokens, attention_mask=mask, **options)

    def last(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The layer `last` from the last states of all tokens."""
        pooled = self._pool(states, mask)
        return torch.nn.functional.normalize(pooled, dim=1) if self._text.normalised else pooled

    def _pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self._text.pooling == "cls":
            return states[:, 0].float()
        if self._text.pooling == "last":
            return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1].float()
        weights = mask.unsqueeze(-1).float()
        return (states.float() * weights).sum(dim=1) / weights.sum(dim=1)


def _mask(lengths: torch.Tensor, n_tokens: int) -> torch.Tensor:
    return (torch.arange(n_tokens, device=lengths.device) < lengths[:, None]).long()


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
    return _running(spec, folder, open_part(folder, spec.name), device, precision)


def _running(spec: BackboneSpec, folder: Path, network: Any, device: str, precision: Precision) -> TransformersBackbone:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(max_length=spec.text.max_tokens if spec.text else _DEFAULT_MAX_TOKENS)
    tokenizer.no_padding()
    return TransformersBackbone(spec, network, tokenizer, device, precision)


def fresh(spec: BackboneSpec, folder: Path, device: str) -> Fresh:
    """The network with the random weights that transformers gives a new one, and the same tokenizer."""
    network = fresh_part(folder, spec.name)
    backbone = _running(spec, folder, network, device, "float32")

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
    backbone = _running(spec, folder, network, device, precision)
    rows = [name for name, each in network.named_modules() if isinstance(each, torch.nn.ModuleList)]
    row = max(rows, key=lambda name: len(network.get_submodule(name)), default="")
    layers = list(network.get_submodule(row)) if row else []
    first = boundary([str(number) for number in range(len(layers))], n_stages, spec)
    # The same weights in a second frame, from which the layers below the cut are taken out.
    above = copy.deepcopy(network, {id(each): each for each in (*network.parameters(), *network.buffers())})
    kept = torch.nn.ModuleList(list(above.get_submodule(row))[first:])
    above.set_submodule(row, kept)

    def lower(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        tokens, mask = backbone.tokens(batch)
        states = input_of(layers[first], lambda: backbone.run(tokens, mask))
        return states.clone(), mask.sum(dim=1)  # a copy, because no gradient may pass what inference_mode made

    def upper(activations: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        mask = _mask(cast("torch.Tensor", lengths), activations.shape[1])
        # The embeddings of nothing are computed for their shape, and what the first layer is given is put in place.
        nothing = torch.zeros_like(activations)
        output = with_input(kept[0], activations, lambda: above(inputs_embeds=nothing, attention_mask=mask))
        return backbone.last(output.last_hidden_state, mask)

    def whole(batch: Batch) -> torch.Tensor:
        tokens, mask = backbone.tokens(batch)
        return backbone.last(backbone.run(tokens, mask).last_hidden_state, mask)

    def save(target: Path) -> None:
        shutil.copyfile(folder / TOKENIZER, target / TOKENIZER)
        write_part(network, target)

    return Cut(lower, upper, whole, above, tuple(kept), save)
