"""What contrastive tuning of a sentence encoder brings over the linear head, with few labels.

    python benchmarks/contrastive.py [DATA_FOLDER] [--only SET]... [--way NAME]... [--labels 8 32] [--seeds 3]
                                     [--tests 500] [--home FOLDER] [--out FILE]

Of each set below DATA_FOLDER/text some items of each class are drawn, with several seeds; accuracy is that on some of
the set's own test items, always the same ones. `all_minilm_l6_v2` is tuned without held-out items, so nothing is chosen
by what is measured. One line of the CSV is one set, way and number of labels: mean, lowest and highest accuracy of the
seeds, how many points it is above the linear head on the layer `last` in the mean and at least, and the processor
seconds of training and of the head. Lines of an earlier call stay in the file, unless they are measured again.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart._randomness import generator
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies import Linear, MovingStrategy
from headstart.adaptation.strategies.contrastive import Contrastive
from headstart.adaptation.strategies.finetune import FineTune
from headstart.backbones.catalogue import starters
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import Local, resolve
from headstart.data.dataset import Dataset
from headstart.data.folds import folds as make_folds
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.features.extract import Compute, Features, extract
from headstart.features.memory import MemoryStore
from headstart.features.store import Store

SHARED = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "contrastive.csv"
LINEAR, LINEAR_ALL = "linear, last layer", "linear, all layers"
WAYS: dict[str, MovingStrategy] = {
    "contrastive": Contrastive(),
    "contrastive, half way": Contrastive(interpolation=0.5),
    "contrastive, rate 1e-4": Contrastive(learning_rate=1e-4),
    "contrastive, pairs": Contrastive(loss="pairs"),
    "contrastive, ranks": Contrastive(loss="ranks"),
    "contrastive, last 3": Contrastive(n_stages=3, learning_rate=1e-4),
    "contrastive, 240 steps": Contrastive(steps=40),
    "finetune, all": FineTune(n_stages=6, epochs=20, learning_rate=5e-5),
}
COMPUTE = Compute("cpu", pick_precision("auto", "cpu"))


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    set: str
    labels: int
    way: str
    accuracy: float
    lowest: float
    highest: float
    gain: float
    least_gain: float
    cpu_seconds: float
    n_train: int
    n_test: int
    n_seeds: int


def linear(some: Dataset, features: Features, seed: int, *, layers: tuple[str, ...]) -> LinearHead:
    """The strategy `linear` on some layers, its penalty chosen out-of-fold."""
    name = features.backbone.name
    strategy, seen = Linear(tuple(Part(name, layer) for layer in layers)), {name: features}
    folds = make_folds(some, n_folds=5, seed=seed)
    chosen = strategy.cross_validate(seen, some.targets, folds, n_classes=len(some.classes))
    head = strategy.fit(seen, some.targets, classes=some.classes, chosen=chosen).head
    assert isinstance(head, LinearHead)
    return head


def measure(
    way: str, some: Dataset, test: Dataset, features: tuple[Features, Features], local: Local, seed: int
) -> tuple[float, float]:
    """Accuracy, and processor seconds."""
    begin = time.process_time()
    if way in (LINEAR, LINEAR_ALL):
        names = tuple(layer.name for layer in local.spec.layers)
        layers = names if way == LINEAR_ALL else ("last",)
        head = linear(some, features[0], seed, layers=layers)
        seconds = time.process_time() - begin
        last = np.concatenate([features[1].layer(layer) for layer in layers], axis=1)
    else:
        start = linear(some, features[0], seed, layers=("last",))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            tuned = WAYS[way].fit(
                *(local, some.items, some.targets, start),
                folder=folder / "tuned",
                scratch=folder / "scratch",
                compute=COMPUTE,
                seed=seed,
            )
            seconds, head = time.process_time() - begin, tuned.head
            last = extract(test.items, [tuned.local], store=MemoryStore(), compute=COMPUTE).features[0].layer("last")
    return float((head.logits(last).argmax(axis=1) == test.targets).mean()), seconds


def rows_of(folder: Path, options: argparse.Namespace, home: Path) -> Iterator[Row]:
    """The lines of one set."""
    local = resolve(starters("text")[0].name, home)
    with Store.open(home) as store:
        data = identify(read_dataset(folder), known=store)
        is_test = np.array([side == "test" for side in data.sides or ()])
        test = data.take(np.sort(generator(0, "tests").permutation(np.flatnonzero(is_test))[: options.tests]))
        train = data.take(np.flatnonzero(~is_test))
        seen_test = extract(test.items, [local], store=store, compute=COMPUTE).features[0]
        for labels in options.labels:
            base: list[float] = []
            for way in (LINEAR, LINEAR_ALL, *(options.way or WAYS)):
                found = []
                for seed in range(options.seeds):
                    shuffled = generator(seed, "labels", labels).permutation(len(train))
                    each = [shuffled[train.targets[shuffled] == k][:labels] for k in range(len(train.classes))]
                    some = train.take(np.sort(np.concatenate(each)))
                    seen = extract(some.items, [local], store=store, compute=COMPUTE).features[0]
                    found.append(measure(way, some, test, (seen, seen_test), local, seed))
                    print(folder.name, labels, way, seed, *(f"{value:.4g}" for value in found[-1]), flush=True)
                accuracy, seconds = (np.array(column) for column in zip(*found, strict=True))
                base = accuracy.tolist() if way == LINEAR else base
                gains = accuracy - base
                spread = [float(value) for value in (accuracy.mean(), accuracy.min(), accuracy.max())]
                gain = [float(100 * value) for value in (gains.mean(), gains.min())]
                yield Row(
                    *(folder.name, labels, way),
                    *(round(value, 4) for value in spread),
                    *(round(value, 1) for value in gain),
                    round(float(seconds.mean()), 1),
                    *(len(some), len(test), options.seeds),
                )


def main() -> None:
    """Write the CSV line by line, and show each seed on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--only", action="append", default=[], help="the name of a set; may be repeated")
    parser.add_argument("--way", action="append", default=[], choices=[*WAYS, []], metavar="NAME")
    parser.add_argument("--labels", type=int, nargs="+", default=[8, 32], help="items of each class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tests", type=int, default=500, help="test items")
    parser.add_argument("--home", type=Path, help="where features are kept; a temporary folder by default")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    folders = [
        each for each in sorted((options.data / "text").glob("*")) if each.name in options.only or not options.only
    ]
    if not folders:
        sys.exit(f"nothing measured: {options.data} has no such sets")
    names = [field.name for field in fields(Row)]
    lines: dict[tuple[str, ...], dict[str, object]] = {}
    if options.out.exists():
        with options.out.open(newline="") as file:
            file.readline()
            lines = {(line["set"], line["labels"], line["way"]): dict(line) for line in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            for row in rows_of(folder, options, options.home or Path(scratch)):
                lines[row.set, str(row.labels), row.way] = asdict(row)
                with options.out.open("w", newline="") as file:
                    file.write(f"# {provenance()}; two cores shared with other work\n")
                    writer = csv.DictWriter(file, names, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(lines.values())


if __name__ == "__main__":
    main()
