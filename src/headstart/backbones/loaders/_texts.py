"""Texts through a network, with their tokenizer: the only file that imports tokenizers."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32
from tokenizers import Tokenizer

from headstart.backbones.backbone import Batch
from headstart.backbones.hub_files import TOKENIZER
from headstart.backbones.loaders._cutting import input_of, with_input
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec
from headstart.backbones.stages import Cut, boundary
from headstart.errors import BackboneError

DEFAULT_MAX_TOKENS = 512


class TextNetwork:
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
        self._padding = token(network.config, "pad_token_id")
        # A decoder's tokenizer may make nothing of an empty text; what opens or ends a text stands for it.
        self._nothing = token(network.config, "bos_token_id", "eos_token_id", "pad_token_id")
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


def token(config: Any, *names: str) -> int:
    """The first of these tokens that the vocabulary has; some configurations name none, several, or one outside it.

    Args:
        config: Of a network, with the names as attributes.
        names: Such as `pad_token_id`.
    """
    found = (getattr(config, name, None) for name in names)
    return next((token for token in found if isinstance(token, int) and 0 <= token < config.vocab_size), 0)


def open_text(spec: BackboneSpec, folder: Path, network: Any, device: str, precision: Precision) -> TextNetwork:
    """A network ready to run, with its tokenizer.

    Args:
        spec: Of the backbone.
        folder: Holds the tokenizer.
        network: Takes token numbers and a mask, and returns states by transformers' names.
        device: As from `pick_device`.
        precision: As from `pick_precision`.
    """
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(max_length=spec.text.max_tokens if spec.text else DEFAULT_MAX_TOKENS)
    tokenizer.no_padding()
    return TextNetwork(spec, network, tokenizer, device, precision)


def cut_text(
    spec: BackboneSpec,
    folder: Path,
    network: Any,
    n_stages: int | None,
    device: str,
    precision: Precision,
    *,
    write: Callable[[Path], None],
) -> Cut:
    """A network in two parts: some of its layers, and the embeddings with the layers below them.

    Args:
        spec: Of the backbone.
        folder: Holds the tokenizer.
        network: As for `open_text`; it also takes words as vectors.
        n_stages: How many layers lie above the cut, or None for all.
        device: As from `pick_device`.
        precision: As from `pick_precision`.
        write: Writes the weights of the network to a folder.

    Raises:
        OptionError: If the network has fewer layers.
        BackboneError: If the network has no row of layers.
    """
    backbone = open_text(spec, folder, network, device, precision)
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
        write(target)

    return Cut(lower, upper, whole, above, tuple(kept), save)
