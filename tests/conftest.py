"""What holds for every test: a home of its own, no network, and real data only where they are."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
_LOOPBACK = ("127.", "::1", "localhost")


def _is_near(host: object) -> bool:
    return host in (None, "", b"") or str(host).startswith(_LOOPBACK)


@pytest.fixture(scope="session")
def imported_backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where weights are imported to, once for all tests of a session, also when several processes share it."""
    base = tmp_path_factory.getbasetemp()
    of_all_workers = base.parent if base.name.startswith("popen-") else base
    folder = of_all_workers / "backbones"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_user(tmp_path_factory: pytest.TempPathFactory, imported_backbones: Path) -> Iterator[None]:
    """For fixtures of a wider scope than a test: not the user's home, and offline in subprocesses too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_HOME", str(_home(tmp_path_factory.mktemp("session"), imported_backbones)))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, imported_backbones: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own `HEADSTART_HOME`: no features yet, and the weights that earlier tests imported."""
    folder = _home(tmp_path_factory.mktemp("home"), imported_backbones)
    monkeypatch.setenv("HEADSTART_HOME", str(folder))
    return folder


def _home(folder: Path, backbones: Path) -> Path:
    (folder / "backbones").symlink_to(backbones, target_is_directory=True)
    return folder


class _Left(OSError, RuntimeError):  # noqa: N818 - it is what happened
    """The network was tried: for code that asks whether there is one, as if there were none."""


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail, rather than wait, when a test that is not marked `network` leaves this machine."""
    if request.node.get_closest_marker("network"):
        return
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connect_near(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not _is_near(address[0]):
            raise _Left(f"a test must not use the network, but it connects to {address!r}")
        connect(self, address)

    def look_up_near(host: Any, *rest: Any, **options: Any) -> Any:
        if not _is_near(host):
            raise _Left(f"a test must not use the network, but it looks up {host!r}")
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", connect_near)
    monkeypatch.setattr(socket, "getaddrinfo", look_up_near)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Finds real data, for example `shared_data("images/signs")`, and skips the test where they are absent."""

    def find(name: str) -> Path:
        folder = _SHARED_DATA / name
        if not folder.exists():
            pytest.skip(f"needs ../shared/data/{name}")
        return folder

    return find
