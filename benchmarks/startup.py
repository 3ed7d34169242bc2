"""How long a fresh process takes to its first features, beside the library that the network comes from.

    python benchmarks/startup.py [--runs 5]

Each start is a process of its own, in turn, from Python's start to its end; the files lie in the system's cache, since
the first round is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _provenance import provenance
from headstart.backbones.resolve import resolve

_OURS = "from pathlib import Path; from headstart.backbones.resolve import load, resolve; import numpy as np; "
_RUN = _OURS + "network = load(resolve({name!r}, Path({home!r}))); network.forward({batch})"
_PICTURE, _TEXT = "np.zeros((1, 224, 224, 3), np.uint8)", "['A text of some words.']"
_TIMM = (
    "import timm, torch; from safetensors.torch import load_file; "
    "network = timm.create_model({architecture!r}, num_classes=0).eval(); "
    "network.load_state_dict(load_file({file!r}), strict=False); network(torch.zeros(1, 3, 224, 224))"
)
_TRANSFORMERS = (
    "import torch; from transformers import AutoModel; from tokenizers import Tokenizer; "
    "network = AutoModel.from_pretrained({folder!r}); "
    "network(torch.tensor([Tokenizer.from_file({file!r}).encode('A text of some words.').ids]))"
)


def main() -> None:
    """Print medians as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        image, text = (resolve(name, Path(home)) for name in ("efficientnet_lite0", "all_minilm_l6_v2"))
        weights, tokenizer = str(image.folder / "model.safetensors"), str(text.folder / "tokenizer.json")
        scripts = {
            "Python with torch": "import torch",
            "a picture, headstart": _RUN.format(name="efficientnet_lite0", home=home, batch=_PICTURE),
            "a picture, timm": _TIMM.format(architecture="tf_efficientnet_lite0", file=weights),
            "a text, headstart": _RUN.format(name="all_minilm_l6_v2", home=home, batch=_TEXT),
            "a text, transformers": _TRANSFORMERS.format(folder=str(text.folder), file=tokenizer),
        }
        taken: dict[str, list[float]] = {what: [] for what in scripts}
        for _ in range(options.runs + 1):
            for what, script in scripts.items():
                begin = time.monotonic()
                subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
                taken[what].append(time.monotonic() - begin)
    print("| | seconds |\n|---|---|")
    for what, seconds in taken.items():
        print(f"| {what} | {statistics.median(seconds[1:]):.1f} |")
    print(f"\n{provenance()}")


if __name__ == "__main__":
    main()
