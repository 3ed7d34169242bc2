"""Runs image towers of patch tokens (CLIP, SigLIP, DINO, ViT, BEiT) and of maps (Swin, ResNet) through transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from headstart.backbones.backbone import Batch
from headstart.backbones.fresh import Fresh
from headstart.backbones.loaders._images import grid_layer, image_input, normaliser, on_grid
from headstart.backbones.loaders._transformers import (
    fresh_part,
    image_processor,
    open_part,
    read_config,
    save_part,
    tried,
)
from headstart.backbones.precision import Precision
from headstart.backbones.preprocess import prepare_image
from headstart.backbones.spec import BackboneSpec, CropMode, ImageInput, Interpolation, Layer, Source
from headstart.errors import BackboneError

_INTERPOLATIONS: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's
_KEPT_STAGES = 2
_MAX_CLASS_TOKENS = 2  # DeiT has one more for what its teacher says
_CONVNEXT_WHOLE_PX = 384  # from this size on, its preprocessing squashes rather than crops
_ROUNDING = 3.0 / 255.0  # the library resizes tensors, we resize pictures of bytes


class ImageTower:
    """Keeps two places of the network on a coarse grid, and the pooled output.

    Of patch tokens these are a block at three quarters of the depth and the last patches, of maps the last two. The
    pooled output is what the pretraining's head sees: the class token, or what a pooling of its own makes of the rest.
    """

    def __init__(self, spec: BackboneSpec, network: Any, device: str, precision: Precision) -> None:
        self.spec = spec
        self._device = torch.device(device)
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._network = network.to(self._device, self._dtype)
        self._normalised = normaliser(image_input(spec), self._device)

    def forward(self, batch: Batch) -> Float32[np.ndarray, "items width"]:
        """The features of a batch of uint8 pictures."""
        pictures = self._normalised(batch).to(self._dtype)
        with torch.inference_mode():
            outputs = _outputs(self._network, pictures)
            parts = [
                outputs["last"].float() if layer.name == "last" else on_grid(outputs[layer.name], layer.grid)
                for layer in self.spec.layers
            ]
            return np.asarray(torch.cat(parts, dim=1).cpu().numpy(), dtype=np.float32)


def _outputs(network: Any, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    """What can be kept, by name: two places in the network as maps, `last` as one vector an item.

    Raises:
        ValueError: If there are neither maps nor one token for each patch, with no more than the usual before them.
    """
    output = network(pixel_values=pictures, output_hidden_states=True)
    # Swin has its maps beside their tokens.
    states = output.get("reshaped_hidden_states") or output.hidden_states
    pooled = output.get("pooler_output")
    if states[-1].ndim == 4:
        pooled = states[-1].mean(dim=(2, 3)) if pooled is None else pooled.flatten(1)
        return {f"stage{row}": states[row] for row in range(len(states))[-_KEPT_STAGES:]} | {"last": pooled}
    tokens, patch = output.last_hidden_state, network.config.patch_size
    side = pictures.shape[-1] // (patch if isinstance(patch, int) else patch[0])
    n_before = tokens.shape[1] - side**2
    # YOLOS has others behind the patches, and masked autoencoders have fewer than there are patches.
    n_usual = _MAX_CLASS_TOKENS + (getattr(network.config, "num_register_tokens", None) or 0)
    if tokens.ndim != 3 or not 0 <= n_before <= n_usual:
        raise ValueError(f"{tuple(tokens.shape)} are not the tokens of {side} × {side} patches")
    depth = len(states) - 1
    middle = max(1, 3 * depth // 4)

    def as_maps(states: torch.Tensor) -> torch.Tensor:
        return states[:, n_before:].transpose(1, 2).reshape(len(states), -1, side, side)

    if pooled is None:
        pooled = tokens[:, 0] if n_before else tokens.mean(dim=1)
    return {f"block{middle}": as_maps(states[middle]), "patches": as_maps(tokens), "last": pooled}


def describe(folder: Path, name: str, source: Source) -> BackboneSpec:
    """The spec of a folder in the hub's layout for pictures.

    Raises:
        BackboneError: If it does not say how pictures are prepared, they are prepared in a way that cannot be followed,
            or the network is no tower of patch tokens or maps.
    """
    config = read_config(folder, name)
    image = _image_input(image_processor(folder, name), name)
    size = image.size_px
    outputs, n_params, gflops = tried(
        config,
        folder / source.file,
        name,
        lambda network: _outputs(network, torch.zeros(1, 3, size, size, device=network.device)),
    )
    return BackboneSpec(
        name=name,
        modality="image",
        loader="transformers",
        architecture=str(config.model_type),
        source=source,
        n_params=n_params,
        gflops=gflops,
        image=image,
        layers=tuple(
            Layer("last", maps.shape[1]) if layer == "last" else grid_layer(layer, maps)
            for layer, maps in outputs.items()
        ),
    )


def _image_input(processor: Any, name: str) -> ImageInput:
    """The library's preprocessing in our words, compared with it on one picture.

    The comparison, rather than a list of every option that a processor may have, shows whether something is left out.
    """
    wanted = _in_our_words(processor)
    if wanted is not None:
        across, down = np.meshgrid(np.linspace(0, 1, 3 * wanted.size_px // 2), np.linspace(0, 1, wanted.size_px + 9))
        picture = np.stack([across, down, np.sin(7 * across) * 0.5 + 0.5], axis=2) * 255
        ours, theirs = both_ways(picture.astype(np.uint8), wanted, processor)
        if ours.shape == theirs.shape and np.abs(ours - theirs).max() * min(wanted.std) <= _ROUNDING:
            return wanted
    raise BackboneError(
        f"{name!r} prepares pictures in a way that is not followed here ({type(processor).__name__} makes more of them "
        "than to resize them, to crop a square, and to normalise three channels)",
        hint="Choose the same network from timm (timm/NAME), or another one.",
    )


def _in_our_words(processor: Any) -> ImageInput | None:
    size = dict(processor.size or {})
    cropped = dict(processor.crop_size or {}) if getattr(processor, "do_center_crop", False) else {}
    crop_mode: CropMode = "center-down" if "shortest_edge" in size else "squash"
    resized = size.get("shortest_edge") or size.get("height")
    side = cropped.get("height") or (resized if crop_mode == "squash" else None)
    if not cropped and getattr(processor, "crop_pct", None) and resized:  # of ConvNeXt, also used by ResNet
        side = resized
        is_cropped = side < _CONVNEXT_WHOLE_PX
        crop_mode, resized = ("center-down", int(side / processor.crop_pct)) if is_cropped else ("squash", side)
    interpolation = _INTERPOLATIONS.get(int(processor.resample))
    if not side or not resized or side > resized or interpolation is None:
        return None
    normalises = bool(processor.do_normalize)
    return ImageInput(
        size_px=int(side),
        crop=_share(int(side), int(resized)),
        interpolation=interpolation,
        mean=tuple(processor.image_mean) if normalises else (0.0, 0.0, 0.0),
        std=tuple(processor.image_std) if normalises else (1.0, 1.0, 1.0),
        crop_mode=crop_mode,
    )


def _share(side: int, resized: int) -> float:
    """The share that is cropped, such that `int(side / share)` is the resized length whatever the rounding."""
    share = side / resized
    return share if int(side / share) == resized else math.nextafter(share, 0.0)


def both_ways(picture: np.ndarray, wanted: ImageInput, processor: Any) -> tuple[np.ndarray, np.ndarray]:
    """A picture as the network sees it, prepared by us and by the library.

    Args:
        picture: Height × width × 3 bytes.
        wanted: The preprocessing in our words.
        processor: The library's.
    """
    from PIL import Image

    image = Image.fromarray(picture)
    ours = normaliser(wanted, torch.device("cpu"))(prepare_image(image, wanted)[None])
    theirs = processor(images=image, return_tensors="pt")["pixel_values"]
    return ours.numpy(), theirs.numpy()


def import_weights(spec: BackboneSpec, source_folder: Path, folder: Path) -> None:
    """Write configuration and weights of the tower alone.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    save_part(read_config(source_folder, spec.name), source_folder / spec.source.file, folder, spec.name)


def load(spec: BackboneSpec, folder: Path, device: str, precision: Precision) -> ImageTower:
    """The tower with the weights of `import_weights`.

    Raises:
        BackboneError: If the weights do not fit the architecture.
    """
    return ImageTower(spec, open_part(folder, spec.name), device, precision)


def fresh(spec: BackboneSpec, folder: Path, device: str) -> Fresh:
    """The tower with the random weights that transformers gives a new one, to be trained."""
    network = fresh_part(folder, spec.name).to(device)
    normalised = normaliser(image_input(spec), torch.device(device))
    return Fresh(network, lambda batch: _outputs(network, normalised(batch))["last"])
