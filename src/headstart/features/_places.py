"""Where things lie in the folder of the store, and what to say when the disk will not take them."""

from __future__ import annotations

import errno
from pathlib import Path

from headstart.errors import StoreError

FOLDER = "features"
INDEX = "index.sqlite"
LOCK = "lock"
SHARDS = "shards"

FULL_HINT = "Make room with `headstart cache prune`, or set HEADSTART_HOME to another disk."
_HINTS = {errno.ENOSPC: FULL_HINT, errno.EDQUOT: FULL_HINT, errno.EFBIG: FULL_HINT}


def unwritable(folder: Path, error: OSError) -> StoreError:
    """The error to raise when the system refuses to write."""
    return StoreError(
        f"the feature store at {folder} cannot be written: {error.strerror or error}",
        hint=_HINTS.get(error.errno or 0, "Set HEADSTART_HOME to a folder that can be written to."),
    )


def unreadable(folder: Path, error: OSError) -> StoreError:
    """The error to raise when the system refuses to read."""
    return StoreError(
        f"the feature store at {folder} cannot be read: {error.strerror or error}",
        hint="Set HEADSTART_HOME to a folder on a local disk.",
    )
