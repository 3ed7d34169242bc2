"""Reads weights for every loader, with one sentence for every way in which a file can be broken or not fit."""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from headstart.errors import BackboneError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile, and Lightning
_SHOWN = 5


def read_weights(file: Path, name: str) -> dict[str, Any]:
    """The tensors of a safetensors file by name.

    Args:
        file: The file.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If it cannot be read or is damaged.
    """
    try:
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise BackboneError(
            f"the weights of {name!r} are no readable safetensors file: {error}", hint="Fetch or save them again."
        ) from error


def read_checkpoint(file: Path, name: str) -> dict[str, Any]:
    """The tensors of a safetensors file, or of a pickled one that holds nothing but tensors and plain values.

    The usual wrappings are taken off: `{"state_dict": …}`, and the prefix that DataParallel, torch.compile or Lightning
    puts before every name.

    Args:
        file: The file.
        name: What the backbone is called, for the message.

    Raises:
        BackboneError: If it cannot be read, is damaged, or holds anything but tensors.
    """
    if file.suffix == ".safetensors":
        return _without_prefix(read_weights(file, name))
    try:
        # weights_only builds tensors and plain containers, and refuses whatever would run code. It warns of pickles
        # that torch did not write; what comes of them is said below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = torch.load(file, map_location="cpu", weights_only=True)
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
    for wrapper in _WRAPPERS:
        if isinstance(given, dict) and isinstance(given.get(wrapper), dict):
            given = given[wrapper]
    if not isinstance(given, dict) or not given or not all(isinstance(each, torch.Tensor) for each in given.values()):
        raise BackboneError(
            f"the checkpoint of {name!r} must hold tensors by name, alone or under {', '.join(_WRAPPERS)}, "
            "but it holds something else",
            hint="Save model.state_dict(), best with safetensors.torch.save_file.",
        )
    return _without_prefix(given)


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
            f"the weights of {name!r} do not fit {architecture!r}: missing {_shortened(missing)}, "
            f"unexpected {_shortened(unexpected)}, of another shape {_shortened(misshapen)}",
            hint="Check that the architecture is the one that the weights were trained with.",
        )


def _shortened(names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return "none"
    more = f" and {len(listed) - _SHOWN:,} more" if len(listed) > _SHOWN else ""
    return f"{', '.join(listed[:_SHOWN])}{more}"
