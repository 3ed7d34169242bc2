"""What identifies a backbone: facts about weights that can be written down, compared and hashed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Origin = Literal["package", "hub", "url", "folder", "file", "builtin", "tuned"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
CropMode = Literal["center", "center-down", "squash"]
Pooling = Literal["mean", "cls", "last"]
LoaderName = Literal["timm", "transformers", "torchvision", "keras", "pixels"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from.

    Attributes:
        origin: `package` (files inside an installed Python package), `hub` (Hugging Face), `url` (torch.hub's cache of
            one), `folder` (a local one), `file` (a local checkpoint), `builtin` (no weights at all) or `tuned`
            (another backbone whose weights headstart moved).
        location: The package's name, the hub repository, the URL, the folder, or the name of the other backbone.
        file: The weights file below it.
        sha256: Of the weights file; the identity of the weights.
        revision: The hub's commit, the package's version, or the sha256 of the other backbone.
    """

    origin: Origin
    location: str
    file: str = ""
    sha256: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A place in the network whose output is kept as features.

    Attributes:
        name: `last` for what the head of the pretrained network sees, else the stage's name.
        width: Numbers per item.
        grid: Cells per side of the map that is kept; 1 means pooled over all positions.
    """

    name: str
    width: int
    grid: int = 1


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The preprocessing that belongs to weights for images: resize, crop the centre, normalise.

    Attributes:
        size_px: Height and width of the square that the network sees.
        crop: Share of the resized shorter side that the centre crop keeps, in (0, 1].
        interpolation: How pixels are resampled; always antialiased.
        mean: Per-channel mean to subtract, of values scaled to 0–1.
        std: Per-channel standard deviation to divide by.
        crop_mode: `center` resizes the shorter side and keeps the shape of things; `squash` resizes both sides to the
            same length and keeps all of the picture; `center-down` is `center` with an odd margin halved downwards, as
            transformers does, where timm and torchvision round to even.
    """

    size_px: int
    crop: float
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_mode: CropMode = "center"


@dataclass(frozen=True, slots=True)
class TextInput:
    """The preprocessing that belongs to weights for texts, beside the tokenizer's own files.

    Attributes:
        max_tokens: Longer texts are cut to this many tokens, special tokens included.
        pooling: How token vectors become one vector: their mean, the first one, or the last one (decoders, whose last
            token alone has seen the whole text).
        normalised: Whether the pooled last layer is divided by its length.
        prompt: What is put before every text, such as `query: `; empty for none.
    """

    max_tokens: int
    pooling: Pooling = "mean"
    normalised: bool = False
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A pretrained network without its head.

    Attributes:
        name: How the user writes it.
        modality: What it sees.
        loader: The library that runs it.
        architecture: The library's name for the network.
        tag: Which weights for it: the recipe or data that they were trained with.
        source: Where the weights come from.
        licence: SPDX identifier of the weights' licence, or empty when unknown.
        n_params: Parameters without the classifier.
        gflops: Billions of multiply–adds for one item at the input size (texts: at `max_tokens`); 0 when unknown.
        layers: What is kept, in the order in which it lies in the features.
        image: Preprocessing of images; None for texts.
        text: Preprocessing of texts; None for images.
        pretrained_on: Data and method of pretraining, in words.
        citation: Paper or page that describes it.
    """

    name: str
    modality: Literal["image", "text"]
    loader: LoaderName
    architecture: str
    source: Source
    layers: tuple[Layer, ...]
    n_params: int
    tag: str = ""
    licence: str = ""
    gflops: float = 0.0
    image: ImageInput | None = None
    text: TextInput | None = None
    pretrained_on: str = ""
    citation: str = ""

    @property
    def width(self) -> int:
        """Numbers per item over all layers."""
        return sum(layer.width for layer in self.layers)

    @property
    def running_cost(self) -> tuple[float, int]:
        """What orders backbones by cost: operations, then parameters; one of unknown operations comes last."""
        return self.gflops or float("inf"), self.n_params
