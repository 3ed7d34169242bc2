"""What the examples are: read, identified, split and audited.

Images are opened in `headstart.data.images`, which is not imported here because it needs Pillow.
"""

from __future__ import annotations

from headstart.data.audit import Finding, Severity, audit
from headstart.data.dataset import Dataset, Items, LeftOut, Modality, Side, Value
from headstart.data.folds import folds
from headstart.data.identify import KnownHashes, content_keys, identify
from headstart.data.read import read_dataset, read_items, read_lines
from headstart.data.split import SealedTest, Split, split

__all__ = [
    "Dataset",
    "Finding",
    "Items",
    "KnownHashes",
    "LeftOut",
    "Modality",
    "SealedTest",
    "Severity",
    "Side",
    "Split",
    "Value",
    "audit",
    "content_keys",
    "folds",
    "identify",
    "read_dataset",
    "read_items",
    "read_lines",
    "split",
]
