"""Where headstart keeps what it need not do twice."""

from __future__ import annotations

import os
from pathlib import Path


def default_home() -> Path:
    """The folder in `$HEADSTART_HOME`, else `~/.cache/headstart`."""
    chosen = os.environ.get("HEADSTART_HOME")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "headstart"
