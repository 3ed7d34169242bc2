"""Time of the whole command beside the bare pass: decoding and the network alone, in one process.

    python benchmarks/speed.py [IMAGE_FOLDER] [--backbone efficientnet_lite0] [--runs 3]

Bare pass: Pillow decodes and resizes in one thread, then the network runs in bfloat16 (float32 where the CPU has none),
batches of 32, as timm builds it. Imports and loading are not counted. First time: an empty home but for the imported
weights. Second time: the same command again. Medians; the parts of one round run one after the other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart.backbones.precision import pick_precision
from headstart.backbones.preprocess import prepare_image
from headstart.backbones.resolve import resolve
from headstart.data.images import open_image

SHARED = Path(__file__).parents[2] / "shared" / "data"

_BARE = """
import sys, time
from pathlib import Path
import numpy as np, timm, torch
from headstart.backbones.catalogue import catalogue
spec = catalogue()[sys.argv[2]]
batches = np.load(sys.argv[1])
dtype = torch.bfloat16 if sys.argv[3] == "bfloat16" else torch.float32
network = timm.create_model(spec.architecture, num_classes=0).eval().to(dtype, memory_format=torch.channels_last)
with torch.inference_mode():
    begin = time.perf_counter()
    for start in range(0, len(batches), 32):
        pictures = torch.from_numpy(batches[start : start + 32]).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        network(pictures.to(dtype))
    print(time.perf_counter() - begin)
"""


def command(folder: Path, backbone: str, home: Path, out: Path) -> float:
    """Seconds from the shell prompt to the finished report."""
    arguments = ["fit", str(folder), "--backbone", backbone, "--out", str(out), "--overwrite", "--budget", "1h"]
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "headstart", *arguments],
        check=True,
        capture_output=True,
        env={**os.environ, "HEADSTART_HOME": str(home)},
    )
    return time.perf_counter() - begin


def main() -> None:
    """Print the medians as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=SHARED / "images" / "clothing")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if not options.folder.exists():
        sys.exit(f"nothing measured: {options.folder} is not there")
    files = [path for path in sorted(options.folder.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]
    decode, network, first, second = [], [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "home"
        wanted = resolve(options.backbone, home).spec.image
        assert wanted is not None
        for _ in range(options.runs):
            begin = time.perf_counter()
            pictures = np.stack([prepare_image(open_image(file), wanted) for file in files])
            decode.append(time.perf_counter() - begin)
            np.save(Path(scratch) / "pictures.npy", pictures)
            dtype = pick_precision("auto", "cpu")
            arguments = [sys.executable, "-c", _BARE, str(Path(scratch) / "pictures.npy"), options.backbone, dtype]
            network.append(float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout))
            shutil.rmtree(home / "features", ignore_errors=True)
            first.append(command(options.folder, options.backbone, home, Path(scratch) / "run"))
            second.append(command(options.folder, options.backbone, home, Path(scratch) / "run"))
    medians = [statistics.median(values) for values in (decode, network, first, second)]
    bare = medians[0] + medians[1]
    print(provenance())
    print(f"\n{len(files)} images, {options.backbone}, median of {options.runs} rounds, seconds\n")
    print("| decode | network | bare pass | whole command, first time | 1.3 × bare + 8 | second time |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {medians[0]:.1f} | {medians[1]:.1f} | {bare:.1f} | {medians[2]:.1f} | {1.3 * bare + 8:.1f} "
        f"| {medians[3]:.1f} |"
    )


if __name__ == "__main__":
    main()
