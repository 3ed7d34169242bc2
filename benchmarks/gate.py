"""What flags items unlike the training data: the table of `headstart.adaptation.gate`, measured.

    python benchmarks/gate.py [DATA_FOLDER] [--items N]

DATA_FOLDER holds `images/` and `text/` with one set each below them, every set with a test side. The gate learns from
up to N training items of a set and meets up to N/2 test items of each set of its modality: those of its own should
pass, those of the others be flagged. Every way has its threshold from distances to items of other folds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.covariance import LedoitWolf

from _provenance import provenance
from headstart._randomness import generator
from headstart._threads import one_thread
from headstart.adaptation.gate import LAST, PASSES, distances, unit_blocks
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import Local, resolve
from headstart.data.dataset import Dataset
from headstart.data.folds import folds
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.evaluation.conformal import HeldOut
from headstart.features.extract import Compute, extract
from headstart.features.memory import MemoryStore

SHARED = Path(__file__).parents[2] / "shared" / "data"
STARTERS = {"images": "efficientnet_lite0", "text": "all_minilm_l6_v2"}

Measure = Callable[[np.ndarray], np.ndarray]
"""How strange rows of features are."""


@dataclass(frozen=True)
class Set:
    """The features of one set."""

    name: str
    train: np.ndarray
    folds: np.ndarray
    test: np.ndarray


def nearest(k: int, *, centred: bool = False, kth: bool = False) -> Callable[[np.ndarray], Measure]:
    """The distance to the nearest training items."""

    def learn(train: np.ndarray) -> Measure:
        origin = train.mean(axis=0) if centred else np.float32(0)
        known = unit_blocks([train - origin])

        def measure(rows: np.ndarray) -> np.ndarray:
            units = unit_blocks([rows - origin])
            if not kth:
                return distances(units, known, n_nearest=k)
            return k * distances(units, known, n_nearest=k) - (k - 1) * distances(units, known, n_nearest=k - 1)

        return measure

    return learn


def mahalanobis(train: np.ndarray) -> Measure:
    """The distance from the mean, with a shrunk covariance."""
    found = LedoitWolf().fit(train)
    return lambda rows: np.asarray(found.mahalanobis(rows))


WAYS: dict[str, Callable[[np.ndarray], Measure]] = {
    "nearest 1": nearest(1),
    "mean of 5 nearest": nearest(5),
    "5th nearest": nearest(5, kth=True),
    "10th nearest": nearest(10, kth=True),
    "mean of 5 nearest, centred": nearest(5, centred=True),
    "Mahalanobis, Ledoit–Wolf": mahalanobis,
}


def read_sets(folder: Path, local: Local, n_items: int) -> Iterator[Set]:
    """The sets below a folder."""
    for place in sorted(each for each in folder.iterdir() if each.is_dir()):
        dataset = identify(read_dataset(str(place)))
        sides = np.array(dataset.sides)
        train, test = (
            dataset.take(sorted(generator(0, place.name).permutation(rows)[:most].tolist()))
            for rows, most in (
                (np.flatnonzero(sides != "test"), n_items),
                (np.flatnonzero(sides == "test"), n_items // 2),
            )
        )
        yield Set(place.name, features(train, local), folds(train), features(test, local))
        sys.stderr.write(f"{place.name}: {len(train)} and {len(test)} items\n")


def features(dataset: Dataset, local: Local) -> np.ndarray:
    """The layer `last`."""
    compute = Compute("cpu", pick_precision("auto", "cpu"))
    return extract(dataset.items, [local], store=MemoryStore(), compute=compute).features[0].layer(LAST)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--items", type=int, default=600)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, one_thread():
        sets = {
            folder: list(read_sets(asked.data / folder, resolve(name, Path(home)), asked.items))
            for folder, name in STARTERS.items()
        }
    print(provenance())
    print("\n| way | modality | flagged, mean | flagged, least | own test passes |\n|---|---|---|---|---|")
    for way, learn in WAYS.items():
        for folder, members in sets.items():
            flagged, passed = [], []
            for own in members:
                held_out = np.empty(len(own.train))
                for fold in np.unique(own.folds):
                    out = own.folds == fold
                    held_out[out] = learn(own.train[~out])(own.train[out])
                threshold, measure = HeldOut.of(held_out).bound(PASSES), learn(own.train)
                passed.append(np.mean(measure(own.test) <= threshold))
                flagged += [np.mean(measure(each.test) > threshold) for each in members if each is not own]
            print(f"| {way} | {folder} | {np.mean(flagged):.3f} | {min(flagged):.3f} | {np.mean(passed):.3f} |")


if __name__ == "__main__":
    main()
