"""A process that decodes images: reads one path a line on stdin, writes prepared pictures on stdout.

Run as `python -m headstart.features._decoder INPUTS`, where INPUTS is the JSON of a list of `ImageInput`. The answer to
a line is one line of JSON, `{"error": …}` or `{"bytes": n}`, then that many bytes: one picture per input, in order.
It imports no torch, so it starts in a fifth of a second and decodes while the parent still imports.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import msgspec
import numpy as np

from headstart.backbones.preprocess import prepare_image, resized_px
from headstart.backbones.spec import ImageInput
from headstart.data.images import DamagedItem, open_image


def prepare(value: Path | np.ndarray, inputs: list[ImageInput]) -> list[np.ndarray]:
    """One decoding, prepared for each backbone.

    Args:
        value: An image file, or an image as an array.
        inputs: The preprocessing of each backbone.

    Raises:
        DamagedItem: If it cannot be decoded.
    """
    image = open_image(value, at_least_px=max(resized_px(wanted) for wanted in inputs))
    return [prepare_image(image, wanted) for wanted in inputs]


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes our stdin
    inputs = msgspec.json.decode(sys.argv[1], type=list[ImageInput])
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        try:
            pictures = prepare(Path(json.loads(line)), inputs)
        except DamagedItem as error:
            out.write(json.dumps({"error": error.reason}).encode() + b"\n")
        else:
            payload = b"".join(picture.tobytes() for picture in pictures)
            out.write(json.dumps({"bytes": len(payload)}).encode() + b"\n" + payload)
        out.flush()


if __name__ == "__main__":
    main()
