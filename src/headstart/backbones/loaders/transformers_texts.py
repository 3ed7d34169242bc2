"""Runs text encoders through transformers and tokenizers: the only file that imports them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel

from headstart.backbones.backbone import Batch
from headstart.backbones.loaders._cost import counted
from headstart.backbones.loaders._weights import read_weights
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, Layer, Pooling, Source, TextInput
from headstart.errors import BackboneError

_KEPT_FILES = ("config.json", "tokenizer.json")
_DEFAULT_MAX_TOKENS = 512
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # from TensorFlow's BERT


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
        self._network = network.eval().requires_grad_(requires_grad=False).to(self._device)
        self._tokenizer = tokenizer
        self._pooling = spec.text.pooling if spec.text else "mean"

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch of texts; half a surrogate pair, which is no character, reads as `?`."""
        encodings = self._tokenizer.encode_batch([str(text).encode("utf-8", "replace").decode() for text in batch])
        tokens = torch.tensor([encoding.ids for encoding in encodings], device=self._device)
        mask = torch.tensor([encoding.attention_mask for encoding in encodings], device=self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            output = self._network(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
        with torch.inference_mode():
            layers = {
                "last": output.last_hidden_state.float(),
                "layer_mean": torch.stack([states.float() for states in output.hidden_states]).mean(dim=0),
            }
            parts = [self._pool(layers[layer.name], mask) for layer in self.spec.layers]
            return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)

    def _pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self._pooling == "cls":
            return states[:, 0]
        weights = mask.unsqueeze(-1).float()
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a folder in the hub's layout for texts.

    Raises:
        BackboneError: If there is no tokenizer, transformers does not know the architecture, or it is no encoder.
    """
    if not (folder / "tokenizer.json").exists():
        raise BackboneError(
            f"{name!r} has no tokenizer.json, which text backbones need (image towers are loaded through timm)",
            hint="Save it with AutoTokenizer.from_pretrained(…).save_pretrained(folder), or name a timm model.",
        )
    network = _empty_network(folder, name)
    limit = _read_json(folder / "sentence_bert_config.json").get("max_seq_length") or _DEFAULT_MAX_TOKENS
    max_tokens = int(min(limit, _positions(network)))
    width, gflops = _width_and_cost(network, max_tokens, name)
    return BackboneSpec(
        name=name,
        modality="text",
        loader="transformers",
        architecture=str(network.config.model_type),
        source=source,
        n_params=sum(parameter.numel() for parameter in network.parameters()),
        gflops=gflops,
        text=TextInput(max_tokens, _pooling(folder)),
        layers=(Layer("layer_mean", width), Layer("last", width)),
    )


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _pooling(folder: Path) -> Pooling:
    """As sentence-transformers writes it, newer versions in one field; whatever is not `cls` is pooled by the mean."""
    config = _read_json(folder / "1_Pooling" / "config.json")
    return "cls" if config.get("pooling_mode_cls_token") or config.get("pooling_mode") == "cls" else "mean"


def _positions(network: Any) -> int:
    """How many tokens have a position; RoBERTa and its kin count theirs from behind the padding's."""
    positions = int(getattr(network.config, "max_position_embeddings", None) or _DEFAULT_MAX_TOKENS)
    reserved = [
        module.padding_idx + 1
        for name, module in network.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return positions - max(reserved, default=0)


def _width_and_cost(network: Any, max_tokens: int, name: str) -> tuple[int, float]:
    tokens = torch.full((1, max_tokens), 1 if _padding_id(network) == 0 else 0)
    try:
        output, gflops = counted(lambda: network(input_ids=tokens, attention_mask=torch.ones_like(tokens)))
        return int(output.last_hidden_state.shape[-1]), gflops
    except (AttributeError, TypeError, ValueError) as error:
        raise BackboneError(
            f"the network of {name!r} does not turn tokens alone into one vector for each",
            hint="Choose an encoder, such as a BERT or a sentence-transformers model.",
        ) from error


def _config(folder: Path, name: str) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise BackboneError(
            f"transformers cannot read the configuration of {name!r}: {str(error).splitlines()[0]}",
            hint="Only architectures that transformers itself contains are run, never code from a repository.",
        ) from error


def _empty_network(folder: Path, name: str) -> Any:
    # Weights stay in float32 whatever the configuration says: bfloat16 is a matter of `precision`.
    return AutoModel.from_config(_config(folder, name)).float().eval()


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Copy tokenizer and configuration, and write the encoder's weights as safetensors.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    origin = (source_folder / spec.source.file).parent
    for file in _KEPT_FILES:
        shutil.copyfile(origin / file, folder / file)
    network = _empty_network(folder, spec.name)
    given = _under_expected_names(read_weights(source_folder / spec.source.file, spec.name), network)
    _check_fit(spec, given, network.state_dict())
    save_file({name: tensor.contiguous() for name, tensor in given.items()}, folder / "model.safetensors")


def _under_expected_names(given: dict[str, Any], network: Any) -> dict[str, Any]:
    """Weights saved with a task head carry a prefix (`bert.`) and the head; the encoder needs neither."""
    prefix = f"{network.base_model_prefix}."
    renamed = {_current_name(name.removeprefix(prefix)): tensor for name, tensor in given.items()}
    expected = network.state_dict()
    return {name: tensor for name, tensor in renamed.items() if name in expected}


def _current_name(name: str) -> str:
    for old, new in _OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _check_fit(spec: BackboneSpec, given: dict[str, Any], expected: dict[str, Any]) -> None:
    # The pooler feeds only the pretraining task's head; encoders saved without it are complete for us.
    missing = [name for name in expected if name not in given and not name.startswith("pooler.")]
    misshapen = [name for name in given if given[name].shape != expected[name].shape]
    if missing or misshapen:
        raise BackboneError(
            f"the weights of {spec.name!r} do not fit {spec.architecture!r}: missing {missing[:5] or 'none'}, "
            f"of another shape {misshapen[:5] or 'none'}",
            hint="Check that config.json and model.safetensors belong together.",
        )


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> TransformersBackbone:
    """The encoder with the weights of `import_weights`.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    network = _empty_network(folder, spec.name)
    weights = read_weights(folder / "model.safetensors", spec.name)
    _check_fit(spec, weights, network.state_dict())
    network.load_state_dict(weights, strict=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_length=spec.text.max_tokens if spec.text else _DEFAULT_MAX_TOKENS)
    padding = _padding_id(network)
    tokenizer.enable_padding(pad_id=padding, pad_token=tokenizer.id_to_token(padding) or "[PAD]")
    return TransformersBackbone(spec, network, tokenizer, device, precision)


def _padding_id(network: Any) -> int:
    return int(getattr(network.config, "pad_token_id", None) or 0)
