"""What the loaders of image networks share: pixels in, maps on a coarse grid out, and the classifier kept beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from headstart.backbones.backbone import Batch
from headstart.backbones.loaders._folding import fold_batch_norm
from headstart.backbones.loaders._fusing import fuse_activations
from headstart.backbones.source_head import SOURCE_HEAD
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer
from headstart.errors import BackboneError

_MAX_LAYER_WIDTH = 2048
_ROUNDING = 1e-4  # relative: sums in another order


def image_input(spec: BackboneSpec) -> ImageInput:
    """The preprocessing of a backbone for images.

    Raises:
        BackboneError: If the spec has none.
    """
    if spec.image is None:
        raise BackboneError(
            f"the spec of {spec.name!r} must say what images it sees, but has no image section",
            hint="Import the backbone again.",
        )
    return spec.image


def example_pictures(size_px: int) -> torch.Tensor:
    """One normalised picture in which no two pixels are equal."""
    return torch.linspace(-1, 1, 3 * size_px**2).view(1, 3, size_px, size_px)


def for_passes(
    network: Any,
    run: Callable[[Any, torch.Tensor], Sequence[Any]],
    *,
    size_px: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    """A network where and as it runs fastest: frozen, norms folded, placed, activations fused.

    Args:
        network: In float32.
        run: Sends pictures through a network and returns every output that is kept.
        size_px: Height and width of the pictures.
        device: Where it runs.
        dtype: In which precision.
    """
    example = example_pictures(size_px)
    frozen = network.eval().requires_grad_(requires_grad=False)
    folded = fold_batch_norm(frozen, lambda each: run(each, example))
    placed = folded.to(device, dtype, memory_format=torch.channels_last)
    example = example.to(device, dtype, memory_format=torch.channels_last)
    return fuse_activations(placed, lambda each: run(each, example))


def normaliser(wanted: ImageInput, device: torch.device) -> Callable[[Batch], torch.Tensor]:
    """A function from uint8 pictures to what the network sees, in float32, items × 3 × height × width."""
    mean = torch.tensor(wanted.mean, device=device).view(1, 3, 1, 1) * 255.0
    std = torch.tensor(wanted.std, device=device).view(1, 3, 1, 1) * 255.0

    def normalised(batch: Batch) -> torch.Tensor:
        # A copy, because the caller's array may be read-only or a view of another.
        pixels = torch.tensor(np.ascontiguousarray(batch), device=device)
        # items × height × width × 3 seen as items × 3 × height × width is channels_last already: nothing is copied.
        return (pixels.permute(0, 3, 1, 2).float() - mean) / std

    return normalised


def grid_layer(name: str, maps: torch.Tensor) -> Layer:
    """A stage on the finest grid of 4 × 4, 2 × 2 or 1 cell that stays under 2,048 numbers.

    Args:
        name: The stage's name.
        maps: Its output for one picture, 1 × channels × height × width.
    """
    channels, side = maps.shape[1], min(maps.shape[2:])
    grid = next((cells for cells in (4, 2) if cells <= side and cells**2 * channels <= _MAX_LAYER_WIDTH), 1)
    return Layer(name, channels * grid**2, grid)


def on_grid(maps: torch.Tensor, grid: int) -> torch.Tensor:
    """The mean over each cell, side by side, in float32."""
    return torch.nn.functional.adaptive_avg_pool2d(maps.float(), grid).flatten(1)


def keep_source_head(
    folder: Path, spec: BackboneSpec, dropped: dict[str, torch.Tensor], *, last: torch.Tensor, logits: torch.Tensor
) -> None:
    """Write the classifier to `source_head.safetensors`, where it is one linear layer on the pooled output.

    Args:
        folder: Where.
        spec: What the weights belong to.
        dropped: The tensors of the complete network that the backbone does not have.
        last: The pooled output for some pictures.
        logits: What the complete network answers for the same.

    Raises:
        BackboneError: If the weights give no finite features.
    """
    if not torch.isfinite(last).all():
        raise BackboneError(
            f"the weights of {spec.name!r} give features that are not finite numbers",
            hint="Choose weights that were trained with their classifier, or save them again.",
        )
    weight = next((tensor for name, tensor in dropped.items() if name.endswith("weight")), None)
    if weight is None or weight.flatten(1).shape != (logits.shape[-1], last.shape[-1]):
        return
    # A classifier of BiT is a convolution of 1 × 1, and MaxViT's has no bias.
    weight = weight.flatten(1)
    bias = next((tensor for name, tensor in dropped.items() if name.endswith("bias")), torch.zeros(len(weight)))
    # Whatever else lies between the two, such as a second classifier, shows in the numbers.
    if (last @ weight.T + bias - logits).norm() <= _ROUNDING * logits.norm():
        save_file({"weight": weight.contiguous(), "bias": bias.contiguous()}, folder / SOURCE_HEAD)


def sees_squares(network: Any, run: Callable[[], Any], name: str, size_px: int) -> Any:
    """What a network returns for an example, or one sentence where it cannot take it.

    Args:
        network: Frozen and in evaluation mode after this.
        run: Sends the example through it.
        name: What the backbone is called.
        size_px: Height and width of the example.

    Raises:
        BackboneError: If the network does not turn the example into features.
    """
    # torch's counter of operations fails where a parameter that could learn is itself an input, as SigLIP's query is.
    network.eval().requires_grad_(requires_grad=False)
    try:
        return run()
    except (AssertionError, AttributeError, TypeError, ValueError, RuntimeError) as error:  # timm asserts sizes
        raise BackboneError(
            f"the network of {name!r} does not turn a picture of {size_px} pixels a side into features",
            hint="Choose a classification network.",
        ) from error
