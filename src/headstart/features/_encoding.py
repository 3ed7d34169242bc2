"""Rows of features as bytes. NumPy has no bfloat16, so it is the upper half of a float32 here, as in its definition."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8, UInt16

_ITEM_BYTES = {"bfloat16": 2, "float32": 4}


def bytes_per_row(width: int, dtype: str) -> int:
    """How many bytes a row of `width` numbers takes in a shard."""
    return width * _ITEM_BYTES[dtype]


def encode(rows: Float[np.ndarray, "rows width"], dtype: str) -> UInt8[np.ndarray, "rows bytes"]:
    """Finite rows as little-endian bytes; bfloat16 is rounded to nearest, half to even."""
    exact = np.ascontiguousarray(rows, dtype="<f4")
    if dtype == "float32":
        return exact.view(np.uint8)
    bits = exact.view("<u4")
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    upper: UInt16[np.ndarray, "rows width"] = ((bits + half) >> np.uint32(16)).astype("<u2")
    return upper.view(np.uint8)


def decode(raw: UInt8[np.ndarray, "rows bytes"], dtype: str) -> Float[np.ndarray, "rows width"]:
    """What `encode` wrote, as float32."""
    if dtype == "float32":
        return raw.view("<f4").astype(np.float32, copy=False)
    return (raw.view("<u2").astype("<u4") << np.uint32(16)).view("<f4").astype(np.float32, copy=False)
