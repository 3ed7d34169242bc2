"""What it is worth to keep freed memory while a network runs (`headstart._memory`): seconds and memory of a pass.

    python benchmarks/memory.py [IMAGE_FOLDER] [--backbone efficientnet_lite0] [--items 400] [--runs 3]

Each pass is a process of its own, in turn with and without; loading is not counted. Without means that glibc is told
something by the environment that changes nothing, which headstart takes as a wish to leave it alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _provenance import provenance
from headstart.backbones.resolve import resolve

SHARED = Path(__file__).parents[2] / "shared" / "data"
_PASS = """
import resource, sys
from pathlib import Path
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore

folder, name, home, n_items = sys.argv[1:]
store = MemoryStore()
items = identify(read_dataset(Path(folder)), known=store).items
compute = Compute("cpu", pick_precision("auto", "cpu"))
local = resolve(name, Path(home))
before = resource.getrusage(resource.RUSAGE_SELF)
found = extract(items.take(range(min(int(n_items), len(items)))), [local], store=store, compute=compute)
used = resource.getrusage(resource.RUSAGE_SELF)
print(found.wall_s - found.loading_s, used.ru_utime - before.ru_utime, used.ru_stime - before.ru_stime,
      used.ru_maxrss / 1024)
"""


def main() -> None:
    """Print medians as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=SHARED / "images" / "pacs_sketch")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = {"returned": [], "kept": []}
    with tempfile.TemporaryDirectory() as home:
        resolve(options.backbone, Path(home))
        for _ in range(options.runs):
            for how, rows in found.items():
                told = {"MALLOC_PERTURB_": "0"} if how == "returned" else {}
                command = [sys.executable, "-c", _PASS, str(options.folder), options.backbone, home, str(options.items)]
                done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **told})
                rows.append([float(each) for each in done.stdout.split()])
    print("| freed memory | seconds | of the processor | of them in the system | peak, MB |")
    print("|---|---|---|---|---|")
    for how, rows in found.items():
        wall, user, system, peak = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {how} | {wall:.1f} | {user + system:.1f} | {system:.1f} | {peak:.0f} |")
    print(f"\n{options.items} items of {options.folder.name}, {options.backbone}; {provenance()}")


if __name__ == "__main__":
    main()
