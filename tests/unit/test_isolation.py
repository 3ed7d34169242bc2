"""Tests do not touch the user's home or the network."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart._home import default_home

_SEEN: list[Path] = []


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_has_a_home_of_its_own_with_the_same_weights(
    turn: int, home: Path, imported_backbones: Path
) -> None:
    assert default_home() == home
    assert home not in _SEEN
    assert [path.name for path in home.iterdir()] == ["backbones"]
    assert (home / "backbones").resolve() == imported_backbones.resolve()
    _SEEN.append(home)


@pytest.fixture(scope="module")
def home_of_module() -> Path:
    return default_home()


def test_fixtures_of_a_module_are_kept_from_the_home_of_the_user(home_of_module: Path, home: Path) -> None:
    assert home_of_module not in (home, Path.home() / ".cache" / "headstart")
    assert (home_of_module / "backbones").is_dir()


def test_connections_and_look_ups_are_refused() -> None:
    with socket.socket() as client, pytest.raises(RuntimeError, match=r"must not use the network, but it connects to"):
        client.connect(("192.0.2.1", 80))  # an address that is reserved for documentation (RFC 5737)
    with pytest.raises(RuntimeError, match=r"must not use the network, but it looks up 'example\.org'"):
        socket.create_connection(("example.org", 80))
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_this_machine_may_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()


def test_real_data_that_are_absent_skip_the_test(shared_data: Callable[[str], Path]) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"needs \.\./shared/data/images/nothing"):
        shared_data("images/nothing")
