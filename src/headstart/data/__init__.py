"""What the examples are: read, identified and split.

Images are opened in `headstart.data.images`, which is not imported here because it needs Pillow.
"""

from __future__ import annotations

from headstart.data.dataset import Dataset, Items, LeftOut, Modality, Side, Value
from headstart.data.folds import folds
from headstart.data.identify import KnownHashes, content_keys, identify
from headstart.data.read import modality_of, read_dataset, read_items, read_lines
from headstart.data.split import SealedTest, Split, split

__all__ = [
    "Dataset",
    "Items",
    "KnownHashes",
    "LeftOut",
    "Modality",
    "SealedTest",
    "Side",
    "Split",
    "Value",
    "content_keys",
    "folds",
    "identify",
    "modality_of",
    "read_dataset",
    "read_items",
    "read_lines",
    "split",
]
