"""What encoders, decoders and image towers share: the only file that imports transformers."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
)
from transformers.utils import logging

from headstart._optional import import_extra
from headstart.backbones.hub_files import TOKENIZER, VOCABULARIES
from headstart.backbones.loaders._cost import counted
from headstart.backbones.loaders._weights import POOLER, WEIGHTS, read_weights, shortened, weights_names
from headstart.errors import BackboneError

Result = TypeVar("Result")


def read_config(folder: Path, name: str) -> Any:
    """The configuration of the part that is run: of an image–text model, its image tower.

    Args:
        folder: Holds `config.json`.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If it cannot be read, or transformers itself has no such architecture.
    """
    try:
        with _quietly():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise BackboneError(
            f"transformers cannot read the configuration of {name!r}: {str(error).splitlines()[0]}",
            hint="Only architectures that transformers itself contains are run, never code from a repository.",
        ) from error
    return getattr(config, "vision_config", config)


def sees_images(config: Any) -> bool:
    """Whether the network takes pictures rather than tokens."""
    return hasattr(config, "num_channels")


def is_decoder(config: Any) -> bool:
    """Whether a token sees only those before it: a language model that was not trained to fill in masks."""
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING


def tried(config: Any, weights: Path, name: str, run: Callable[[Any], Result]) -> tuple[Result, int, float]:
    """What a network without weights returns for one item, and what it costs.

    Args:
        config: From `read_config`.
        weights: Their file, of which only the names are read.
        name: What the backbone is called, for the message.
        run: Makes the item on the network's device and sends it through.

    Returns:
        What `run` returns, of which only the shapes mean something; the number of parameters; billions of
        multiply–adds.

    Raises:
        BackboneError: If the weights cannot be read, or the network takes or gives something else than `run` expects.
    """
    has_pooler = any(f".{POOLER}" in f".{tensor}" for tensor in weights_names(weights, name))

    def run_on(device: str) -> tuple[Result, int, float]:
        # The pass itself is not under torch.device: BEiT keeps positions that it makes for all later networks.
        with _quietly(), torch.device(device):
            network = AutoModel.from_config(config).eval().requires_grad_(requires_grad=False)
        if not has_pooler:
            _drop_pooler(network)
        result, gflops = counted(lambda: run(network))
        return result, sum(parameter.numel() for parameter in network.parameters()), gflops

    try:
        try:
            return run_on("meta")  # shapes alone, nothing is computed
        except RuntimeError:
            return run_on("cpu")  # a few networks, such as DeBERTa, look at values on their way
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        item, choice = (
            ("a picture", "a network of the ViT family, or the same network from timm (timm/NAME)")
            if sees_images(config)
            else ("tokens alone", "an encoder, such as BERT, or a decoder, such as GPT-2")
        )
        raise BackboneError(
            f"the network of {name!r} ({config.model_type}) does not turn {item} into one vector for each of its parts",
            hint=f"Choose {choice}.",
        ) from error


def save_part(config: Any, source_file: Path, folder: Path, name: str) -> None:
    """Write the weights and the configuration of the part that is run, in the hub's own layout.

    Args:
        config: From `read_config`.
        source_file: The complete weights, task heads and other towers included; as for `read_weights`.
        folder: Where.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If the weights cannot be read or do not fit.
    """
    weights = read_weights(source_file, name)
    kinds = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    write_part(_filled(config, weights, name, dtype=kinds.pop() if len(kinds) == 1 else torch.float32), folder)


def write_part(network: Any, folder: Path) -> None:
    """Write a network's weights and configuration in the hub's own layout.

    Args:
        network: From `open_part`.
        folder: Where.
    """
    with _quietly():
        network.save_pretrained(folder, max_shard_size="1TB")  # one file, whatever its size


def open_part(folder: Path, name: str) -> Any:
    """The network that `save_part` wrote, frozen and in evaluation mode, in float32 whatever it was saved in.

    Args:
        folder: Where it was written.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If the weights cannot be read or do not fit.
    """
    network = _filled(read_config(folder, name), read_weights(folder / WEIGHTS, name), name, dtype=torch.float32)
    return network.eval().requires_grad_(requires_grad=False)


def fresh_part(folder: Path, name: str) -> Any:
    """The network that `save_part` wrote, with random weights in float32; of its own only the names are read.

    Args:
        folder: Where it was written.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If it cannot be read.
    """
    with _quietly():
        network = AutoModel.from_config(read_config(folder, name), dtype=torch.float32)
    if not any(f".{POOLER}" in f".{tensor}" for tensor in weights_names(folder / WEIGHTS, name)):
        _drop_pooler(network)
    return network


def image_processor(folder: Path, name: str) -> Any:
    """The library's own preprocessing of pictures.

    Args:
        folder: Holds `preprocessor_config.json`, or as newer versions write it, `processor_config.json`.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If there is none, or transformers itself has no such preprocessing.
    """
    from transformers import AutoImageProcessor  # loads torchvision, which only an import of weights needs

    try:
        with _quietly():
            return AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, OSError, AttributeError, ImportError) as error:
        raise BackboneError(
            f"transformers cannot read how pictures are prepared for {name!r}: {str(error).splitlines()[0]}",
            hint="Save it beside the weights with AutoImageProcessor.from_pretrained(…).save_pretrained(folder).",
        ) from error


def converted_tokenizer(folder: Path, name: str) -> str:
    """The content of a `tokenizer.json`, made by transformers from a vocabulary in an older layout.

    Args:
        folder: Holds one of `hub_files.VOCABULARIES`, what belongs to it, and `config.json`.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If transformers cannot make one, or needs a package that is not installed.
    """
    if any((folder / file).exists() for file in VOCABULARIES if file.endswith(".model")):
        for module in ("sentencepiece", "google.protobuf"):
            import_extra(module, extra="sentencepiece", purpose=f"the vocabulary of {name!r}")
    try:
        with _quietly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # Where the file that its class looks for is not there, it is made without any words.
        if any((folder / file).exists() for file in tokenizer.vocab_files_names.values()):
            return str(tokenizer.backend_tokenizer.to_str())
        reason = f"{type(tokenizer).__name__} needs {' and '.join(tokenizer.vocab_files_names.values())}"
    except Exception as error:  # noqa: BLE001 - the library's converters, some in Rust, raise all kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
    raise BackboneError(
        f"transformers cannot make a {TOKENIZER} of the vocabulary of {name!r}: {reason}",
        hint="Save one where the tokenizer can be loaded: AutoTokenizer.from_pretrained(…).save_pretrained(folder).",
    )


def _filled(config: Any, weights: dict[str, torch.Tensor], name: str, *, dtype: torch.dtype) -> Any:
    """A network with its weights; the library knows prefixes, older names, and what belongs to other parts."""
    with torch.device("meta"):
        kind = type(AutoModel.from_config(config))
    with _quietly():
        network, report = kind.from_pretrained(
            None, config=config, state_dict=weights, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
    # The pooler feeds only the pretraining task's head; networks saved without it are complete for us.
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(POOLER))
    misshapen = sorted(key for key, *_ in report["mismatched_keys"])
    if missing or misshapen:
        raise BackboneError(
            f"the weights of {name!r} do not fit {config.model_type!r}: missing {shortened(missing)}, "
            f"unexpected {shortened(sorted(report['unexpected_keys']))}, of another shape {shortened(misshapen)}",
            hint="Check that config.json and the weights belong together.",
        )
    if report["missing_keys"]:
        _drop_pooler(network)
    return network


def _drop_pooler(network: Any) -> None:
    # One that only averages, as of Swin and ResNet, has no weights that could be missing.
    pooler = getattr(network, "pooler", None)
    if pooler is not None and any(True for _ in pooler.parameters()):
        network.pooler = None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's tables and bars about what is checked here."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
