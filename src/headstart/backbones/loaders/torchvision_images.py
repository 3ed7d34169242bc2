"""Runs image classifiers through torchvision: the only file that imports it."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import save_file

from headstart._checks import did_you_mean, nearest
from headstart.backbones.backbone import Batch
from headstart.backbones.fresh import Fresh
from headstart.backbones.loaders._cost import counted
from headstart.backbones.loaders._images import (
    example_pictures,
    for_passes,
    grid_layer,
    image_input,
    keep_source_head,
    normaliser,
    on_grid,
    sees_squares,
)
from headstart.backbones.loaders._uncompiled import uncompiled
from headstart.backbones.loaders._weights import load_strictly, read_checkpoint, read_weights
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source
from headstart.errors import BackboneError

with uncompiled():
    import torchvision
    from torchvision import models
    from torchvision.transforms import InterpolationMode

_KEPT_STAGES = 2
_OF_TRAINING = ("AuxLogits.", "aux1.", "aux2.")  # the auxiliary classifiers of Inception and GoogLeNet
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")


class TorchvisionBackbone:
    """A torchvision network; keeps its last two resolutions on a coarse grid beside what its classifier sees."""

    def __init__(self, spec: BackboneSpec, network: Any, device: str, precision: Precision) -> None:
        wanted = image_input(spec)
        self.spec = spec
        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._network = for_passes(
            *(network, lambda each, pictures: _outputs(each, pictures, spec)),
            size_px=wanted.size_px,
            device=self._device,
            dtype=self._dtype,
        )
        self._normalised = normaliser(wanted, self._device)

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch of uint8 pictures."""
        with torch.inference_mode():
            parts = _outputs(self._network, self._normalised(batch).to(self._dtype), self.spec)
            return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)


def _outputs(network: Any, pictures: torch.Tensor, spec: BackboneSpec) -> list[torch.Tensor]:
    """The layers in the order of the spec."""
    kept: dict[str, torch.Tensor] = {}

    def keep(layer: Layer, module: Any, inputs: Any, output: torch.Tensor) -> None:
        del module, inputs
        # Pooled at once: many networks go on in place, and the whole map would be kept for nothing.
        kept[layer.name] = on_grid(_maps(output, spec.architecture), layer.grid)

    stages = [layer for layer in spec.layers if layer.name != "last"]
    hooks = [network.get_submodule(layer.name).register_forward_hook(partial(keep, layer)) for layer in stages]
    try:
        kept["last"] = network(pictures).float()
    finally:
        for hook in hooks:
            hook.remove()
    return [kept[layer.name] for layer in spec.layers]


def _maps(output: torch.Tensor, architecture: str) -> torch.Tensor:
    """A stage's output as items × channels × height × width."""
    if architecture.startswith("swin"):
        return output.permute(0, 3, 1, 2)
    if output.dim() == 3:  # ViT: the class token, then the patches row by row
        patches = output[:, 1:].transpose(1, 2)
        side = int(patches.shape[2] ** 0.5)
        return patches.reshape(len(patches), -1, side, side)
    return output


def weights_url(name: str) -> str:
    """Where torchvision has weights.

    Args:
        name: As in `resnet50.IMAGENET1K_V2`; without the tag, torchvision's default weights.

    Raises:
        BackboneError: If this torchvision does not know the architecture or the weights.
    """
    return str(_weights(name).url)


def _weights(name: str) -> Any:
    architecture, _, tag = name.partition(".")
    _check_known(architecture)
    known = models.get_model_weights(architecture)
    if tag and tag not in known.__members__:
        raise BackboneError(
            f"torchvision {torchvision.__version__} has no weights {tag!r} of {architecture!r}; "
            f"there is {', '.join(known.__members__)}",
            hint=did_you_mean(tag, known.__members__),
        )
    return known[tag or "DEFAULT"]


