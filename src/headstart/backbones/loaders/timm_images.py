"""Runs vision networks through timm: the only file that imports it."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import save_file

from headstart._checks import nearest
from headstart.backbones.backbone import Batch
from headstart.backbones.fresh import Fresh
from headstart.backbones.loaders._cost import counted
from headstart.backbones.loaders._cutting import input_of
from headstart.backbones.loaders._folding import fold_batch_norm
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
from headstart.backbones.stages import Cut, boundary
from headstart.errors import BackboneError

with uncompiled():
    import timm

_KEPT_STAGES = 2
_CONFIG = "config.json"
_ROWS_OF_STAGES = ("blocks", "stages", "layers")
_SINGLE_STAGE = re.compile(r"(layer|s)\d+")  # of ResNets and RegNets
_HEAD = {"global_pool", "attn_pool", "fc_norm", "head_drop", "head", "fc", "classifier"}
"""Where timm's `forward_head` begins: modules lie in a network in the order in which they run."""


class TimmBackbone:
    """A timm network; keeps its last stages on a coarse grid beside the pooled output.

    The grid matters when the data is far from photographs: on 100 handwritten digits a linear head on the stride-16
    stage in 4 × 4 cells is right in 97 % of the cases, on the pooled last layer in 82 % (benchmarks/layers.py).
    """

    def __init__(self, spec: BackboneSpec, network: Any, device: str, precision: Precision) -> None:
        wanted = image_input(spec)
        self.spec = spec
        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._stages = sorted(_stage_index(layer.name) for layer in spec.layers if layer.name != "last")
        self._network = for_passes(
            *(network, lambda each, pictures: _outputs(each, pictures, self._stages)),
            size_px=wanted.size_px,
            device=self._device,
            dtype=self._dtype,
        )
        self._normalised = normaliser(wanted, self._device)

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch of uint8 pictures."""
        pictures = self._normalised(batch)
        with torch.inference_mode():
            maps, *stages = _outputs(self._network, pictures.to(self._dtype), self._stages)
            last = self._network.forward_head(maps, pre_logits=True)
            kept = dict(zip(self._stages, stages, strict=True))
            parts = [
                last.float() if layer.name == "last" else on_grid(kept[_stage_index(layer.name)], layer.grid)
                for layer in self.spec.layers
            ]
            return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)


def _outputs(network: Any, pictures: torch.Tensor, stages: Sequence[int]) -> tuple[Any, ...]:
    """The last feature maps, then those of the given stages, which must be in the order of the network."""
    if not stages:
        return (network.forward_features(pictures),)
    maps, kept = network.forward_intermediates(pictures, indices=list(stages))
    return (maps, *kept)


def _stage_index(name: str) -> int:
    return int(name.removeprefix("stage")) - 1


def hub_repository(architecture: str) -> str:
    """Where the hub has timm's default weights of an architecture.

    Raises:
        BackboneError: If this timm does not know the architecture, or has no weights for it.
    """
    _check_known(architecture)
    facts = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    if facts is None or not facts.hf_hub_id:
        raise BackboneError(
            f"timm {timm.__version__} has no pretrained weights of {architecture!r}",
            hint="Name one that timm.list_models(pretrained=True) lists.",
        )
    return str(facts.hf_hub_id)


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a folder in timm's hub layout: `config.json` beside `model.safetensors`.

    Raises:
        BackboneError: If this timm does not know the architecture, or the network sees something else than squares of
            three channels.
    """
    config = _read_config(folder, name)
    facts = config.get("pretrained_cfg") or config
    return _described(str(config.get("architecture", "")), config.get("model_args") or {}, facts, name, source)


def describe_checkpoint(architecture: str, name: str, source: Source) -> BackboneSpec:
    """The spec of a file of weights, of which only the architecture is known.

    Args:
        architecture: timm's name, such as `resnet50`. Pictures are prepared as for timm's own weights of it; a tag, as
            in `resnet50.tv_in1k`, says for which of them.
        name: How the user writes it.
        source: The file.

    Raises:
        BackboneError: If this timm does not know the architecture, or the network sees something else than squares of
            three channels.
    """
    alone = architecture.partition(".")[0]
    _check_known(alone)
    try:
        facts = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    except RuntimeError as error:  # no weights have this tag
        raise BackboneError(
            f"timm {timm.__version__} has no weights {architecture!r} whose preprocessing could be taken",
            hint=f"Leave the tag out: --arch {alone}",
        ) from error
    # Whose licence, paper and tag the facts name are those of timm's weights, and not of the user's.
    theirs = {"tag", "license", "paper_ids"}
    kept = {fact: value for fact, value in (facts.to_dict() if facts else {}).items() if fact not in theirs}
    return _described(alone, {}, kept, name, source)


