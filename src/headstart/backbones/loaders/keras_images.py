"""Runs Keras networks on Keras' torch backend: the only file that imports it.

What is kept of a network is `model.keras`, Keras' own format, which is JSON and HDF5 and no pickle: it holds whatever
state a layer has, which a list of tensors would not. It takes pixels of 0 to 255 and gives all layers by name; the
preprocessing of its family is part of the graph, so that it is that of `keras` itself.

Pictures are squashed to a square, bilinearly, as `keras.utils.load_img(target_size=…)` and
`image_dataset_from_directory` do: the weights that people save were trained on such pictures.

Everything runs in float32. On two Zen 4 cores without a GPU both mixed precision and autocast are slower here, because
every layer of Keras converts its inputs and weights again.
"""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from headstart._checks import did_you_mean
from headstart._optional import import_extra
from headstart.backbones.backbone import Batch
from headstart.backbones.loaders._cost import counted
from headstart.backbones.loaders._images import grid_layer, on_grid, sees_squares
from headstart.backbones.locate import is_offline, progress_on_stderr
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source
from headstart.errors import BackboneError, OfflineError


def _keras_on_torch() -> Any:
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    library = import_extra("keras", extra="keras", purpose="a Keras network")
    if library.backend.backend() != "torch":
        raise BackboneError(
            f"Keras networks run on Keras' torch backend, but this process has Keras on {library.backend.backend()!r}",
            hint="Set KERAS_BACKEND=torch before keras is imported.",
        )
    return library


keras = _keras_on_torch()

_MODEL = "model.keras"
_KEPT_STAGES = 2
_DEFAULT_SIZE_PX = 224
_JOINS = {"Add", "Concatenate"}
_PADDING = {"ZeroPadding2D", "Cropping2D"}
_COLOURS = 3
_FLAT = 2  # axes of items × width
_MAPS = 4  # axes of items × height × width × channels

# Families whose preprocessing is not in the network, by an early layer that each has and no other; as of Keras 3.15.
_FAMILIES = {
    "Conv1": "mobilenet_v2",
    "block1_conv1_bn": "xception",
    "block1_pool": "vgg16",
    "conv2_block1_3_bn": "resnet",
    "conv2_block1_preact_bn": "resnet_v2",
    "conv_dw_1": "mobilenet",
    "mixed0": "inception_v3",
    "mixed_5b": "inception_resnet_v2",
    "pool2_relu": "densenet",
    "stem_conv1": "nasnet",
}
_IN_THE_NETWORK = "in the network"
_NONE = "none"


