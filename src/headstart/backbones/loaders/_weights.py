"""Reads weights for every loader, with one sentence for every way in which a file can be broken or not fit."""

from __future__ import annotations

import contextlib
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from headstart.backbones.hub_files import index_of_parts
from headstart.errors import BackboneError

WEIGHTS = "model.safetensors"
POOLER = "pooler."
"""How the names of tensors begin that feed only the pretraining task's head, in transformers' networks."""

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile, and Lightning
_SHOWN = 5


def read_weights(file: Path, name: str) -> dict[str, Any]:
    """The tensors of a file by name.

    Args:
        file: Safetensors, a pickle that holds nothing but tensors by name, or the index of several of either kind.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If it cannot be read, is damaged, holds anything but tensors, or the parts are not as the index
            says.
    """
    parts = index_of_parts(file, name)
    if not parts:
        return _tensors(file, name)
    found: dict[str, Any] = {}
    where: dict[str, str] = {}
    for part in sorted(set(parts.values())):
        tensors = _tensors(file.parent / part, name)
        found |= tensors
        where |= dict.fromkeys(tensors, part)
    wrong = sorted(tensor for tensor in parts.keys() | where.keys() if parts.get(tensor) != where.get(tensor))
    if wrong:
        raise BackboneError(
            f"the parts of the weights of {name!r} do not hold what {file.name!r} says: {shortened(wrong)}",
            hint="Fetch or save them again.",
        )
    return found


def weights_names(file: Path, name: str) -> list[str]:
    """The names of the tensors of a file, without reading them where that can be.

    Args:
        file: As for `read_weights`.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If it cannot be read, is damaged, or holds anything but tensors.
    """
    if file.suffix != ".safetensors":
        return list(index_of_parts(file, name) or _tensors(file, name))
    with _readable_safetensors(name), safe_open(file, framework="pt") as weights:
        return list(weights.keys())


def _tensors(file: Path, name: str) -> dict[str, Any]:
    if file.suffix == ".safetensors":
        with _readable_safetensors(name):
            return dict(load_file(file))
    return _only_tensors(_unpickled(file, name), name)


@contextlib.contextmanager
def _readable_safetensors(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise BackboneError(
            f"the weights of {name!r} are no readable safetensors file: {error}", hint="Fetch or save them again."
        ) from error


def read_checkpoint(file: Path, name: str) -> dict[str, Any]:
    """The tensors of a checkpoint that somebody trained: as `read_weights`, without the usual wrappings.

    Those are `{"state_dict": …}`, and the prefix that DataParallel, torch.compile or Lightning puts before every name.

    Args:
        file: As for `read_weights`.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: As `read_weights`.
    """
    if file.suffix in {".safetensors", ".json"}:
        return _without_prefix(read_weights(file, name))
    given = _unpickled(file, name)
    for wrapper in _WRAPPERS:
        if isinstance(given, dict) and isinstance(given.get(wrapper), dict):
            given = given[wrapper]
    return _without_prefix(_only_tensors(given, name))


def _unpickled(file: Path, name: str) -> Any:
    try:
        # weights_only builds tensors and plain containers, and refuses whatever would run code. It warns of pickles
        # that torch did not write; what comes of them is said below. Files from before torch 1.6 cannot be mapped.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise BackboneError(
            f"the checkpoint of {name!r} is a pickle that holds more than plain tensors, and such files can run code",
            hint="Where it comes from, save its state_dict() alone, best with safetensors.torch.save_file.",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise BackboneError(
            f"the checkpoint of {name!r} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}",
            hint="Fetch or save it again.",
        ) from error


def _only_tensors(given: Any, name: str) -> dict[str, Any]:
    if not isinstance(given, dict) or not given or not all(isinstance(each, torch.Tensor) for each in given.values()):
        raise BackboneError(
            f"the checkpoint of {name!r} must hold tensors by name, alone or under {', '.join(_WRAPPERS)}, "
            "but it holds something else",
            hint="Save model.state_dict(), best with safetensors.torch.save_file.",
        )
    return given


def _without_prefix(given: dict[str, Any]) -> dict[str, Any]:
    prefix = next((each for each in _PREFIXES if all(name.startswith(each) for name in given)), None)
    if prefix is None or not given:
        return given
    return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in given.items()})


def load_strictly(network: Any, given: Mapping[str, Any], *, name: str, architecture: str) -> None:
    """Load weights into a network, as its library does it for older files too, and leave nothing out.

    Args:
        network: A freshly built network; after an error it must not be used.
        given: Tensors by name.
        name: What the backbone is called, for the message.
        architecture: What the network is called, for the message.

    Raises:
        BackboneError: If a tensor is missing, unexpected or of another shape; the message has all three lists.
    """
    expected = network.state_dict()
    misshapen = [each for each in given if each in expected and given[each].shape != expected[each].shape]
    fitting = OrderedDict((each, tensor) for each, tensor in given.items() if each not in misshapen)
    # Modules know by the version in their metadata which older names to translate. Where it was not kept, only the
    # network itself (torchvision's MNASNet) insists on one.
    version = getattr(expected, "_metadata", {}).get("", {})
    vars(fitting)["_metadata"] = getattr(given, "_metadata", {"": version})
    result = network.load_state_dict(fitting, strict=False)
    missing = [each for each in result.missing_keys if each not in misshapen]
    unexpected = [each for each in given if each in result.unexpected_keys]
    if missing or unexpected or misshapen:
        raise BackboneError(
            f"the weights of {name!r} do not fit {architecture!r}: missing {shortened(missing)}, "
            f"unexpected {shortened(unexpected)}, of another shape {shortened(misshapen)}",
            hint="Check that the architecture is the one that the weights were trained with.",
        )


def shortened(names: Iterable[str]) -> str:
    """The first names of a list that may be long, and how many there are beside."""
    listed = list(names)
    if not listed:
        return "none"
    more = f" and {len(listed) - _SHOWN:,} more" if len(listed) > _SHOWN else ""
    return f"{', '.join(listed[:_SHOWN])}{more}"
