"""What it brings to put activations into the convolutions before them: milliseconds an image, side by side.

    python benchmarks/passes.py [BACKBONE]... [--batch N] [--runs N]

Both networks are the starter's as a pass loads it, one with and one without, and take turns; random pictures, so that
nothing is decoded. Medians, the ratio of each turn's two times, the largest difference of a feature, and what the
change adds to loading.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np

from _provenance import provenance
from headstart._memory import kept_memory
from headstart.backbones.backbone import Backbone
from headstart.backbones.catalogue import starters
from headstart.backbones.loaders import _images, loader
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import Local, resolve


def loaded(local: Local, *, fused: bool) -> tuple[Backbone, float]:
    """The backbone, and the seconds that loading took."""
    module = loader(local.spec.loader)
    begin = time.perf_counter()
    with contextlib.ExitStack() as stack:
        if not fused:
            stack.enter_context(mock.patch.object(_images, "fuse_activations", side_effect=lambda network, _: network))
        backbone = module.load(local.spec, local.folder, "cpu", pick_precision("auto", "cpu"))
    return backbone, time.perf_counter() - begin


def measure(local: Local, batch: int, runs: int) -> str:
    loaded(local, fused=True)  # with what it imports
    (plain, plain_s), (fused, fused_s) = (loaded(local, fused=each) for each in (False, True))
    assert local.spec.image is not None
    size = local.spec.image.size_px
    pictures = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    times: dict[str, list[float]] = {"plain": [], "fused": []}
    with kept_memory():
        apart = np.abs(plain.forward(pictures) - fused.forward(pictures)).max()
        for _ in range(runs):
            for name, backbone in (("plain", plain), ("fused", fused)):
                begin = time.perf_counter()
                backbone.forward(pictures)
                times[name].append(1000 * (time.perf_counter() - begin) / batch)
    ratios = [one / other for one, other in zip(times["fused"], times["plain"], strict=True)]
    cells = [f"{statistics.median(each):.1f}" for each in times.values()]
    cells += [f"{statistics.median(ratios):.2f}", f"{apart:g}", f"{fused_s - plain_s:.2f}"]
    return f"| {local.spec.name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbones", nargs="*", default=[spec.name for spec in starters("image")])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    print(provenance())
    print("\n| backbone | plain, ms | fused, ms | ratio | largest difference | loading, s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        for name in options.backbones:
            print(measure(resolve(name, Path(home)), options.batch, options.runs), flush=True)


if __name__ == "__main__":
    main()
