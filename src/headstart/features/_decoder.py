"""A process that decodes images: reads one path a line on stdin, writes prepared pictures on stdout.

Run as `python -m headstart.features._decoder INPUTS`, where INPUTS is the JSON of a list of `ImageInput`. It says
`{"ready": true}` when it can begin. The answer to a line is one line of JSON, `{"error": …}` or `{"bytes": n}`, then
that many bytes: one picture per input, in order. It imports no torch, so it starts in a fifth of a second and decodes
while the parent still imports.
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

from headstart.backbones.preprocess import decoded_px, prepare_image
from headstart.backbones.spec import ImageInput
from headstart.data.images import DamagedItem, open_image


def prepare(value: Path | np.ndarray, inputs: Sequence[ImageInput]) -> list[np.ndarray]:
    """One image, prepared for each backbone; what one gets does not depend on the others.

    Args:
        value: An image file, or an image as an array.
        inputs: The preprocessing of each backbone.

    Raises:
        DamagedItem: If it cannot be decoded.
    """
    decoded = {px: open_image(value, at_least_px=px) for px in {decoded_px(wanted) for wanted in inputs}}
    return [prepare_image(decoded[decoded_px(wanted)], wanted) for wanted in inputs]


def main() -> None:
    """Serve until stdin ends, which it does when the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our stdin
    inputs = msgspec.json.decode(sys.argv[1], type=list[ImageInput])
    with _answers() as out:
        _say(out, {"ready": True})
        for line in sys.stdin.buffer:
            try:
                pictures = prepare(Path(json.loads(line)), inputs)
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