def _check_known(architecture: str) -> None:
    known = models.list_models(module=models)
    if architecture not in known:
        close = nearest(architecture, known)
        raise BackboneError(
            f"torchvision {torchvision.__version__} has no image classifier {architecture!r}",
            hint=f"Did you mean {close!r}?" if close else "torchvision.models.list_models() has all names.",
        )


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of one of torchvision's own weights.

    Args:
        folder: Not looked at: torchvision has the facts itself.
        name: `torchvision/NAME` or `torchvision/NAME.WEIGHTS`.
        source: The file.

    Raises:
        BackboneError: If this torchvision does not know the architecture or the weights.
    """
    del folder
    weights = _weights(name.removeprefix("torchvision/"))
    facts = weights.meta
    swag = "SWAG" in weights.name
    return replace(
        _described(weights, name, source),
        tag=weights.name,
        licence=facts.get("license") or "",
        pretrained_on=("hashtags of pictures (SWAG), then " if swag else "") + "ImageNet-1k, supervised",
        citation=facts.get("recipe") or "",
    )


def describe_checkpoint(architecture: str, name: str, source: Source) -> BackboneSpec:
    """The spec of a file of weights, of which only the architecture is known.

    Args:
        architecture: torchvision's name. Pictures are prepared as for torchvision's default weights of it; a tag, as in
            `resnet50.IMAGENET1K_V1`, says for which others.
        name: How the user writes it.
        source: The file.

    Raises:
        BackboneError: If this torchvision does not know the architecture or the weights.
    """
    return _described(_weights(architecture), name, source)


def _described(weights: Any, name: str, source: Source) -> BackboneSpec:
    architecture = _architecture(weights)
    image = _image_input(weights.transforms())
    network = _without_classifier(_build(architecture, image.size_px, device="meta"))
    run = partial(counted, lambda: _stages_and_last(network, architecture, image.size_px))
    (stages, last), gflops = sees_squares(network, run, name, image.size_px)
    kept = [grid_layer(stage, maps) for stage, maps in list(stages.items())[-_KEPT_STAGES:]]
    return BackboneSpec(
        name=name,
        modality="image",
        loader="torchvision",
        architecture=architecture,
        source=source,
        n_params=sum(parameter.numel() for parameter in network.parameters()),
        gflops=gflops,
        image=image,
        layers=(*kept, Layer("last", int(last.shape[1]))),
    )


def _architecture(weights: Any) -> str:
    known = models.list_models(module=models)
    return next(str(each) for each in known if models.get_model_weights(each) is type(weights))


def _image_input(transforms: Any) -> ImageInput:
    """As the weights' own evaluation transform, whose sizes are those of squares."""
    (size_px,), (resized_px,) = transforms.crop_size, transforms.resize_size
    return ImageInput(
        size_px=size_px,
        crop=size_px / resized_px,
        interpolation="bicubic" if transforms.interpolation == InterpolationMode.BICUBIC else "bilinear",
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )


