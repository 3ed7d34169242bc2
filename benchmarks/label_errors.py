"""How many planted label errors the audit finds, beside cleanlab's own defaults on the same probabilities.

    python benchmarks/label_errors.py [DATA] [--sets NAME]... [--seeds N] [--share S] [--out FILE] [--home FOLDER]

DATA holds `images/` and `text/` with one set each below them. A share of the training labels of a set is
exchanged for another class at random: `uniform` for any other one, `pairs` for the one that the class is most often
taken for, which is harder. The errors that were there before count as false alarms. Probabilities are out-of-fold, of
the last layer of one starter: `ridge` of `headstart.auditing.probabilities`, `linear` of the head that `fit` begins
with.
With `--share 0` the rows tell what is suspected of the sets as they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues

from _provenance import provenance
from _rows import append, read_rows
from headstart._home import default_home
from headstart._randomness import generator
from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.scaling import Scaling
from headstart.auditing.labels import suspect_labels
from headstart.auditing.probabilities import ridge_out_of_fold
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data.folds import folds
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.split import split
from headstart.evaluation.calibration import fit_temperature, softmax
from headstart.features.extract import Compute, extract
from headstart.features.store import Store

SHARED = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "label_errors.csv"
STARTERS = {"image": "efficientnet_lite0", "text": "all_minilm_l6_v2"}
PROBABILITIES = ("ridge", "linear")
MEANS = ("n_flagged", "precision", "recall", "f1", "rate", "low", "high", "seconds")


@dataclass(frozen=True)
class Row:
    """What one way found on one set with one planting."""

    set: str
    noise: str
    share: float
    seed: int
    probabilities: str
    way: str
    n_items: int
    n_planted: int
    n_flagged: int
    precision: float
    recall: float
    f1: float
    rate: float
    low: float
    high: float
    seconds: float
    machine: str


@dataclass(frozen=True)
class Data:
    """The training side of a set."""

    name: str
    features: np.ndarray
    targets: np.ndarray
    folds: np.ndarray

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self.targets.max()) + 1

    def probabilities(self, labels: np.ndarray, way: str) -> np.ndarray:
        """Out-of-fold probabilities of a model that learned from these labels."""
        if way == "ridge":
            return ridge_out_of_fold(self.features, labels, self.folds, self.n_classes)
        scaled = Scaling.fit(self.features).apply(self.features)
        path = logistic.cross_validate(scaled, labels, self.folds, n_classes=self.n_classes)
        logits = path.oof_logits[path.best]
        return softmax(logits, fit_temperature(logits, labels))


def read(folder: Path, home: Path) -> Data:
    """A set with the features of its training items."""
    train = split(identify(read_dataset(folder))).train
    compute = Compute("cpu", pick_precision("auto", "cpu"))
    with Store.open(home) as store:
        (found,) = extract(
            train.items, [resolve(STARTERS[train.modality], home)], store=store, compute=compute
        ).features
    return Data(folder.name, found.layer("last"), train.targets, folds(train))


def planted(data: Data, noise: str, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which some are wrong, and which these are."""
    random = generator(seed, "label errors")
    wrong = np.zeros(len(data.targets), dtype=np.bool_)
    wrong[random.choice(len(wrong), round(share * len(wrong)), replace=False)] = True
    others = (data.targets + random.integers(1, data.n_classes, size=len(wrong))) % data.n_classes
    if noise == "pairs":
        clean = data.probabilities(data.targets, "ridge")
        mean = np.stack([clean[data.targets == label].mean(axis=0) for label in range(data.n_classes)])
        np.fill_diagonal(mean, -1)
        others = mean.argmax(axis=1)[data.targets]
    return np.where(wrong, others, data.targets), wrong


def rows_of(data: Data, noise: str, share: float, seed: int, machine: str) -> Iterator[Row]:
    """One row for each way to find them."""
    labels, wrong = planted(data, noise, share, seed)
    for kind in PROBABILITIES:
        probabilities = data.probabilities(labels, kind)
        start = time.perf_counter()
        suspects = suspect_labels(labels, probabilities)
        seconds = time.perf_counter() - start
        ours = np.zeros(len(labels), dtype=np.bool_)
        ours[suspects.rows] = True
        start = time.perf_counter()
        theirs = find_label_issues(labels, probabilities, n_jobs=1)
        rate = suspects.wrong
        for way, found, took, numbers in (
            ("headstart", ours, seconds, (rate.value, rate.low, rate.high)),
            ("cleanlab", theirs, time.perf_counter() - start, (np.nan,) * 3),
        ):
            right = int((found & wrong).sum())
            precision, recall = right / max(int(found.sum()), 1), right / max(int(wrong.sum()), 1)
            f1 = 2 * precision * recall / max(precision + recall, 1e-12)
            yield Row(
                *(data.name, noise, share, seed, kind, way, len(labels), int(wrong.sum()), int(found.sum())),
                *(round(float(number), 4) for number in (precision, recall, f1, *numbers)),
                round(took, 3),
                machine,
            )


def main() -> None:
    """Measure what is not in the file yet, and print the means as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--sets", action="append", help="only these")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.08)
    parser.add_argument("--out", type=Path, default=RESULTS)
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
    machine = provenance()
    had = {(row.set, row.noise, row.share, row.seed) for row in read_rows(Row, options.out)}
    for folder in folders:
        data = read(folder, options.home)
        for noise in ("uniform", "pairs") if options.share else ("none",):
            for seed in range(options.seeds if options.share else 1):
                if (data.name, noise, options.share, seed) not in had:
                    for row in rows_of(data, noise, options.share, seed, machine):
                        append(row, options.out)
    report(read_rows(Row, options.out))


def report(rows: list[Row]) -> None:
    """Means over the seeds."""
    print(
        "| set | noise | share | probabilities | way | flagged | precision | recall | F1 | rate (interval) | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for key in dict.fromkeys((row.set, row.noise, row.share, row.probabilities, row.way) for row in rows):
        some = [row for row in rows if (row.set, row.noise, row.share, row.probabilities, row.way) == key]
        mean = {name: np.mean([getattr(row, name) for row in some]) for name in MEANS}
        rate = f"{mean['rate']:.1%} ({mean['low']:.1%} to {mean['high']:.1%})" if key[-1] == "headstart" else ""
        print(
            f"| {' | '.join(map(str, key))} | {mean['n_flagged']:.0f} | {mean['precision']:.3f} | {mean['recall']:.3f} "
            f"| {mean['f1']:.3f} | {rate} | {mean['seconds']:.2f} |"
        )


if __name__ == "__main__":
    main()
