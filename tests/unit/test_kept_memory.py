"""What the C library is told about memory, and when."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import pytest

from headstart import _memory as module
from headstart._memory import kept_memory


class Library:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.options: dict[int, int] = {}
        self.n_told = 0

    def mallopt(self, option: int, value: int) -> None:
        self.options[option] = value
        self.n_told += 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(module, "_glibc", lambda: made)
    return made


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What the environment said before is looked up anew."""
    module._glibc.cache_clear()
    yield
    module._glibc.cache_clear()


def test_memory_is_kept_from_the_outermost_beginning_to_the_outermost_end(library: Library) -> None:
    with kept_memory():
        assert library.options == module._KEEPING
        with kept_memory():
            pass
        assert library.options == module._KEEPING
        assert library.n_told == len(module._KEEPING)
    assert library.options == module._AFTER


def test_an_error_inside_ends_it_too(library: Library) -> None:
    with pytest.raises(KeyError), kept_memory():
        raise KeyError
    assert library.options == module._AFTER


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "131072"), ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")]
)
def test_what_the_environment_says_is_obeyed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert module._glibc() is None


@pytest.mark.usefixtures("forgetful")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_glibc_does_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    library = module._glibc()
    assert library is not None
    assert all(library.mallopt(*each) == 1 for options in (module._KEEPING, module._AFTER) for each in options.items())


@pytest.mark.usefixtures("forgetful")
def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _: object())
    assert module._glibc() is None
    with kept_memory():
        pass
