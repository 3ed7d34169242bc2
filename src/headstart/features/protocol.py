"""What the rest of headstart asks of a place where features are kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from headstart.features.namespace import Namespace

__all__ = ["FeatureStore", "FeatureWriter", "KnownSpeeds"]


class FeatureWriter(Protocol):
    """Where the features of one namespace go, batch by batch.

    A batch is kept as a whole or not at all, and can be read as soon as `append` returns. A writer belongs to one
    thread.
    """

    def append(self, keys: Sequence[str], rows: Float[np.ndarray, "rows width"]) -> None:
        """Keep one batch; keys that are there already are left as they are.

        Args:
            keys: The content hash of each item.
            rows: Its features, finite. They are read back as `Namespace.rounded` gives them.

        Raises:
            OptionError: If keys and rows do not fit together or the namespace, or a number is not finite.
            StoreError: If the batch cannot be written. The batches before it stay.
        """

    def reject(self, keys: Sequence[str], reasons: Sequence[str]) -> None:
        """Remember that these items cannot be decoded, in any namespace.

        Args:
            keys: The content hash of each item.
            reasons: Why, in a few words.

        Raises:
            OptionError: If there is not one reason for each key.
            StoreError: If it cannot be written.
        """


class FeatureStore(Protocol):
    """Features by namespace and content hash.

    A row once written never changes, so what two processes or threads read is the same, whoever wrote it. A row may
    vanish between two calls (pruned, or found damaged), so look at what `read` says is there, every time.
    """

    def read(
        self, namespace: Namespace, keys: Sequence[str]
    ) -> tuple[Float[np.ndarray, "rows width"], Bool[np.ndarray, " rows"]]:
        """The features of these items, and which of them are there; the rows of the others are zero.

        Args:
            namespace: Which features.
            keys: The content hash of each item; one may occur twice.

        Raises:
            StoreError: If the store cannot be read.
        """

    def writer(self, namespace: Namespace) -> AbstractContextManager[FeatureWriter]:
        """A place to put features of this namespace; it ends with the context."""

    def rejected(self, keys: Sequence[str]) -> dict[str, str]:
        """Those of these items that are known not to be decodable, with the reason.

        Raises:
            StoreError: If the store cannot be read.
        """


class KnownSpeeds(Protocol):
    """How fast backbones were on this machine: what a prediction of cost starts from."""

    def speed(self, backbone: str, *, device: str, dtype: str) -> float | None:
        """Items per second when it was last measured, or None when it never was.

        Raises:
            StoreError: If the store cannot be read.
        """

    def remember_speed(self, backbone: str, items_per_s: float, *, device: str, dtype: str) -> None:
        """Keep a measurement in place of the one before.

        Raises:
            OptionError: If the speed is not a positive number.
            StoreError: If it cannot be written.
        """
