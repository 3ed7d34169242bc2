"""What it costs to trust the ranking: test accuracy of the backbone that it chooses, beside the best there was.

    python benchmarks/choice.py [DATA_FOLDER] [--home FOLDER] [--only NAME]

DATA_FOLDER holds `images/` with one set each below it; for texts there is a single starter, and nothing to choose. Of
every starter the test accuracy is that of the head that `fit` would take with it alone. Regret is the best of these
minus that of the backbone chosen by the ranking, on up to 1,000 training items and on a quarter of the training items.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart.adaptation.strategies import Linear
from headstart.backbones.catalogue import entries, starters
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data.folds import folds as make_folds
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.reduce import spread_out
from headstart.data.split import split
from headstart.features.extract import Compute, Features, extract
from headstart.features.store import Store
from headstart.search.candidates import proposals, try_out
from headstart.search.choice import choose
from headstart.selection.prior import prior
from headstart.selection.ranking import rank

SHARED = Path(__file__).parents[2] / "shared" / "data"
MOST_ITEMS = 1000


def accuracies(folder: Path, home: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Test accuracy by starter, and the choice of the ranking by how many items it saw."""
    with Store.open(home) as store:
        data = spread_out(identify(read_dataset(folder), known=store), seed=0)
        backbones = [resolve(spec.name, home) for spec in starters(data.modality)]
        compute = Compute("cpu", pick_precision("auto", "cpu"))
        found = extract(data.items, backbones, store=store, compute=compute).features
    sides = split(data, fraction=0.2, seed=0)
    rows, test_rows = (data.items.rows_of(side.items) for side in (sides.train, sides.test))
    targets, classes = sides.train.targets, sides.train.classes
    folds = make_folds(sides.train, n_folds=5, seed=0)
    truth = sides.test.open()
    seen = {features.backbone.name: features.take(rows) for features in found}
    unseen = {features.backbone.name: features.take(test_rows) for features in found}
    result = {}
    for local in backbones:
        tried = [
            try_out(each, seen, targets, folds, make=Linear, n_classes=len(classes), seed=0)
            for each in proposals(local.spec)
        ]
        winner = choose(tried).winner
        predictor = winner.strategy.fit(seen, targets, classes=classes, chosen=winner.out_of_fold)
        result[local.spec.name] = float((predictor.probabilities(unseen).argmax(axis=1) == truth).mean())
    return result, {
        f"{n:,}": _chosen(seen, targets, n) for n in (min(MOST_ITEMS, len(targets)), round(len(targets) / 4))
    }


def _chosen(seen: dict[str, Features], targets: np.ndarray, n: int) -> str:
    some = {name: features.take(slice(0, n)) for name, features in seen.items()}
    known = entries()
    priors = {name: prior(known.get(name, features.backbone)) for name, features in seen.items()}
    return rank(some, targets[:n], seconds={}, priors=priors).chosen.name


def main() -> None:
    """Print one row a set as Markdown, and the mean regret."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--only", default="", help="the name of one set")
    parser.add_argument("--home", type=Path, help="where features are kept; a temporary folder by default")
    options = parser.parse_args()
    if not options.data.exists():
        sys.exit(f"nothing measured: {options.data} is not there")
    print(provenance())
    print(
        "\n| set | test accuracy by backbone | chosen (items seen) | regret, points | on a quarter | regret, points |"
    )
    print("|---|---|---|---|---|---|")
    regrets: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch)
        for folder in sorted((options.data / "images").glob("*")):
            if options.only in folder.name:
                by_name, chosen = accuracies(folder, home)
                best = max(by_name.values())
                regrets.append(tuple(100 * (best - by_name[name]) for name in chosen.values()))
                columns = ", ".join(f"{name} {value:.3f}" for name, value in by_name.items())
                (n_all, whole), (n_some, part) = chosen.items()
                print(
                    f"| {folder.name} | {columns} | {whole} ({n_all}) | {regrets[-1][0]:.1f} | {part} ({n_some}) "
                    f"| {regrets[-1][1]:.1f} |",
                    flush=True,
                )
    print(f"\nmean regret: {np.mean(regrets, axis=0).round(2).tolist()} points")


if __name__ == "__main__":
    main()
