"""The contract of a backbone, as checks that run over any that is on this disk.

    @pytest.mark.parametrize("check", BACKBONE_CHECKS, ids=lambda check: check.__name__)
    def test_my_backbone(check):
        check(resolve("timm/my_network", home))

Each check fails with an AssertionError that says which promise was broken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float32
from PIL import Image

from headstart._randomness import generator
from headstart.backbones.backbone import Backbone, Batch
from headstart.backbones.precision import Precision
from headstart.backbones.preprocess import prepare_image
from headstart.backbones.resolve import Local, load, open_local, source_head
from headstart.backbones.spec import BackboneSpec

__all__ = ["BACKBONE_CHECKS", "check_backbone", "check_preprocessing", "example"]

_WORDS = [
    "a",
    "the",
    "small",
    "red",
    "old",
    "bird",
    "sleeps",
    "under",
    "over",
    "green",
    "trees",
    "and",
    "sings",
    ",",
    "loudly",
    ".",
    "17",
    "Überraschung",
]
_SHAPES = [(480, 640), (500, 375), (333, 501), (257, 257), (17, 31), (90, 7), (1, 1)]
_ROUNDING = 1e-4  # relative: batches of other sizes are summed in another order
_BFLOAT16_SIMILARITY = 0.99


def example(local: Local, n_items: int, *, seed: int = 0) -> Batch:
    """Prepared items: smooth pictures of several colours, or texts of several lengths.

    Args:
        local: Whose items.
        n_items: How many.
        seed: Which.
    """
    random = generator(seed, "example")
    if local.spec.image is None:
        return [" ".join(random.choice(_WORDS, size=1 + 7 * item % 40)) for item in range(n_items)]
    size = local.spec.image.size_px
    coarse = random.integers(0, 256, size=(n_items, 4, 4, 3))
    cells = np.arange(size) * 4 // size
    return np.asarray(coarse[:, cells][:, :, cells], dtype=np.uint8)


def check_backbone(local: Local) -> int:
    """Run all checks.

    Args:
        local: The backbone.

    Returns:
        How many checks ran.

    Raises:
        AssertionError: If the backbone breaks a promise.
    """
    for check in BACKBONE_CHECKS:
        check(local)
    return len(BACKBONE_CHECKS)


def check_preprocessing(
    spec: BackboneSpec,
    reference: Callable[[Image.Image], np.ndarray],
    pictures: Sequence[Image.Image] = (),
    *,
    tolerance: float,
) -> int:
    """What the network sees is what the library's own preprocessing makes of the same pictures.

    Args:
        spec: Of a backbone for images.
        reference: The library's own preprocessing: an RGB picture in, normalised values out, 3 × height × width.
        pictures: Real ones to look at beside noise of several shapes.
        tolerance: By how much values that are scaled to 0–1 may differ.

    Returns:
        How many pictures were compared.

    Raises:
        AssertionError: If any value differs by more.
    """
    wanted = spec.image
    assert wanted is not None, "only images have preprocessing of this kind"
    random = generator(0, "preprocessing")
    noise = [random.integers(0, 256, size=(height, width, 3), dtype=np.uint8) for height, width in _SHAPES]
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (wanted.mean, wanted.std))
    compared = [*pictures, *map(Image.fromarray, noise)]
    for image in compared:
        expected = np.asarray(reference(image)) * std + mean
        ours = prepare_image(image, wanted).transpose(2, 0, 1) / 255.0
        assert ours.shape == expected.shape, f"pictures must become {expected.shape}, but become {ours.shape}"
        furthest = float(np.abs(ours - expected).max())
        assert furthest <= tolerance, f"a picture of {image.size} must look as the library makes it, off by {furthest}"
    return len(compared)


def check_features_have_the_declared_width(local: Local) -> None:
    """One finite float32 row per item, as wide as the layers of the spec together."""
    features = _features(local, 3)
    expected = (3, sum(layer.width for layer in local.spec.layers))
    assert features.shape == expected, f"features must have the shape {expected}, but have {features.shape}"
    assert features.dtype == np.float32, f"features must be float32, but are {features.dtype}"
    assert np.isfinite(features).all(), "features must be finite"


def check_layers_lie_in_the_order_of_the_spec(local: Local) -> None:
    """Asked for in the opposite order, the layers have the same numbers in the opposite order."""
    layers = local.spec.layers
    turned = dataclasses.replace(local, spec=dataclasses.replace(local.spec, layers=layers[::-1]))
    ends = np.cumsum([layer.width for layer in layers])[:-1]
    expected = np.concatenate(np.split(_features(local, 2), ends, axis=1)[::-1], axis=1)
    _assert_close(_features(turned, 2), expected, "features must lie in the order of the spec's layers")


def check_an_item_does_not_depend_on_its_batch(local: Local) -> None:
    """Alone, in a batch of five, and in another place of a batch: the same features."""
    backbone, batch = _loaded(local.spec, local.folder), example(local, 5)
    together = backbone.forward(batch)
    alone = np.concatenate([backbone.forward(batch[item : item + 1]) for item in range(5)])
    _assert_close(alone, together, "the size of a batch must not change features")
    turned = backbone.forward(batch[::-1])[::-1]
    _assert_close(turned, together, "the place in a batch must not change features")


def check_items_are_told_apart(local: Local) -> None:
    """Different items have different features."""
    features = _features(local, 3)
    assert not np.allclose(features[0], features[1]), "different items must have different features"


def check_the_same_items_give_the_same_features(local: Local) -> None:
    """Twice in a row, and from another loading."""
    backbone, batch = _loaded(local.spec, local.folder), example(local, 3)
    first = backbone.forward(batch)
    assert np.array_equal(first, backbone.forward(batch)), "the same batch must give the same features twice"
    assert np.array_equal(first, load(local).forward(batch)), "loading again must not change features"


def check_bfloat16_is_close_to_float32(local: Local) -> None:
    """Each item points in the same direction in both."""
    exact, rounded = _features(local, 4), _features(local, 4, precision="bfloat16")
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    similarity = float(((exact * rounded).sum(axis=1) / norms).min())
    assert similarity >= _BFLOAT16_SIMILARITY, f"bfloat16 must be close to float32, but the cosine is {similarity:.4f}"


def check_nothing_is_trained(local: Local) -> None:
    """No gradient is asked for, and the caller's wish for gradients does not reach inside."""
    import torch

    backbone = _loaded(local.spec, local.folder)
    network = cast("Any", getattr(backbone, "_network", None))
    if network is not None:
        assert not network.training, "the network must be in evaluation mode"
        assert not any(weight.requires_grad for weight in network.parameters()), "no weight must ask for a gradient"
    before = torch.is_grad_enabled()
    backbone.forward(example(local, 2))
    assert torch.is_grad_enabled() == before, "the caller's gradient mode must stay"


