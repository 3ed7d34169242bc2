"""Fetches a backbone ahead of its use, and says its size and licence before."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from headstart._progress import SILENT, Progress
from headstart.backbones.catalogue import Entry, entries
from headstart.backbones.locate import hub_facts, hub_folder
from headstart.backbones.resolve import HubName, Local, hub_name, renew, resolve
from headstart.errors import BackboneError, OfflineError

_BYTES_PER_PARAMETER = 4
_MB = 10**6
_NO_LICENCE = "unknown, ask its authors before you ship it"


def pull(
    name: str,
    home: Path,
    *,
    arch: str = "",
    accept: bool = False,
    progress: Progress = SILENT,
    stop: threading.Event | None = None,
) -> Local:
    """Fetch, verify and record a backbone; a name of the hub then stands for its newest revision.

    Without a network, what is on this disk already is verified and taken.

    Args:
        name: As for `resolve`.
        home: headstart's home.
        arch: As for `resolve`.
        accept: Take the files even if they are not the ones that were recorded.
        progress: Where size, licence and progress are shown.
        stop: Once it is set, a fetch from the hub ends with the next bytes that come; those before stay in its cache.

    Raises:
        BackboneError: As `resolve`; and if files have changed since they were recorded and are not accepted, or it was
            stopped.
        OfflineError: If it must be fetched, and there is no network.
    """
    stop = stop or threading.Event()
    entry = entries().get(name)
    remote = hub_name(name)
    if remote is None:
        if entry is not None and entry.spec is None:
            n_bytes = entry.n_params * _BYTES_PER_PARAMETER
            progress.say(f"{name}: about {_size(n_bytes)}, licence {entry.licence or _NO_LICENCE}")
        return resolve(name, home, arch=arch)
    try:
        facts = hub_facts(remote.repository, remote.revision)
    except OfflineError:
        return resolve(name, home)
    progress.say(f"{name}: {_size(facts.n_bytes)}, licence {_licence(entry, facts.licence)}")
    at_commit = replace(remote, revision=facts.revision)
    _go_on(name, stop)
    if facts.n_missing_bytes:
        _fetch(name, at_commit, facts.n_missing_bytes, progress, stop)
    _go_on(name, stop)
    return renew(name, at_commit, home, accept=accept, on_bytes=lambda _: _go_on(name, stop))


def _go_on(name: str, stop: threading.Event) -> None:
    if stop.is_set():
        raise BackboneError(f"fetching {name!r} was stopped", hint="What has come is kept: headstart backbones pull.")


def _fetch(name: str, remote: HubName, n_bytes: int, progress: Progress, stop: threading.Event) -> None:
    """Into the hub's cache, counted in whole megabytes."""
    total = -(-n_bytes // _MB)
    with progress.task(f"fetching {name}, MB", total) as task:
        n_seen = 0

        def count(n_more: int) -> None:
            nonlocal n_seen
            _go_on(name, stop)
            task.advance((n_seen + n_more) // _MB - n_seen // _MB)
            n_seen += n_more

        hub_folder(remote.repository, remote.revision, on_bytes=count)
        task.advance(total - n_seen // _MB)


def _licence(entry: Entry | None, on_card: str) -> str:
    # The catalogue's entry was reviewed; a card may change at any time.
    return (entry.licence if entry else "") or on_card or _NO_LICENCE


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{max(n_bytes / 1e6, 0.1):.{n_bytes < 1e7:d}f} MB"
