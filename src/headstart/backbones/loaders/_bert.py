"""BERT (Devlin et al., 2018, arXiv:1810.04805) as transformers computes it, without the seconds that its import takes.

Sentence encoders are mostly of this kind, and a short run or one answer waits longer for the library than for them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import nn

from headstart.backbones.hub_files import CONFIG
from headstart.backbones.loaders._weights import POOLER, WEIGHTS, read_weights

_PLAIN = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
"""What a configuration must say to be this network; these are the library's defaults."""


@dataclass(frozen=True)
class BertConfig:
    """What the weights do not tell, by the library's names and with its defaults."""

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = 0


@dataclass(frozen=True)
class Output:
    """What the network returns, by the library's names.

    Attributes:
        last_hidden_state: What the last layer says of each token.
        hidden_states: What the embeddings and each layer say, if asked for.
    """

    last_hidden_state: Float[torch.Tensor, "items tokens width"]
    hidden_states: tuple[Float[torch.Tensor, "items tokens width"], ...] = ()


def _table(n_rows: int, width: int) -> nn.Embedding:
    """Not drawn at random: on the meta device that would import torch's compiler, which takes seconds."""
    table: nn.Embedding = nn.Embedding.from_pretrained(torch.empty(n_rows, width), freeze=False)  # type: ignore[no-untyped-call]
    return table


class _Embeddings(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = _table(config.vocab_size, width)
        self.position_embeddings = _table(config.max_position_embeddings, width)
        self.token_type_embeddings = _table(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        whole = words + self.token_type_embeddings.weight[0] + self.position_embeddings.weight[: words.shape[1]]
        found: torch.Tensor = self.dropout(self.LayerNorm(whole))
        return found


class _SelfAttention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))
        self._n_heads, self._dropout = config.num_attention_heads, config.attention_probs_dropout_prob

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        query, key, value = (
            each(states).unflatten(-1, (self._n_heads, -1)).transpose(1, 2)
            for each in (self.query, self.key, self.value)
        )
        dropout = self._dropout if self.training else 0.0
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return found.transpose(1, 2).flatten(2)


class _Added(nn.Module):
    """A linear layer whose result is added to what came before."""

    def __init__(self, n_in: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(n_in, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.LayerNorm(self.dropout(self.dense(states)) + before)
        return found


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": _SelfAttention(config), "output": _Added(config.hidden_size, config)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.intermediate_size)})
        self.output = _Added(config.intermediate_size, config)

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        states = self.attention["output"](self.attention["self"](states, mask), states)
        inner = nn.functional.gelu(self.intermediate["dense"](states))
        found: torch.Tensor = self.output(inner, states)
        return found


class _Encoder(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None, *, keep: bool) -> list[torch.Tensor]:
        """The last states, behind those of all layers before if they are to be kept: they take much memory."""
        found = [states]
        for layer in self.layer:
            states = layer(states, mask)
            found = [*found, states] if keep else [states]
        return found


class Bert(nn.Module):
    """The encoder; its tensors have the library's names.

    Attributes:
        config: Its sizes.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)

    def forward(
        self,
        input_ids: Int[torch.Tensor, "items tokens"] | None = None,
        attention_mask: Int[torch.Tensor, "items tokens"] | None = None,
        *,
        inputs_embeds: Float[torch.Tensor, "items tokens width"] | None = None,
        output_hidden_states: bool = False,
    ) -> Output:
        """What the layers say of texts.

        Args:
            input_ids: Token numbers, padded at the end; not with `inputs_embeds`.
            attention_mask: 1 where a token is one of the text's, 0 where it only pads; None where none does.
            inputs_embeds: Words as vectors, in the place of their numbers.
            output_hidden_states: Whether to return what each layer says.
        """
        words = self.embeddings.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        # Without a mask attention is faster, and of equal length are many batches of texts that were sorted.
        padded = attention_mask is not None and not bool(attention_mask.all())
        mask = attention_mask[:, None, None, :].bool() if attention_mask is not None and padded else None
        states = self.encoder(self.embeddings(words), mask, keep=output_hidden_states)
        return Output(states[-1], tuple(states) if output_hidden_states else ())


def open_bert(folder: Path, name: str) -> Bert | None:
    """The network of a folder that transformers wrote, frozen and in evaluation mode, in float32.

    Args:
        folder: Holds configuration and weights.
        name: What the backbone is called, for the message.

    Returns:
        None where the folder holds anything else than this network with all of its weights: that is the library's.

    Raises:
        BackboneError: If the weights cannot be read.
    """
    config = _read_config(folder)
    if config is None:
        return None
    with torch.device("meta"):
        network = Bert(config)
    weights = {tensor: each for tensor, each in read_weights(folder / WEIGHTS, name).items() if not _is_pooler(tensor)}
    if _shapes(weights) != _shapes(network.state_dict()):
        return None
    network.load_state_dict({tensor: each.float() for tensor, each in weights.items()}, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def _read_config(folder: Path) -> BertConfig | None:
    """The sizes, or None where they are not those of a plain BERT, or of no network at all."""
    try:
        given = dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return None
    if given.get("model_type") != "bert" or any(given.get(key, plain) != plain for key, plain in _PLAIN.items()):
        return None
    read = {each.name: given[each.name] for each in fields(BertConfig) if each.name in given}
    if any(not isinstance(value, int | float) for key, value in read.items() if not key.endswith("_token_id")):
        return None
    config = BertConfig(**read)
    return None if config.hidden_size % max(1, config.num_attention_heads) else config


def _is_pooler(tensor: str) -> bool:
    return tensor.startswith(POOLER)


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: values.shape for name, values in tensors.items()}


def write_bert(network: Bert, origin: Path, folder: Path, *, name: str) -> None:
    """Write a network as transformers reads it, in float32; a pooler that it came with stays beside it as it was.

    Args:
        network: From `open_bert`; its weights may have moved.
        origin: The folder that it came from.
        folder: Where.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If the weights that it came with cannot be read any more.
    """
    config = {**json.loads((origin / CONFIG).read_text(encoding="utf-8")), "dtype": "float32"}
    config.pop("torch_dtype", None)  # what older versions called it
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    weights = {tensor: each.contiguous() for tensor, each in network.state_dict().items()}
    before = read_weights(origin / WEIGHTS, name)
    weights |= {tensor: each.float() for tensor, each in before.items() if _is_pooler(tensor)}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