def check_a_copy_elsewhere_is_the_same(local: Local) -> None:
    """The folder is all that there is: moved to another place it gives the same features."""
    if local.spec.source.origin == "builtin":
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "copy"
        shutil.copytree(local.folder, folder)
        copy = open_local(folder)
        assert copy.sha256 == local.sha256, "a copy must have the same files"
        assert np.array_equal(_features(copy, 2), _features(local, 2)), "a copy must give the same features"


def check_small_pictures_are_enlarged(local: Local) -> None:
    """A picture of one pixel, and one that is far smaller than what the network sees, have features like any other."""
    wanted = local.spec.image
    if wanted is None:
        return
    small = [Image.new("RGB", (1, 1), "red"), Image.fromarray(np.asarray(example(local, 1))[0]).resize((9, 5))]
    batch = np.stack([prepare_image(image, wanted) for image in small])
    assert batch.shape == (2, wanted.size_px, wanted.size_px, 3), "pictures must have the size that the network sees"
    features = _loaded(local.spec, local.folder).forward(batch)
    assert np.isfinite(features).all(), "small pictures must have finite features"
    assert not np.allclose(features[0], features[1]), "small pictures must be told apart"


def check_the_source_classifier_fits(local: Local) -> None:
    """Where the weights have a classifier, it takes the layer `last`, and a copy of the backbone does without it."""
    head = source_head(local)
    if head is None:
        return
    last = next(layer for layer in local.spec.layers if layer.name == "last")
    assert head.weight.shape == (len(head.bias), last.width), "the source classifier must take the layer last"
    assert "source_head.safetensors" not in local.sha256, "the source classifier must be no part of the backbone"
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("spec.json", *local.sha256):
            shutil.copyfile(local.folder / name, Path(scratch) / name)
        bare = open_local(Path(scratch))
        assert source_head(bare) is None, "without its file there must be no source classifier"
        assert np.array_equal(_features(bare, 1), _features(local, 1)), "features must not need the source classifier"


def check_the_network_is_not_used(local: Local) -> None:
    """Loading and running open no connection."""
    with _without_sockets():
        load(local).forward(example(local, 1))


BACKBONE_CHECKS: tuple[Callable[[Local], None], ...] = (
    check_features_have_the_declared_width,
    check_layers_lie_in_the_order_of_the_spec,
    check_an_item_does_not_depend_on_its_batch,
    check_items_are_told_apart,
    check_the_same_items_give_the_same_features,
    check_bfloat16_is_close_to_float32,
    check_nothing_is_trained,
    check_a_copy_elsewhere_is_the_same,
    check_small_pictures_are_enlarged,
    check_the_source_classifier_fits,
    check_the_network_is_not_used,
)


def _features(local: Local, n_items: int, *, precision: Precision = "float32") -> Float32[np.ndarray, "items width"]:
    return _loaded(local.spec, local.folder, precision).forward(example(local, n_items))


@functools.lru_cache(maxsize=1)
def _loaded(spec: BackboneSpec, folder: Path, precision: Precision = "float32") -> Backbone:
    """Loaded once for several checks in a row."""
    return load(Local(spec, folder, {}), precision=precision)


def _assert_close(new: np.ndarray, old: np.ndarray, promise: str) -> None:
    difference = float(np.linalg.norm(new - old) / np.linalg.norm(old))
    assert difference <= _ROUNDING, f"{promise}, but they differ by {difference:.1e} of their length"


@contextlib.contextmanager
def _without_sockets() -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a backbone must not use the network")

    kept = socket.socket.connect, socket.getaddrinfo
    try:
        setattr(socket.socket, "connect", refuse)  # noqa: B010 - a method of a class is no assignment for mypy
        setattr(socket, "getaddrinfo", refuse)  # noqa: B010
        yield
    finally:
        setattr(socket.socket, "connect", kept[0])  # noqa: B010
        setattr(socket, "getaddrinfo", kept[1])  # noqa: B010
