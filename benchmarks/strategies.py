"""What each strategy is worth: sets × strategies × labels a class.

    python benchmarks/strategies.py [DATA_FOLDER] [--home FOLDER] [--only SET]... [--strategy NAME]... [--labels N]...
                                    [--seeds N] [--set KEY=VALUE]... [--out FILE]
    python benchmarks/strategies.py --table [NAME]... [--out FILE]

DATA_FOLDER holds `images/` and `text/` with one set each below them. Of every set the features of one starter are used,
`efficientnet_lite0` or `all_minilm_l6_v2`: its last layer, and all of its layers. From the training items 8 and 32
of each class are drawn, and all are taken, with three seeds; settings are chosen out-of-fold, and the accuracy is that
on the set's own test items, or a fifth where it has none. One line of the CSV is one set, strategy and number of
labels: mean, lowest and highest of the seeds, and the seconds that choosing and fitting took on average, features
not included; where weights move, the frozen stages and all epochs are. Such strategies start from a linear head on the
last layer, and are tested with the network that they wrote. A strategy for which settings were given with --set has
them in its name, and one that does not fit the items of a set is left out there. Lines that the file has are not
measured again: remove them first. `--table` measures nothing and shows what a file has, as Markdown: of strategies on
features what they reach on all layers, and how many seeds where there is no range.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from _provenance import provenance
from headstart._randomness import generator
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies import MOVING, STRATEGIES, Linear, MakeMoving, MakeStrategy
from headstart.adaptation.strategies.settings import read_settings
from headstart.backbones.catalogue import starters
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data.dataset import Dataset, Items
from headstart.data.folds import folds as make_folds
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.reduce import spread_out, trainable
from headstart.data.split import split
from headstart.evaluation.calibration import softmax
from headstart.evaluation.metrics import log_loss
from headstart.features.extract import Compute, Features, extract
from headstart.features.memory import MemoryStore
from headstart.features.store import Store
from headstart.features.views import View

SHARED = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "strategies.csv"
LABELS: tuple[int | None, ...] = (8, 32, None)
N_SEEDS = 3
COMPUTE = Compute("cpu", pick_precision("auto", "cpu"))


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    set: str
    backbone: str
    layers: str
    strategy: str
    labels: str
    n_train: int
    accuracy: float
    lowest: float
    highest: float
    log_loss: float
    seconds: float
    n_seeds: int


@dataclass(frozen=True)
class Seen:
    """A set with the features of its items; those of training items with further views."""

    train: Dataset
    features: Features
    unseen: Features
    unseen_items: Items
    truth: np.ndarray


def look(folder: Path, home: Path, strategies: dict[str, Any]) -> Seen:
    """Read a set, and take the features that strategies want from the store, which computes what it lacks."""
    with Store.open(home) as store:
        data = spread_out(identify(read_dataset(folder), known=store), seed=0)
        local = resolve(starters(data.modality)[0].name, home)
        (found,) = extract(data.items, [local], store=store, compute=COMPUTE).features
        sides = split(data, fraction=0.2, seed=0)
        train = trainable(sides.train)
        wanted = [make(()) for make in strategies.values()]
        n_views = max((each.n_views for each in wanted if data.modality in each.modalities), default=1)
        views = [View(number) for number in range(1, n_views)]
        further = extract(train.items, [local], store=store, compute=COMPUTE, views=views).features
    rows, test_rows = (data.items.rows_of(side.items) for side in (train, sides.test))
    return Seen(
        train, replace(found.take(rows), views=further), found.take(test_rows), sides.test.items, sides.test.open()
    )


def drawn(targets: np.ndarray, labels: int | None, seed: int) -> np.ndarray:
    """So many items of each class, or all of a class that has fewer, in the order of the set."""
    if labels is None:
        return np.arange(len(targets))
    rng = generator(seed, "labels", labels)
    classes = [rng.permutation(np.flatnonzero(targets == target))[:labels] for target in np.unique(targets)]
    return np.sort(np.concatenate(classes))


def measure(
    seen: Seen, make: MakeStrategy, labels: int | None, layers: str, n_seeds: int
) -> tuple[list[tuple[float, float, float]], int]:
    """For each seed accuracy, log loss and seconds, and the number of training items."""
    backbone = seen.features.backbone
    parts = tuple(Part(backbone.name, each.name) for each in backbone.layers if layers in ("all", each.name))
    found = []
    for seed in range(n_seeds):
        rows = drawn(seen.train.targets, labels, seed)
        some = seen.train.take(rows)
        features = {backbone.name: seen.features.take(rows)}
        folds = make_folds(some, n_folds=5, seed=seed)
        begin = time.monotonic()
        strategy = make(parts)
        chosen = strategy.cross_validate(features, some.targets, folds, n_classes=len(some.classes), seed=seed)
        predictor = strategy.fit(features, some.targets, classes=some.classes, chosen=chosen, seed=seed)
        seconds = time.monotonic() - begin
        probabilities = predictor.probabilities({backbone.name: seen.unseen})
        right = float((probabilities.argmax(axis=1) == seen.truth).mean())
        found.append((right, log_loss(seen.truth, probabilities, seed=0).value, seconds))
        if labels is None and not strategy.is_random:
            break  # another seed would only be another division into folds
    return found, len(rows)


def measure_moving(
    seen: Seen, make: MakeMoving, labels: int | None, home: Path, n_seeds: int
) -> tuple[list[tuple[float, float, float]], int]:
    """The same where weights move: the head on the last layer first, then the training, on all items."""
    backbone = seen.features.backbone
    found = []
    for seed in range(n_seeds):
        rows = drawn(seen.train.targets, labels, seed)
        some = seen.train.take(rows)
        features = {backbone.name: seen.features.take(rows)}
        folds = make_folds(some, n_folds=5, seed=seed)
        begin = time.monotonic()
        linear = Linear((Part(backbone.name, "last"),))
        chosen = linear.cross_validate(features, some.targets, folds, n_classes=len(some.classes))
        start = linear.fit(features, some.targets, classes=some.classes, chosen=chosen).head
        with tempfile.TemporaryDirectory() as folder:
            tuned = make().fit(
                *(resolve(backbone.name, home), some.items, some.targets, start),
                folder=Path(folder, "tuned"),
                scratch=Path(folder, "scratch"),
                compute=COMPUTE,
                seed=seed,
            )
            seconds = time.monotonic() - begin
            store = MemoryStore()
            (unseen,) = extract(seen.unseen_items, [tuned.local], store=store, compute=COMPUTE).features
        probabilities = softmax(tuned.head.logits(unseen.layer("last").astype(np.float64)), chosen.temperature)
        right = float((probabilities.argmax(axis=1) == seen.truth).mean())
        found.append((right, log_loss(seen.truth, probabilities, seed=0).value, seconds))
    return found, len(rows)


def rows_of(folder: Path, options: argparse.Namespace, home: Path, known: set[tuple[str, ...]]) -> Iterator[Row]:
    """The lines of one set that are not known."""
    on_features, moving = asked(options.strategy, options.set)
    seen = look(folder, home, on_features)
    backbone = seen.features.backbone
    for labels in options.labels:
        several = ("last", "all") if len(backbone.layers) > 1 else ("last",)
        for layers, (name, make) in [*product(several, on_features.items()), *product(["last"], moving.items())]:
            count = "all" if labels is None else str(labels)
            strategy = make() if name in moving else make(())
            if backbone.modality not in strategy.modalities or (folder.name, layers, name, count) in known:
                continue
            if name in moving:
                found, n_train = measure_moving(seen, make, labels, home, options.seeds)
            else:
                found, n_train = measure(seen, make, labels, layers, options.seeds)
            accuracy, loss, seconds = (np.array(column) for column in zip(*found, strict=True))
            yield Row(
                set=folder.name,
                backbone=backbone.name,
                layers=layers,
                strategy=name,
                labels=count,
                n_train=n_train,
                accuracy=round(float(accuracy.mean()), 4),
                lowest=round(float(accuracy.min()), 4),
                highest=round(float(accuracy.max()), 4),
                log_loss=round(float(loss.mean()), 4),
                seconds=round(float(seconds.mean()), 2),
                n_seeds=len(found),
            )


def asked(names: list[str], settings: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The strategies of these names, on features and moving ones, with their settings, by what to call them."""
    wanted = {name: (STRATEGIES | MOVING)[name] for name in names or STRATEGIES}
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name, own in read_settings(dict(each.split("=", 1) for each in settings), wanted).items():
        called = " ".join([name, *(f"{key}={'auto' if value is None else value}" for key, value in own.items())])
        found[name in MOVING][called] = partial(wanted[name], **own)
    return found