class KerasBackbone:
    """A Keras network; keeps its last two resolutions on a coarse grid beside the pooled output, where it shows them.

    A network inside another one, as in `Sequential([Rescaling(…), network, Dense(…)])`, shows its output alone.
    """

    def __init__(self, spec: BackboneSpec, network: Any, device: str) -> None:
        self.spec = spec
        self._device = device
        self._network = network.eval().requires_grad_(requires_grad=False)

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch of uint8 pictures."""
        with keras.device(self._device), torch.inference_mode():
            pixels = torch.tensor(np.ascontiguousarray(batch), device=self._device).float()
            outputs = self._network(pixels, training=False)
            parts = [_kept(outputs[layer.name], layer) for layer in self.spec.layers]
            return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)


def _kept(output: torch.Tensor, layer: Layer) -> torch.Tensor:
    return output.float() if layer.name == "last" else on_grid(output.permute(0, 3, 1, 2), layer.grid)


def cached_weights(name: str) -> tuple[Path, str]:
    """The file in Keras' own cache with the ImageNet weights of a network without its classifier, and its URL.

    It is fetched where it is not there, or is not what Keras' table of hashes says.

    Args:
        name: A class of `keras.applications`.

    Raises:
        BackboneError: If there is no such class, or the file cannot be fetched.
        OfflineError: If it would have to be fetched, and there is no network.
    """
    file_name, url, digest = _wanted_file(name)
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    file = home / "models" / file_name
    if file.exists() and (digest is None or _files().validate_file(str(file), digest)):
        return file, url
    if is_offline(url):
        state = "is damaged" if file.exists() else "is not there"
        raise OfflineError(
            f"the weights of 'keras/{name}' must be fetched, because {str(file)!r} {state}, "
            "and there is no network to fetch them over",
            hint="Connect to a network, or copy the file from a machine that has it.",
        )
    try:
        with progress_on_stderr():
            fetched = keras.utils.get_file(file_name, url, cache_subdir="models", cache_dir=str(home), file_hash=digest)
    except Exception as error:  # Keras raises no class of its own where a download fails
        raise BackboneError(
            f"the weights of 'keras/{name}' cannot be fetched: {str(error).splitlines()[0]}",
            hint=f"Try again later, or put {url} into {str(file.parent)!r}.",
        ) from error
    return Path(fetched), url


def _files() -> Any:
    return sys.modules[keras.utils.get_file.__module__]


class _Asked(Exception):  # noqa: N818 - it is caught a few lines below
    """Keras asks for a file."""


def _wanted_file(name: str) -> tuple[str, str, str | None]:
    """The file, its URL and its MD5 or SHA-256: families keep them in different forms, and ask at the end."""

    def ask(file_name: str, url: str, *, file_hash: str | None = None, **_: object) -> None:
        raise _Asked(file_name, url, file_hash)

    build, files = _application(name), _files()
    size_px = _default_size(name)
    fetch = files.get_file
    files.get_file = ask
    try:
        with keras.device("meta"):
            build(weights="imagenet", include_top=False, input_shape=(size_px, size_px, 3))
    except _Asked as request:
        return request.args[0], request.args[1], request.args[2]
    finally:
        files.get_file = fetch
    raise BackboneError(
        f"Keras {keras.__version__} does not say where the weights of {name!r} are",
        hint="Save the network with model.save('model.keras'), and name that file.",
    )


def _application(name: str) -> Callable[..., Any]:
    known = [each for each in dir(keras.applications) if each[0].isupper()]
    if name not in known:
        raise BackboneError(
            f"keras.applications of Keras {keras.__version__} has no {name!r}", hint=did_you_mean(name, known)
        )
    build: Callable[..., Any] = getattr(keras.applications, name)
    return build


def _default_size(name: str) -> int:
    """Keras tells it only by the input of the network with its classifier; on `meta` no weights are drawn for that."""
    try:
        with keras.device("meta"):
            return int(_application(name)(weights=None).input_shape[1] or _DEFAULT_SIZE_PX)
    except ValueError as error:
        raise BackboneError(
            f"Keras {keras.__version__} cannot build {name!r}: {str(error).splitlines()[0]}",
            hint="Choose another class of keras.applications.",
        ) from error


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a file: weights that `cached_weights` found, or a `.keras` file.

    Args:
        folder: Where the file is.
        name: `keras/CLASS` for weights of `keras.applications`.
        source: Has the file's name.

    Raises:
        BackboneError: If it cannot be opened, or its features cannot be found.
    """
    network = _open(folder / source.file, name)
    size_px = _size(network, name)
    pixels = _with_layers(network, name, size_px)
    example = torch.zeros(1, size_px, size_px, 3)
    with keras.device("cpu"):
        outputs, gflops = sees_squares(pixels, partial(counted, lambda: pixels(example, training=False)), name, size_px)
    stages = [grid_layer(each, maps.permute(0, 3, 1, 2)) for each, maps in outputs.items() if each != "last"]
    return BackboneSpec(
        name=name,
        modality="image",
        loader="keras",
        architecture=name.removeprefix("keras/") if source.origin == "url" else str(network.name),
        tag="imagenet" if source.origin == "url" else f"preprocessing: {_preprocessing(network)}",
        source=source,
        n_params=int(pixels.count_params()),
        gflops=gflops,
        image=ImageInput(size_px, 1.0, "bilinear", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255), "squash"),
        # The last resolution in one cell is what `last` is already.
        layers=(
            *(layer for layer in stages if layer.grid > 1 or layer != stages[-1]),
            Layer("last", int(outputs["last"].shape[1])),
        ),
        pretrained_on="ImageNet, supervised" if source.origin == "url" else "",
    )


