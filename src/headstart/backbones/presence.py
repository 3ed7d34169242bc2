"""Which backbones of the catalogue have their weights on this disk, found without loading a library that runs them."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from pathlib import Path

from headstart.backbones.catalogue import Entry
from headstart.backbones.hub_files import weights_file
from headstart.backbones.pins import file_name

_IMPORTED = re.compile(r"(?P<name>.+)-[0-9a-f]{12}")


def places(entries: Iterable[Entry], home: Path) -> dict[str, str]:
    """Where the weights lie, by name: `package`, `home`, `hub cache` or `torch cache`; the others are left out.

    Args:
        entries: For example `entries().values()`.
        home: headstart's home.
    """
    imported = _imported(home)
    found = {entry.name: _place(entry, imported) for entry in entries}
    return {name: place for name, place in found.items() if place}


def _place(entry: Entry, imported: set[str]) -> str:
    if entry.spec is not None:
        # Looks for the package without running it.
        return "package" if importlib.util.find_spec(entry.spec.source.location) else ""
    if file_name(entry.name) in imported:
        return "home"
    if entry.repository and _in_hub_cache(entry.repository):
        return "hub cache"
    return "torch cache" if entry.file and (_torch_cache() / entry.file).exists() else ""


def _imported(home: Path) -> set[str]:
    folder = home / "backbones"
    if not folder.is_dir():
        return set()
    matches = (_IMPORTED.fullmatch(each.name) for each in folder.iterdir() if (each / "spec.json").exists())
    return {match["name"] for match in matches if match}


def _in_hub_cache(repository: str) -> bool:
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return any(weights_file(file.name for file in folder.iterdir()) for folder in snapshots.glob("*/"))


def _torch_cache() -> Path:
    """As torch.hub.get_dir() says, which would cost the import of torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser() / "hub" / "checkpoints"