def _stages_and_last(network: Any, architecture: str, size_px: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The last output of each resolution, in the order of the network, by the name of the module that gives it.

    All blocks of a ViT have one resolution; there each block counts.
    """
    found: dict[object, tuple[str, torch.Tensor]] = {}

    def keep(name: str, module: Any, inputs: Any, output: Any) -> None:
        del module, inputs
        is_block = name.startswith("encoder.layers.")
        if not isinstance(output, torch.Tensor) or output.dim() != (3 if is_block else 4):
            return
        maps = _maps(output, architecture)
        height, width = maps.shape[2:]
        if height == width > 1:
            found.pop(place := name if is_block else height, None)
            found[place] = (name, maps.clone())

    hooks = [module.register_forward_hook(partial(keep, name)) for name, module in _in_sequence(network)]
    try:
        last = network(torch.zeros(1, 3, size_px, size_px, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return dict(found.values()), last


def _in_sequence(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What runs one after the other: the children of the network and of its containers, not the inside of blocks."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        yield path, child
        # Not their subclasses, which are blocks; `encoder` holds those of a ViT.
        if type(child) in {torch.nn.Sequential, torch.nn.ModuleList} or path == "encoder":
            yield from _in_sequence(child, path)


def _build(architecture: str, size_px: int, *, device: str = "cpu", **arguments: Any) -> Any:
    """As the builder does when it is given weights, without what only training needs.

    The values are whatever lies in memory: to draw 90 million random numbers takes seconds, and all are loaded anyway.
    """
    # RegNet's builder computes its widths with tensors that must have values.
    with torch.device("cpu" if architecture.startswith("regnet") else "meta"):
        return _new(architecture, size_px, init_weights=False, **arguments).to_empty(device=device)


def _new(architecture: str, size_px: int, *, init_weights: bool, **arguments: Any) -> Any:
    if architecture in {"inception_v3", "googlenet"}:
        arguments |= {"transform_input": True, "aux_logits": False, "init_weights": init_weights}
    if architecture.startswith("vit_"):
        arguments["image_size"] = size_px
    return models.get_model(architecture, weights=None, **arguments)


def _classifier(network: Any) -> str:
    """The name of the last linear layer; SqueezeNet, which has none, ends in a convolution and a mean."""
    linear = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    return linear[-1] if linear else "classifier"


def _without_classifier(network: Any) -> Any:
    name = _classifier(network)
    is_linear = isinstance(network.get_submodule(name), torch.nn.Linear)
    network.set_submodule(name, torch.nn.Identity() if is_linear else torch.nn.AdaptiveAvgPool2d(1))
    return network


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Write the weights as safetensors under torchvision's names, without the classifier.

    The classifier goes to a file of its own; how many classes it has is read off the weights.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    size_px = image_input(spec).size_px
    given = _present_names(read_checkpoint(source_folder / spec.source.file, spec.name))
    network = _build(spec.architecture, size_px)
    classifier = _classifier(network)
    dropped = [name for name in given if name.startswith(f"{classifier}.")]
    if not dropped:
        network = _without_classifier(network)
    elif f"{classifier}.weight" in given:
        network = _build(spec.architecture, size_px, num_classes=len(given[f"{classifier}.weight"]))
    load_strictly(network, given, name=spec.name, architecture=spec.architecture)
    network.eval()
    weights = network.state_dict()
    kept = {name: tensor.contiguous() for name, tensor in weights.items() if not name.startswith(f"{classifier}.")}
    save_file(kept, folder / "model.safetensors")
    pictures = example_pictures(size_px)
    with torch.inference_mode():
        logits = network(pictures)
        last = _without_classifier(network)(pictures) if dropped else logits
    keep_source_head(folder, spec, {name: weights[name] for name in dropped}, last=last, logits=logits)


def _present_names(given: dict[str, Any]) -> dict[str, Any]:
    """Without the auxiliary classifiers, and with the names that torchvision's builders translate themselves."""
    renamed = {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in given.items()}
    kept = OrderedDict((name, tensor) for name, tensor in renamed.items() if not name.startswith(_OF_TRAINING))
    if hasattr(given, "_metadata"):  # modules know by it which older names of theirs to translate
        vars(kept)["_metadata"] = given._metadata
    return kept


def fresh(spec: BackboneSpec, folder: Path, device: str) -> Fresh:
    """The network with the random weights of torchvision's builder, to be trained."""
    del folder
    wanted, place = image_input(spec), torch.device(device)
    made = _new(spec.architecture, wanted.size_px, init_weights=True)
    network = _without_classifier(made).to(place, memory_format=torch.channels_last)
    normalised = normaliser(wanted, place)
    return Fresh(network, lambda batch: network(normalised(batch)))


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> TorchvisionBackbone:
    """The network with the weights of `import_weights`, loaded strictly.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    network = _without_classifier(_build(spec.architecture, image_input(spec).size_px))
    weights = read_weights(folder / "model.safetensors", spec.name)
    load_strictly(network, weights, name=spec.name, architecture=spec.architecture)
    return TorchvisionBackbone(spec, network, device, precision)
