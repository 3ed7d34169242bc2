"""Runs text encoders through transformers and tokenizers: the only file that imports them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel

from headstart.backbones.backbone import Batch
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, Layer, Source, TextInput
from headstart.errors import BackboneError

_KEPT_FILES = ("config.json", "tokenizer.json")
_DEFAULT_MAX_TOKENS = 512


class TransformersBackbone:
    """A text encoder; keeps the pooled last layer and the pooled mean over all layers.

    The mean over layers ranks and separates better than the last layer alone on many tasks (Garbas et al., ACL
    Findings 2024).
    """

    def __init__(
        self, spec: BackboneSpec, network: Any, tokenizer: Tokenizer, device: str, precision: Precision
    ) -> None:
        self.spec = spec
        self._device = torch.device(device)
        self._bfloat16 = precision == "bfloat16"
        self._network = network.eval().requires_grad_(False).to(self._device)
        self._tokenizer = tokenizer
        self._pooling = spec.text.pooling if spec.text else "mean"

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch of texts."""
        encodings = self._tokenizer.encode_batch(list(batch))
        tokens = torch.tensor([encoding.ids for encoding in encodings], device=self._device)
        mask = torch.tensor([encoding.attention_mask for encoding in encodings], device=self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            states = self._network(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states
        layers = {"last": states[-1].float(), "layer_mean": torch.stack(states).float().mean(dim=0)}
        parts = [self._pool(layers[layer.name], mask) for layer in self.spec.layers]
        return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)

    def _pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self._pooling == "cls":
            return states[:, 0]
        weights = mask.unsqueeze(-1).float()
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a folder in the hub's layout for texts.

    Raises:
        BackboneError: If there is no fast tokenizer, or the architecture is not an encoder that transformers knows.
    """
    if not (folder / "tokenizer.json").exists():
        raise BackboneError(
            f"{name!r} has no tokenizer.json, which text backbones need (image towers are loaded through timm)",
            hint="Save it with AutoTokenizer.from_pretrained(…).save_pretrained(folder), or name a timm model.",
        )
    config = _config(folder, name)
    pooling = _read_json(folder / "1_Pooling" / "config.json")
    limit = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    positions = getattr(config, "max_position_embeddings", None) or _DEFAULT_MAX_TOKENS
    with torch.device("meta"):
        network = AutoModel.from_config(config)
    width = int(config.hidden_size)
    return BackboneSpec(
        name=name,
        modality="text",
        loader="transformers",
        architecture=str(config.model_type),
        source=source,
        n_params=sum(parameter.numel() for parameter in network.parameters()),
        text=TextInput(
            max_tokens=int(min(limit or _DEFAULT_MAX_TOKENS, positions)),
            pooling="cls" if pooling.get("pooling_mode_cls_token") else "mean",
        ),
        layers=(Layer("layer_mean", width), Layer("last", width)),
    )


def _config(folder: Path, name: str) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise BackboneError(
            f"transformers cannot read the configuration of {name!r}: {str(error).splitlines()[0]}",
            hint="Only architectures that transformers itself contains are run, never code from a repository.",
        ) from error


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Copy tokenizer and configuration, and write the encoder's weights as safetensors.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    origin = (source_folder / spec.source.file).parent
    for file in _KEPT_FILES:
        shutil.copyfile(origin / file, folder / file)
    network = _empty_network(folder, spec.name)
    given = _under_expected_names(load_file(source_folder / spec.source.file), network)
    _fill(network, given, spec)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors")


def _empty_network(folder: Path, name: str) -> Any:
    return AutoModel.from_config(_config(folder, name)).eval()


def _under_expected_names(given: dict[str, Any], network: Any) -> dict[str, Any]:
    """Weights saved with a task head carry a prefix (`bert.`) and the head; the encoder needs neither."""
    prefix = f"{network.base_model_prefix}."
    stripped = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
    expected = network.state_dict()
    return {name: tensor for name, tensor in stripped.items() if name in expected}


def _fill(network: Any, weights: dict[str, Any], spec: BackboneSpec) -> None:
    expected = network.state_dict()
    # The pooler feeds only the pretraining task's head; encoders saved without it are complete for us.
    missing = [name for name in expected if name not in weights and not name.startswith("pooler.")]
    misshapen = [name for name in weights if weights[name].shape != expected[name].shape]
    if missing or misshapen:
        raise BackboneError(
            f"the weights of {spec.name!r} do not fit {spec.architecture!r}: missing {missing[:5] or 'none'}, "
            f"of another shape {misshapen[:5] or 'none'}",
            hint="Check that config.json and model.safetensors belong together.",
        )
    network.load_state_dict(weights, strict=False)


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> TransformersBackbone:
    """The encoder with the weights of `import_weights`."""
    network = _empty_network(folder, spec.name)
    _fill(network, load_file(folder / "model.safetensors"), spec)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    limit = spec.text.max_tokens if spec.text else _DEFAULT_MAX_TOKENS
    tokenizer.enable_truncation(max_length=limit)
    tokenizer.enable_padding(pad_id=_padding_id(network), pad_token=_padding_token(tokenizer, network))
    return TransformersBackbone(spec, network, tokenizer, device, precision)


def _padding_id(network: Any) -> int:
    return int(getattr(network.config, "pad_token_id", None) or 0)


def _padding_token(tokenizer: Tokenizer, network: Any) -> str:
    return tokenizer.id_to_token(_padding_id(network)) or "[PAD]"