def _open(file: Path, name: str) -> Any:
    if file.suffix != ".keras":
        application = name.removeprefix("keras/")
        size_px = _default_size(application)
        build, options = _application(application), {"include_top": False, "input_shape": (size_px, size_px, 3)}
        return _opened(lambda: build(weights=str(file), **options), name)
    return _opened(lambda: keras.saving.load_model(file, compile=False, safe_mode=True), name)


def _opened(read: Callable[[], Any], name: str, device: str = "cpu") -> Any:
    try:
        with keras.device(device):
            return read()
    except (TypeError, ValueError, OSError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        message = str(error)
    custom = re.search(r"Could not locate \w+ '([^']+)'", message)
    if custom:
        raise BackboneError(
            f"the Keras network {name!r} has the custom part {custom[1]!r}, whose code is not in the file",
            hint="Decorate it with @keras.saving.register_keras_serializable(), import the module that defines it, and "
            "then call headstart from Python; the same is needed before a bundle of it is opened.",
        )
    if re.search("lambda|unsafe|safe_mode", message, re.IGNORECASE):
        raise BackboneError(
            f"the Keras network {name!r} holds Python code (a Lambda layer, for example), which is never run",
            hint="Replace it with a layer of Keras or a registered class of your own, and save the network again.",
        )
    raise BackboneError(
        f"Keras {keras.__version__} cannot read the network {name!r}: {(message or 'no reason given').splitlines()[0]}",
        hint="Save it again with model.save('model.keras').",
    )


def _size(network: Any, name: str) -> int:
    inputs = getattr(network, "inputs", None) or []
    shapes = [tuple(each.shape) for each in inputs]
    if not shapes or len(getattr(network, "outputs", None) or []) != 1:
        raise BackboneError(
            f"the Keras network {name!r} must be functional or sequential, built, and have one output",
            hint="Save keras.Model(inputs, features), which says what leads to what.",
        )
    if len(shapes) > 1 or len(shapes[0]) != _MAPS or shapes[0][3] != 3 or shapes[0][1] != shapes[0][2]:
        raise BackboneError(
            f"the Keras network {name!r} must see square pictures, height × width × 3, but its input is {shapes}",
            hint="Save it with an input such as keras.Input((224, 224, 3)).",
        )
    return int(shapes[0][1] or _DEFAULT_SIZE_PX)


def _with_layers(network: Any, name: str, size_px: int) -> Any:
    """The same network from pixels of 0 to 255 to the layers by name."""
    outputs = {**dict(_stages(network)), "last": _features(network, name)}
    pixels = keras.Input((size_px, size_px, 3), name="pixels")
    family = _preprocessing(network)
    known = family not in {_IN_THE_NETWORK, _NONE}
    prepared = getattr(keras.applications, family).preprocess_input(pixels) if known else pixels
    return keras.Model(pixels, keras.Model(network.inputs[0], outputs)(prepared))


def _preprocessing(network: Any) -> str:
    """Which family's preprocessing the network needs before it.

    One that scales its pixels itself needs none. One that does not, and is of no family, is given pixels of 0 to 255,
    as `image_dataset_from_directory` gives them.
    """
    operations = list(_operations(network))
    for operation in operations:
        scales = isinstance(operation, keras.layers.Rescaling | keras.layers.Normalization)
        if scales or not isinstance(operation, keras.layers.Layer):
            return _IN_THE_NETWORK
        if operation.weights:
            break
    names = {operation.name for operation in operations}
    return next((family for layer, family in _FAMILIES.items() if layer in names), _NONE)


def _operations(network: Any) -> Iterator[Any]:
    """What a network does, from its input on, networks in it opened."""
    for operation in _own_operations(network):
        if isinstance(operation, keras.Model):
            yield from _operations(operation)
        else:
            yield operation


def _own_operations(network: Any) -> list[Any]:
    return list(network.layers if isinstance(network, keras.Sequential) else network.operations)


def _stages(network: Any) -> list[tuple[str, Any]]:
    """The last two resolutions by name, each where the branches of its last block join, else its last output."""
    found: dict[int, Any] = {}
    for operation in _own_operations(network):
        if isinstance(operation, keras.Model) or type(operation).__name__ in _PADDING:
            continue
        shape: tuple[int | None, ...] = tuple(getattr(operation.output, "shape", ()))
        if len(shape) != _MAPS:
            continue
        height, width, channels = (length or 0 for length in shape[1:])
        if height != width or height <= 1 or channels <= _COLOURS:
            continue
        if type(operation).__name__ in _JOINS or type(found.get(height)).__name__ not in _JOINS:
            found[height] = operation
    # Named by their place, because Keras numbers layers without a name anew in each network of a process.
    by_side = [found[side].output for side in sorted(found, reverse=True)]
    return [(f"stage{place}", output) for place, output in enumerate(by_side, start=1)][-_KEPT_STAGES:]


def _features(network: Any, name: str) -> Any:
    """What the classifier sees: the input of the last Dense layer, found from the output backwards.

    Behind that layer there may only be what leaves the shape as it is, such as an activation. A network that ends in
    maps is pooled over all positions; one that ends in pooled features is taken as it is.

    Raises:
        BackboneError: If it ends in something else.
    """
    tensor = end = network.outputs[0]
    while True:
        operation, inputs = _made_by(tensor)
        if isinstance(operation, keras.layers.Dense) and len(inputs[0].shape) == _FLAT:
            return inputs[0]
        if isinstance(operation, keras.Model) and len(inputs) == 1:
            inside = _features(operation, name)
            return keras.Model(operation.inputs[0], inside)(inputs[0])
        if len(tensor.shape) != _FLAT or len(inputs) != 1 or inputs[0].shape != tensor.shape:
            break
        tensor = inputs[0]
    if len(end.shape) == _MAPS:
        return keras.layers.GlobalAveragePooling2D()(end)
    pooled = keras.layers.GlobalAveragePooling2D | keras.layers.GlobalMaxPooling2D | keras.layers.Flatten
    if tensor is end and isinstance(operation, pooled):
        return end
    raise BackboneError(
        f"the features of the Keras network {name!r} are not to be found: it ends in {operation.name!r}, and neither "
        "in a Dense layer nor in pooled maps",
        hint="Save the part that gives them: keras.Model(model.inputs[0], model.layers[-2].output).save('part.keras').",
    )


def _made_by(tensor: Any) -> tuple[Any, list[Any]]:
    """The operation that gives a tensor of the graph, and what it is given for that."""
    history = tensor._keras_history
    return history.operation, list(history.operation._inbound_nodes[history.node_index].input_tensors)


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Write the network from pixels to layers, without its classifier.

    Raises:
        BackboneError: If it cannot be opened, or its features cannot be found.
    """
    network = _open(source_folder / spec.source.file, spec.name)
    with keras.device("cpu"):
        _with_layers(network, spec.name, _size(network, spec.name)).save(folder / _MODEL)


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> KerasBackbone:
    """The network of `import_weights`, in float32 whatever the precision.

    Raises:
        BackboneError: If it cannot be read, or a custom layer of it is not registered in this process.
    """
    del precision
    network = _opened(
        lambda: keras.saving.load_model(folder / _MODEL, compile=False, safe_mode=True), spec.name, device
    )
    return KerasBackbone(spec, network, device)
