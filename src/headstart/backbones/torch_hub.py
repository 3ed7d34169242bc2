"""Finds weights in torch.hub's cache, where torchvision itself keeps them, and fetches them to there."""

from __future__ import annotations

import re
from pathlib import Path

from headstart._fingerprint import sha256_file
from headstart.backbones.locate import is_offline, progress_on_stderr
from headstart.errors import BackboneError, OfflineError


def hash_prefix(url: str) -> str:
    """How the sha256 of a file must begin, which torch.hub writes at the end of its name.

    Args:
        url: For example `https://download.pytorch.org/models/resnet50-11ad3fa6.pth`.

    Raises:
        BackboneError: If the name does not say.
    """
    found = re.search(r"-([0-9a-f]{8,64})\.\w+$", url)
    if found is None:
        raise BackboneError(
            f"the weights {url!r} do not carry the beginning of their sha256 in their name, so they cannot be verified",
            hint="Choose other weights.",
        )
    return found[1]


def verified_checkpoint(url: str, name: str) -> tuple[Path, str]:
    """A file on this disk, from torch.hub's cache or fetched now, and its sha256.

    Args:
        url: As torchvision has it.
        name: What the backbone is called, for the message.

    Raises:
        OfflineError: If the file is not in the cache and there is no network.
        BackboneError: If it cannot be fetched or kept, or is not the one that its name promises.
    """
    from torch.hub import get_dir

    expected = hash_prefix(url)
    file = Path(get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not file.exists():
        _fetch(url, file, expected, name)
    found = sha256_file(file)
    if not found.startswith(expected):
        raise BackboneError(
            f"the weights of {name!r} in {str(file)!r} are damaged or were changed: their sha256 must begin with "
            f"{expected}, but begins with {found[: len(expected)]}",
            hint="Remove the file and try again.",
        )
    return file, found


def _fetch(url: str, file: Path, expected: str, name: str) -> None:
    if is_offline(url):
        raise OfflineError(
            f"the weights of {name!r} must be fetched from {url}, which cannot be reached",
            hint=f"Connect to a network, or put the file into {file.parent}.",
        )
    from torch.hub import download_url_to_file

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with progress_on_stderr():
            download_url_to_file(url, str(file), hash_prefix=expected)
    except (OSError, RuntimeError) as error:  # torch says so where the hash is wrong, and then keeps nothing
        raise BackboneError(
            f"the weights of {name!r} cannot be fetched from {url}: {error}",
            hint="Check the network and the room on the disk that TORCH_HOME is on, and try again.",
        ) from error
