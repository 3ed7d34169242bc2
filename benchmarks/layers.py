"""Why layers on a grid are kept beside the last one: test accuracy of the same linear head on different layers.

    python benchmarks/layers.py [FOLDER]...

Each FOLDER is a data set with a test of its own. Without any, the handwritten digits of scikit-learn (10 labels a
class), and the sets in ../shared/data/images where they are present. The penalty is chosen out-of-fold for each column
by itself, and nothing is chosen by the test. One pass through `efficientnet_lite0` gives all layers: the columns differ
in nothing else.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _provenance import provenance
from headstart._home import default_home
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies.linear import Linear
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.precision import pick_device, pick_precision
from headstart.backbones.resolve import Local, resolve
from headstart.data import Items, folds, identify, read_dataset, split
from headstart.evaluation.metrics import accuracy
from headstart.features.extract import Compute, Features, extract
from headstart.features.store import Store
from headstart.recipes.demo_data import write_digits

BACKBONE = "efficientnet_lite0"
COLUMNS: dict[str, tuple[Part, ...]] = {
    "last": (Part(BACKBONE, "last"),),
    "stage4": (Part(BACKBONE, "stage4"),),
    "stage5": (Part(BACKBONE, "stage5"),),
    "stages": (Part(BACKBONE, "stage4"), Part(BACKBONE, "stage5")),
    "all": tuple(Part(BACKBONE, layer) for layer in ("stage4", "stage5", "last")),
    "pixels": (Part(PIXELS.name, "last"),),
}
ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "images"


def features_of(items: Items, store: Store) -> dict[str, Features]:
    """What the backbone says and the pixels themselves, by name."""
    device = pick_device("auto")
    backbones = [resolve(BACKBONE, default_home()), Local(PIXELS, Path(), {})]
    found = extract(items, backbones, store=store, compute=Compute(device, pick_precision("auto", device)))
    return {features.backbone.name: features for features in found.features}


def row(folder: Path, store: Store) -> str:
    """One data set as a row of the table."""
    sides = split(identify(read_dataset(folder), known=store), seed=0)
    train, classes = sides.train, sides.train.classes
    seen, unseen = features_of(train.items, store), features_of(sides.test.items, store)
    fold_of = folds(train, n_folds=5, seed=0)
    answers = sides.test.open()
    rights = []
    for parts in COLUMNS.values():
        strategy = Linear(parts)
        chosen = strategy.cross_validate(seen, train.targets, fold_of, n_classes=len(classes))
        predictor = strategy.fit(seen, train.targets, classes=classes, chosen=chosen)
        rights.append(accuracy(answers, predictor.probabilities(unseen)).value)
    shown = [f"**{right:.3f}**" if right == max(rights) else f"{right:.3f}" for right in rights]
    return table_line(folder.name, f"{len(train):,} / {sides.test.n:,}", *shown)


def table_line(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def main(folders: list[Path]) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as scratch, Store.open() as store:
        if not folders:
            write_digits(Path(scratch) / "digits")
            folders = [Path(scratch) / "digits", *sorted(path for path in SHARED.glob("*") if path.is_dir())]
        print(f"Test accuracy, linear head, {BACKBONE}. {provenance()}\n", flush=True)
        print(table_line("set", "train / test", *COLUMNS))
        print(table_line(*["---"] * (len(COLUMNS) + 2)), flush=True)
        for folder in folders:
            print(row(folder, store), flush=True)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
