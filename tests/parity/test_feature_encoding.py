"""The bytes of features against torch, whose bfloat16 is the one that backbones compute in."""

from __future__ import annotations

import numpy as np
import torch

from headstart.features._encoding import bytes_per_row, decode, encode


def test_bfloat16_rounds_as_torch_does() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, size=(64, 1024), dtype=np.uint32)
    rows = bits.view(np.float32)
    rows = np.where(np.isfinite(rows), rows, np.float32(0))
    # Half-way cases, zeros of both signs, and numbers below the smallest normal one.
    rows[0, :6] = [1 + 2**-8, 1 + 3 * 2**-8, 0.0, -0.0, 1e-40, -1e-45]
    expected = torch.from_numpy(rows).to(torch.bfloat16).to(torch.float32).numpy()
    got = decode(encode(rows, "bfloat16"), "bfloat16")
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))
    assert encode(rows, "bfloat16").shape == (64, bytes_per_row(1024, "bfloat16")) == (64, 2048)


def test_float32_is_exact() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    np.testing.assert_array_equal(decode(encode(rows[:, ::-1], "float32"), "float32"), rows[:, ::-1])