def lines_of(file: Path) -> set[tuple[str, ...]]:
    """What a file has already: set, layers, strategy and labels of each line."""
    if not file.exists():
        return set()
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return {(row["set"], row["layers"], row["strategy"], row["labels"]) for row in csv.DictReader(lines)}


def table(file: Path, names: list[str]) -> Iterator[str]:
    """What a file has as Markdown, one line a set and number of labels, one column a strategy."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    cells: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in csv.DictReader(lines):
        here = cells.setdefault((row["set"], row["labels"]), {})
        if row["layers"] == "all" or row["strategy"] not in here:  # the last layer is all that some have
            here[row["strategy"]] = row
    shown = names or list(dict.fromkeys(name for here in cells.values() for name in here))
    yield f"| set | labels a class | {' | '.join(shown)} |"
    yield "|---" * (2 + len(shown)) + "|"
    for (name, labels), here in sorted(cells.items(), key=lambda each: (each[0][0], int(each[1]["linear"]["n_train"]))):
        best = max(float(here[each]["accuracy"]) for each in shown if each in here)
        yield f"| {name} | {labels} | {' | '.join(_cell(here.get(each), best) for each in shown)} |"


def _cell(row: dict[str, str] | None, best: float) -> str:
    if row is None:
        return ""
    accuracy, low, high = (float(row[name]) for name in ("accuracy", "lowest", "highest"))
    text = f"{accuracy:.3f}" if low == high else f"{accuracy:.3f} ({low:.3f}–{high:.3f})"
    return f"**{text}**" if accuracy == best else text


def labels_of(text: str) -> int | None:
    """`all`, or a number a class."""
    return None if text == "all" else int(text)


def main() -> None:
    """Write the CSV line by line, and show each on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--only", action="append", default=[], help="the name of a set; may be repeated")
    known = [*STRATEGIES, *MOVING]
    parser.add_argument("--strategy", action="append", default=[], choices=known, metavar="NAME")
    parser.add_argument("--labels", action="append", type=labels_of, help="labels a class, or `all`; may be repeated")
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
    parser.add_argument("--home", type=Path, help="where features are kept; a temporary folder by default")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", nargs="*", metavar="NAME", help="show these strategies of the file, or all")
    options = parser.parse_args()
    if options.table is not None:
        print(*table(options.out, options.table), sep="\n")
        return
    options.labels = options.labels or list(LABELS)
    folders = sorted([*(options.data / "images").glob("*"), *(options.data / "text").glob("*")])
    wanted = [folder for folder in folders if folder.is_dir() and (not options.only or folder.name in options.only)]
    if not wanted:
        sys.exit(f"nothing measured: {options.data} has no such sets")
    there = lines_of(options.out)
    with tempfile.TemporaryDirectory() as scratch, options.out.open("a", newline="") as file:
        file.write(f"# {provenance()}\n")
        writer = csv.writer(file, lineterminator="\n")
        if not there:
            writer.writerow([field.name for field in fields(Row)])
        for folder in wanted:
            for row in rows_of(folder, options, options.home or Path(scratch), there):
                values = [getattr(row, field.name) for field in fields(Row)]
                writer.writerow(values)
                file.flush()
                print(*values, flush=True)


if __name__ == "__main__":
    main()
