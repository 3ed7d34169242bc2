"""Where networks run, and in which number format."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from headstart.backbones import precision
from headstart.backbones.precision import pick_device, pick_precision
from headstart.errors import OptionError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with two GPUs of NVIDIA."""
    import torch

    state = {"n": 2, "bfloat16": True}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: state["n"] > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: state["n"])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: state["bfloat16"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(precision, "_DRIVERS", ("/",))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return state


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:", "cpu:0", "cdua", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(OptionError, match="the device must be auto, cpu, cuda, cuda:NUMBER or mps, but got"):
        pick_device(device)


def test_a_device_that_is_not_there_is_refused(gpus: dict[str, Any]) -> None:
    assert pick_device("cuda:1") == "cuda:1"
    for device in ("cuda:2", "mps"):
        with pytest.raises(OptionError, match=f"the device '{device}' is not available on this machine") as caught:
            pick_device(device)
        assert caught.value.hint == "Use --device cpu."


def test_auto_takes_the_gpu_when_there_is_one_and_it_is_not_hidden(
    gpus: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pick_device() == "cuda"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pick_device() == "cpu"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    gpus["n"] = 0
    assert pick_device() == "cpu"


def test_auto_does_not_import_torch_where_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_DRIVERS", ("/no/such/driver",))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    real = builtins.__import__

    def importing(name: str, *rest: Any, **options: Any) -> Any:
        assert name != "torch"
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", importing)
    assert pick_device("auto") == "cpu"
    assert pick_device("cpu") == "cpu"


def test_a_gpu_without_bfloat16_computes_in_float32(gpus: dict[str, Any]) -> None:
    assert pick_precision("auto", "cuda") == "bfloat16"
    gpus["bfloat16"] = False
    assert pick_precision("auto", "cuda") == "float32"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16\n", "bfloat16"),
        ("Features\t: fp asimd bf16\n", "bfloat16"),
        ("flags\t\t: fpu avx2 avx512_bf16x\n", "float32"),
        ("", "float32"),
    ],
)
def test_auto_on_a_cpu_is_what_it_multiplies_natively(
    cpuinfo: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(Path, "exists", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self, **_: cpuinfo)
    precision.cpu_has_bfloat16.cache_clear()
    try:
        assert pick_precision("auto", "cpu") == expected
        assert pick_precision("auto", "mps") == "float32"
    finally:
        precision.cpu_has_bfloat16.cache_clear()


def test_a_chosen_precision_is_kept_and_an_unknown_one_refused() -> None:
    assert pick_precision("bfloat16", "cpu") == "bfloat16"
    assert pick_precision("float32", "cuda") == "float32"
    with pytest.raises(
        OptionError, match="the precision must be auto, bfloat16 or float32, but got 'bfloat'"
    ) as caught:
        pick_precision("bfloat", "cpu")
    assert caught.value.hint == "Did you mean 'bfloat16'?"
