"""Runs vision networks through timm: the only file that imports it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from jaxtyping import Float32
from safetensors.torch import load_file, save_file

from headstart._checks import did_you_mean
from headstart.backbones.backbone import Batch
from headstart.backbones.loaders._folding import fold_batch_norm
from headstart.backbones.precision import Precision
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source
from headstart.errors import BackboneError

_MAX_LAYER_WIDTH = 2048
_KEPT_STAGES = 2


class TimmBackbone:
    """A timm network; keeps its last stages on a coarse grid beside the pooled output.

    The grid matters when the data is far from photographs: on 100 handwritten digits a linear head on the stride-16
    stage in 4 × 4 cells is right in 96 % of the cases, on the pooled last layer in 75 % (benchmarks/layers.py).
    """

    def __init__(self, spec: BackboneSpec, network: Any, device: str, precision: Precision) -> None:
        wanted = spec.image
        if wanted is None:
            raise BackboneError(f"the spec of {spec.name!r} says nothing about images")
        self.spec = spec
        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        size = wanted.size_px
        folded = fold_batch_norm(network.eval().requires_grad_(False), torch.linspace(-1, 1, 3 * size**2).view(1, 3, size, size))
        self._network = folded.to(self._device, self._dtype, memory_format=torch.channels_last)
        self._mean = torch.tensor(wanted.mean, device=self._device).view(1, 3, 1, 1) * 255.0
        self._std = torch.tensor(wanted.std, device=self._device).view(1, 3, 1, 1) * 255.0
        self._stages = [_stage_index(layer.name) for layer in spec.layers if layer.name != "last"]

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch of uint8 pictures."""
        pixels = torch.from_numpy(np.asarray(batch)).to(self._device)
        # items × height × width × 3 seen as items × 3 × height × width is channels_last already: nothing is copied.
        pictures = (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std
        with torch.inference_mode():
            maps, stages = self._maps(pictures.to(self._dtype))
            last = self._network.forward_head(maps, pre_logits=True)
        kept = dict(zip(self._stages, stages, strict=True))
        parts = [
            last.float() if layer.name == "last" else _on_grid(kept[_stage_index(layer.name)], layer.grid)
            for layer in self.spec.layers
        ]
        return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)

    def _maps(self, pictures: torch.Tensor) -> tuple[Any, list[Any]]:
        if not self._stages:
            return self._network.forward_features(pictures), []
        maps, stages = self._network.forward_intermediates(pictures, indices=self._stages)
        return maps, stages


def _stage_index(name: str) -> int:
    return int(name.removeprefix("stage")) - 1


def _on_grid(maps: torch.Tensor, grid: int) -> torch.Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(maps.float(), grid).flatten(1)


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a folder in timm's hub layout: `config.json` beside `model.safetensors`.

    Raises:
        BackboneError: If this timm does not know the architecture.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    facts = config.get("pretrained_cfg", config)
    network = _build(config["architecture"], config.get("model_args") or {})
    size = facts.get("test_input_size") or facts["input_size"]
    image = ImageInput(
        size_px=int(facts["input_size"][-1] if facts.get("fixed_input_size") else size[-1]),
        crop=float(facts.get("test_crop_pct") or facts.get("crop_pct") or 0.875),
        interpolation=facts.get("interpolation", "bicubic"),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
    )
    return BackboneSpec(
        name=name,
        modality="image",
        loader="timm",
        architecture=config["architecture"],
        tag=facts.get("tag") or "",
        source=source,
        licence=facts.get("license") or "",
        n_params=sum(parameter.numel() for parameter in network.parameters()),
        image=image,
        layers=_layers(network, image.size_px),
        citation=facts.get("paper_ids") or "",
    )


def _layers(network: Any, size_px: int) -> tuple[Layer, ...]:
    """The last two stages on the finest grid that stays under 2,048 numbers, then the pooled output."""
    kept: list[Layer] = []
    pictures = torch.zeros(1, 3, size_px, size_px)
    with torch.inference_mode():
        try:
            maps, stages = network.eval().forward_intermediates(pictures)
        except (AttributeError, TypeError, AssertionError):  # not every timm network offers its stages
            maps, stages = network.eval().forward_features(pictures), []
        last = network.forward_head(maps, pre_logits=True)
    for index in range(max(0, len(stages) - _KEPT_STAGES), len(stages)):
        channels, side = stages[index].shape[1], min(stages[index].shape[2:])
        grid = next((cells for cells in (4, 2) if cells <= side and cells**2 * channels <= _MAX_LAYER_WIDTH), 1)
        kept.append(Layer(f"stage{index + 1}", channels * grid**2, grid))
    return (*kept, Layer("last", int(last.shape[1])))


def _build(architecture: str, arguments: dict[str, Any] | None = None) -> Any:
    if not timm.is_model(architecture):
        raise BackboneError(
            f"timm {timm.__version__} has no architecture {architecture!r}",
            hint=did_you_mean(architecture, timm.list_models()),
        )
    return timm.create_model(architecture, pretrained=False, num_classes=0, **(arguments or {}))


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Write the weights as safetensors under timm's names, without the classifier.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    file = source_folder / spec.source.file
    network = _build(spec.architecture)
    expected = network.state_dict()
    if file.suffix == ".pth":
        # weights_only refuses everything but tensors; the file's sha256 was checked before.
        given = torch.load(file, map_location="cpu", weights_only=True)
        given = _in_order(spec, given, timm.create_model(spec.architecture, pretrained=False).state_dict())
    else:
        given = load_file(file)
    kept = {name: tensor.contiguous() for name, tensor in given.items() if name in expected}
    _check_fit(spec, kept, expected)
    save_file(kept, folder / "model.safetensors")


def _in_order(spec: BackboneSpec, given: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Weights of another port of the same network: same tensors in the same order under other names."""
    if [tensor.shape for tensor in given.values()] != [tensor.shape for tensor in expected.values()]:
        raise BackboneError(
            f"the weights of {spec.name!r} do not have the shapes of {spec.architecture!r} in its order",
            hint="Install the package version that the catalogue names.",
        )
    return dict(zip(expected, given.values(), strict=True))


def _check_fit(spec: BackboneSpec, given: dict[str, Any], expected: dict[str, Any]) -> None:
    missing = [name for name in expected if name not in given]
    misshapen = [name for name in given if given[name].shape != expected[name].shape]
    if missing or misshapen:
        raise BackboneError(
            f"the weights of {spec.name!r} do not fit {spec.architecture!r}: missing {missing[:5] or 'none'}, "
            f"of another shape {misshapen[:5] or 'none'}",
            hint="Check that the architecture is the one that the weights were trained with.",
        )


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> TimmBackbone:
    """The network with the weights of `import_weights`, loaded strictly."""
    network = _build(spec.architecture)
    weights = load_file(folder / "model.safetensors")
    _check_fit(spec, weights, network.state_dict())
    network.load_state_dict(weights, strict=True)
    return TimmBackbone(spec, network, device, precision)
