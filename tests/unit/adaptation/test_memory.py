"""What libraries say when the memory is too small."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.adaptation.memory import is_too_little


def test_the_allocator_of_the_processor_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_too_little(caught.value)


def test_numpy_is_understood() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, dtype=np.uint8)
    assert is_too_little(caught.value)


def test_that_of_the_accelerator_is_understood_and_others_are_not() -> None:
    assert is_too_little(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_too_little(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_too_little(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_too_little(ValueError("not enough memory"))
