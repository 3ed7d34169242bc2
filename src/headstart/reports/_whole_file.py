"""A file that is there completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from headstart.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    r"""A UTF-8 text file to write; it takes its name when the context ends without an error.

    Whoever reads the path meanwhile sees the former file. What UTF-8 cannot hold (an undecodable file name) is written
    as an escape such as `\udcff`.

    Args:
        path: Where; its folder is made when absent.

    Raises:
        OutputError: If the folder cannot be made, or the file cannot be written or replaced.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
                yield stream
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"a result must be written to a file in a folder, but {str(path)!r} cannot be written ({error.strerror})",
            hint="Choose another place with --out.",
        ) from error
