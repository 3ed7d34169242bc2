"""Randomness is an argument: independent streams from one seed."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A random generator for one purpose, so that adding a consumer does not change the others' numbers.

    Args:
        seed: The run's seed, 0 or greater.
        *purpose: What the numbers are for, for example `"split"` or `"draw", 3`.
    """
    words = [zlib.crc32(str(word).encode()) for word in purpose]
    return np.random.default_rng([seed, *words])