def _described(
    architecture: str, arguments: dict[str, Any], facts: dict[str, Any], name: str, source: Source
) -> BackboneSpec:
    image = _image_input(facts, name)
    network = _build(architecture, arguments)
    layers, gflops = _layers(network, image.size_px, name)
    return BackboneSpec(
        name=name,
        modality="image",
        loader="timm",
        architecture=architecture,
        tag=facts.get("tag") or "",
        source=source,
        licence=facts.get("license") or "",
        n_params=sum(parameter.numel() for parameter in network.parameters()),
        gflops=gflops,
        image=image,
        layers=layers,
        citation=facts.get("paper_ids") or "",
    )


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"the {_CONFIG} of {name!r} cannot be read as JSON: {error}", hint="Save the network again."
        ) from error
    return config if isinstance(config, dict) else {}


def _image_input(facts: dict[str, Any], name: str) -> ImageInput:
    """As timm.data.resolve_data_config(use_test_size=True), but a fixed size stays."""
    fixed = bool(facts.get("fixed_input_size"))
    shape = list((None if fixed else facts.get("test_input_size")) or facts.get("input_size") or (3, 224, 224))
    crop_mode = facts.get("crop_mode") or "center"
    if shape[0] != 3 or shape[1] != shape[2] or crop_mode not in {"center", "squash"}:
        raise BackboneError(
            f"{name!r} must see square pictures of 3 channels, cropped or squashed, "
            f"but its input is {shape} and its crop mode {crop_mode!r}",
            hint="Choose other weights.",
        )
    at_test_size = facts.get("test_crop_pct") if not fixed and facts.get("test_input_size") else None
    return ImageInput(
        size_px=int(shape[1]),
        crop=float(at_test_size or facts.get("crop_pct") or timm.data.DEFAULT_CROP_PCT),
        interpolation=facts.get("interpolation") or "bicubic",
        mean=tuple(facts.get("mean") or timm.data.IMAGENET_DEFAULT_MEAN),
        std=tuple(facts.get("std") or timm.data.IMAGENET_DEFAULT_STD),
        crop_mode="squash" if crop_mode == "squash" else "center",
    )


def _layers(network: Any, size_px: int, name: str) -> tuple[tuple[Layer, ...], float]:
    """The last two stages on the finest grid that stays under 2,048 numbers, then the pooled output; and the cost."""
    pictures = torch.zeros(1, 3, size_px, size_px)
    run = partial(counted, lambda: _stages_and_last(network, pictures))
    (stages, last), gflops = sees_squares(network, run, name, size_px)
    first = max(0, len(stages) - _KEPT_STAGES)
    kept = [grid_layer(f"stage{index + 1}", stages[index]) for index in range(first, len(stages))]
    return (*kept, Layer("last", int(last.shape[1]))), gflops


def _stages_and_last(network: Any, pictures: torch.Tensor) -> tuple[list[Any], Any]:
    if not hasattr(network, "forward_intermediates"):  # not every timm network offers its stages
        return [], network.forward_head(network.forward_features(pictures), pre_logits=True)
    maps, stages = network.forward_intermediates(pictures)
    return stages, network.forward_head(maps, pre_logits=True)


def _check_known(architecture: str) -> None:
    if timm.is_model(architecture):
        return
    close = nearest(architecture, timm.list_models())
    raise BackboneError(
        f"timm {timm.__version__} has no architecture {architecture!r}",
        hint=f"Did you mean {close!r}?" if close else "timm.list_models() has all names.",
    )


def _build(architecture: str, arguments: dict[str, Any], *, with_classifier: bool = False) -> Any:
    _check_known(architecture)
    given = arguments if with_classifier else {**arguments, "num_classes": 0}
    try:
        return timm.create_model(architecture, pretrained=False, **given)
    except TypeError as error:
        raise BackboneError(
            f"timm {timm.__version__} cannot build {architecture!r} with the model_args {arguments!r}",
            hint="Use the version of timm that saved the network.",
        ) from error


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Write the weights as safetensors under timm's names, without the classifier, and what the network is built with.

    The classifier goes to a file of its own; how many classes it has is read off the weights.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    arguments = _arguments(spec, source_folder)
    headless = _build(spec.architecture, arguments).state_dict()
    network = _build(spec.architecture, arguments, with_classifier=True)
    given = read_checkpoint(source_folder / spec.source.file, spec.name)
    if spec.source.origin == "package":
        given = _in_order(spec, given, network.state_dict())
    classifier = [name for name in network.state_dict() if name not in headless]
    if not any(name in given for name in classifier):
        network = _build(spec.architecture, arguments)
    else:
        n_classes = {len(given[name]) for name in classifier if name in given}
        if n_classes != {network.num_classes} and len(n_classes) == 1:
            network = _build(spec.architecture, {**arguments, "num_classes": n_classes.pop()}, with_classifier=True)
    # The classifier is left out, and it alone: whatever else is too much is an error.
    load_strictly(network, given, name=spec.name, architecture=spec.architecture)
    weights = network.state_dict()
    save_file({name: weights[name].contiguous() for name in headless}, folder / "model.safetensors")
    if arguments:
        (folder / _CONFIG).write_text(json.dumps({"model_args": arguments}), encoding="utf-8")
    pictures = example_pictures(image_input(spec).size_px)
    with torch.inference_mode():
        last = network.eval().forward_head(network.forward_features(pictures), pre_logits=True)
        dropped = {name: weights[name] for name in weights if name not in headless}
        keep_source_head(folder, spec, dropped, last=last, logits=network(pictures))


