"""What an image looks like to a backbone: as it is, or another way, which is the same each time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL.Image import Image

from headstart._randomness import generator
from headstart.backbones.preprocess import augment_image, prepare_image
from headstart.backbones.spec import ImageInput

__all__ = ["PLAIN", "View", "picture"]

_AUGMENTATION = 1  # part of the identity: goes up when the same seed gives other pictures


@dataclass(frozen=True, slots=True)
class View:
    """Which picture of an item is meant.

    Attributes:
        number: 0 for the plain one; every other is a random crop of the image, mirrored in half of the cases.
        seed: Of the crops, 0 or greater. They depend on it, on the number and on the content of the item alone.
    """

    number: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        """What it is called in the store: two views of one name give the same pictures."""
        return f"crop{_AUGMENTATION}-{self.seed}-{self.number}" if self.number else "plain"


PLAIN = View()
"""The item as it is."""


def picture(
    image: Image, wanted: ImageInput, *, view: View = PLAIN, key: str = ""
) -> UInt8[np.ndarray, "height width 3"]:
    """One view of an image, prepared for a backbone.

    Args:
        image: As for `prepare_image`.
        wanted: The preprocessing of the backbone.
        view: Which view.
        key: The content key of the item; plays no part in the plain view.
    """
    if view.number == 0:
        return prepare_image(image, wanted)
    return augment_image(image, wanted, generator(view.seed, "view", key, view.number))
