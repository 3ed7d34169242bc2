"""How often the audit takes random halves for different sources, and what it says of sets that are different.

    python benchmarks/shift.py [DATA] [--sets NAME]... [--splits N] [--home FOLDER]

DATA holds `images/` and `text/` with one set each below them. Features are of the last layer of one starter. First each
set is cut into random halves of its training items N times: the share of p-values below 0.01 and 0.05, and of splits
that a finding is made of. Then each set's own test side, and the training side of each other set of its modality,
against its training side.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart._home import default_home
from headstart._randomness import generator
from headstart.auditing.shift import Side, shift_findings, sides_apart
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data.dataset import Items
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.split import split
from headstart.features.extract import Compute, extract
from headstart.features.store import Store

SHARED = Path(__file__).parents[2] / "shared" / "data"
STARTERS = {"image": "efficientnet_lite0", "text": "all_minilm_l6_v2"}


@dataclass(frozen=True)
class Set:
    """Both sides of a set."""

    name: str
    modality: str
    train: Side
    test: Side


def read(folder: Path, home: Path) -> Set:
    """A set with its features."""
    sides = split(identify(read_dataset(folder)))
    items = sides.train.items
    return Set(folder.name, items.modality, _side("training", items, home), _side("test", sides.test.items, home))


def _side(name: str, items: Items, home: Path) -> Side:
    with Store.open(home) as store:
        compute = Compute("cpu", pick_precision("auto", "cpu"))
        (found,) = extract(items, [resolve(STARTERS[items.modality], home)], store=store, compute=compute).features
    return Side(name, items.names, found.layer("last"), units=items.keys)


def some(side: Side, rows: np.ndarray, name: str) -> Side:
    """The side of some of its items."""
    assert side.units is not None
    return Side(name, [side.names[row] for row in rows], side.features[rows], units=[side.units[row] for row in rows])


def halves(data: Set, n_splits: int) -> Iterator[tuple[float, bool]]:
    """The p-value of each pair of random halves, and whether anything is told."""
    for seed in range(n_splits):
        order = generator(seed, "halves").permutation(len(data.train))
        cut = len(order) // 2
        first, second = some(data.train, order[:cut], "first"), some(data.train, order[cut:], "second")
        found = sides_apart(first, second, seed=seed)
        assert found is not None
        yield found.p_value, found.p_value < 0.01 and any(True for _ in shift_findings(first, second, seed=seed))


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--sets", action="append", help="only these")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--home", type=Path, default=default_home(), help="where features are kept")
    options = parser.parse_args()
    folders = [
        folder
        for kind in ("images", "text")
        for folder in sorted((options.data / kind).glob("*"))
        if folder.is_dir() and (not options.sets or folder.name in options.sets)
    ]
    if not folders:
        sys.exit(f"nothing measured: no such sets below {options.data}")
    sets = [read(folder, options.home) for folder in folders]
    print(f"{provenance()}\n")
    print("| set | random halves | p < 0.05 | p < 0.01 | told | seconds each |")
    print("|---|---|---|---|---|---|")
    for data in sets:
        start = time.perf_counter()
        values, told = map(np.array, zip(*halves(data, options.splits), strict=True))
        took = (time.perf_counter() - start) / options.splits
        print(
            f"| {data.name} | {options.splits} | {(values < 0.05).mean():.3f} | {(values < 0.01).mean():.3f} "
            f"| {told.mean():.3f} | {took:.2f} |",
            flush=True,
        )
    print("\n| first | second | told apart (interval) | p | finding |")
    print("|---|---|---|---|---|")
    for data in sets:
        others = [each for each in sets if each.modality == data.modality and each is not data]
        for name, other in ((f"{data.name}, test", data.test), *((each.name, each.train) for each in others)):
            found = sides_apart(data.train, other)
            assert found is not None
            told = next((each.severity for each in shift_findings(data.train, other)), "")
            rate = found.accuracy
            print(
                f"| {data.name} | {name} | {rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f}) | {found.p_value:.3f} "
                f"| {told} |"
            )


if __name__ == "__main__":
    main()