def _arguments(spec: BackboneSpec, folder: Path) -> dict[str, Any]:
    """What the network is built with. A config.json beside a checkpoint or inside a package is somebody else's."""
    if spec.source.origin in {"file", "package"} or not (folder / _CONFIG).exists():
        return {}
    return dict(_read_config(folder, spec.name).get("model_args") or {})


def _in_order(spec: BackboneSpec, given: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Weights of another port of the same network: same tensors in the same order under other names."""
    if [tensor.shape for tensor in given.values()] != [tensor.shape for tensor in expected.values()]:
        raise BackboneError(
            f"the weights of {spec.name!r} do not have the shapes of {spec.architecture!r} in its order",
            hint="Install the package version that the catalogue names.",
        )
    return dict(zip(expected, given.values(), strict=True))


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> TimmBackbone:
    """The network with the weights of `import_weights`, loaded strictly.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    return TimmBackbone(spec, _filled(spec, folder), device, precision)


def _filled(spec: BackboneSpec, folder: Path) -> Any:
    network = _build(spec.architecture, _arguments(spec, folder))
    weights = read_weights(folder / "model.safetensors", spec.name)
    load_strictly(network, weights, name=spec.name, architecture=spec.architecture)
    return network


def fresh(spec: BackboneSpec, folder: Path, device: str) -> Fresh:
    """The network with the random weights of `timm.create_model`, to be trained."""
    place = torch.device(device)
    network = _build(spec.architecture, _arguments(spec, folder)).to(place, memory_format=torch.channels_last)
    normalised = normaliser(image_input(spec), place)

    def last(batch: Batch) -> torch.Tensor:
        pooled: torch.Tensor = network.forward_head(network.forward_features(normalised(batch)), pre_logits=True)
        return pooled

    return Fresh(network, last)


def cut(spec: BackboneSpec, folder: Path, n_stages: int | None, device: str, precision: Precision) -> Cut:
    """The network in two parts; BatchNorm below the cut is folded, above it stays as it is.

    Raises:
        OptionError: If the network has fewer stages.
        BackboneError: If the weights do not fit, or the network has no stages that follow each other.
    """
    network = _filled(spec, folder).eval()
    stages, rest = _stages_in_order(network)
    first = boundary(list(stages), n_stages, spec)
    name, above = list(stages)[first], [*list(stages.values())[first:], *rest]
    wanted = image_input(spec)
    place, dtype = torch.device(device), torch.bfloat16 if precision == "bfloat16" else torch.float32
    example = example_pictures(wanted.size_px)

    def run_below(frozen: Any, pictures: torch.Tensor) -> torch.Tensor:
        return input_of(frozen.get_submodule(name), lambda: frozen.forward_features(pictures))

    below = fold_batch_norm(network.requires_grad_(requires_grad=False), lambda each: (run_below(each, example),))
    # What has no norm to fold comes back as it is, and what is trained must be another network.
    below = copy.deepcopy(below) if below is network else below
    below = below.to(place, dtype, memory_format=torch.channels_last)
    network = network.to(place, memory_format=torch.channels_last)
    normalised = normaliser(wanted, place)

    def lower(batch: Batch) -> tuple[torch.Tensor, None]:
        with torch.no_grad():  # not inference_mode, whose tensors no gradient may pass
            maps = run_below(below, normalised(batch).to(dtype))
        # Channels at the end, as they lie in memory: what is kept and read again then lies so without a copy.
        return (maps.permute(0, 2, 3, 1) if maps.ndim == 4 else maps), None

    def upper(activations: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        del lengths
        maps = activations.permute(0, 3, 1, 2) if activations.ndim == 4 else activations
        for module in above:
            maps = module(maps)
        last: torch.Tensor = network.forward_head(maps, pre_logits=True)
        return last

    def whole(batch: Batch) -> torch.Tensor:
        with torch.inference_mode():
            last: torch.Tensor = network.forward_head(network.forward_features(normalised(batch)), pre_logits=True)
        return last

    def save(target: Path) -> None:
        weights = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
        save_file(weights, target / "model.safetensors")
        if (folder / _CONFIG).exists():
            shutil.copyfile(folder / _CONFIG, target / _CONFIG)

    return Cut(lower, upper, whole, network, tuple(stages.values())[first:], save)


def _stages_in_order(network: Any) -> tuple[dict[str, torch.nn.Module], list[torch.nn.Module]]:
    """The stages by name, and the modules between the last of them and the head."""
    stages: dict[str, torch.nn.Module] = {}
    rest: list[torch.nn.Module] = []
    for name, module in network.named_children():
        if name in _HEAD:
            break
        if name in _ROWS_OF_STAGES:
            stages |= {f"{name}.{each}": stage for each, stage in module.named_children()}
        elif _SINGLE_STAGE.fullmatch(name):
            stages[name] = module
        elif stages:
            rest.append(module)
    return stages, rest
