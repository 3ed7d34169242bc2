"""A process that decodes images: reads one path and key a line on stdin, writes prepared pictures on stdout.

Run as `python -m headstart.features._decoder INPUTS VIEWS`, where INPUTS is the JSON of a list of `ImageInput`, and
VIEWS that of as many `View`s. It says `{"ready": true}` when it can begin. A line is the JSON of a path and the content
key of the item. The answer is one line of JSON, `{"error": …}` or `{"bytes": n}`, then that many bytes: one picture per
input, in order. It imports no torch, so it starts in a fifth of a second and decodes while the parent still imports.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from headstart.backbones.preprocess import decoded_px
from headstart.backbones.spec import ImageInput
from headstart.data.images import DamagedItem, open_image
from headstart.features.views import PLAIN, View, picture


def prepare(
    value: Path | np.ndarray, inputs: Sequence[ImageInput], views: Sequence[View] | None = None, key: str = ""
) -> list[np.ndarray]:
    """One image, prepared for each backbone; what one gets does not depend on the others.

    Args:
        value: An image file, or an image as an array.
        inputs: The preprocessing of each backbone.
        views: The view that each is to see; the plain one, if not given.
        key: The content key of the item, where there are other views.

    Raises:
        DamagedItem: If it cannot be decoded.
    """
    decoded = {px: open_image(value, at_least_px=px) for px in {decoded_px(wanted) for wanted in inputs}}
    return [
        picture(decoded[decoded_px(wanted)], wanted, view=view, key=key)
        for wanted, view in zip(inputs, views or [PLAIN] * len(inputs), strict=True)
    ]


def main() -> None:
    """Serve until stdin ends, which it does when the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our stdin
    inputs = msgspec.json.decode(sys.argv[1], type=list[ImageInput])
    views = msgspec.json.decode(sys.argv[2], type=list[View])
    with _answers() as out:
        _say(out, {"ready": True})
        for line in sys.stdin.buffer:
            path, key = json.loads(line)
            try:
                pictures = prepare(Path(path), inputs, views, key)
            except DamagedItem as error:
                _say(out, {"error": error.reason})
            else:
                payload = b"".join(picture.tobytes() for picture in pictures)
                _say(out, {"bytes": len(payload)}, payload)


def _answers() -> IO[bytes]:
    """What was stdout; from now on, what a library of a decoder prints there goes to stderr."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _say(out: IO[bytes], answer: dict[str, object], payload: bytes = b"") -> None:
    out.write(json.dumps(answer).encode() + b"\n" + payload)
    out.flush()


if __name__ == "__main__":
    main()
