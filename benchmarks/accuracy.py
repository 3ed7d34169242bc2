"""Test accuracy of `fit` on real sets, beside one pass and scikit-learn's LogisticRegressionCV.

    python benchmarks/accuracy.py [DATA_FOLDER] [--peer] [--only NAME]

DATA_FOLDER holds `images/` and `text/` with one set each below them. Features and runs go to a temporary folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart.backbones.catalogue import starters
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.features.extract import Compute, extract
from headstart.features.store import Store
from headstart.recipes.fit import fit
from headstart.recipes.options import FitOptions

SHARED = Path(__file__).parents[2] / "shared" / "data"


def peer(folder: Path, home: Path) -> dict[str, float]:
    """Test accuracy of LogisticRegressionCV (5 folds, 8 strengths) on the standardised last layer of each starter."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    results = {}
    with Store.open(home) as store:
        data = identify(read_dataset(folder), known=store)
        train = np.array([side == "train" for side in data.sides or ()])
        for spec in starters(data.modality):
            compute = Compute("cpu", pick_precision("auto", "cpu"))
            found = extract(data.items, [resolve(spec.name, home)], store=store, compute=compute).features[0]
            last, targets = found.layer("last"), data.targets
            options = {"Cs": np.logspace(-4, 2, 8), "cv": 5, "max_iter": 300, "l1_ratios": (0,)}
            model = make_pipeline(
                StandardScaler(), LogisticRegressionCV(**options, use_legacy_attributes=False, scoring="neg_log_loss")
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(last[train], targets[train])
            results[spec.name] = float((model.predict(last[~train]) == targets[~train]).mean())
    return results


def main() -> None:
    """Print one row a set as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--peer", action="store_true", help="run scikit-learn too")
    parser.add_argument("--only", default="", help="the name of one set")
    parser.add_argument("--home", type=Path, help="where features are kept; a temporary folder by default")
    options = parser.parse_args()
    if not options.data.exists():
        sys.exit(f"nothing measured: {options.data} is not there")
    print(provenance())
    print(
        "\n| set | train / test | fit: accuracy (95 % interval) | chosen | seconds | one pass + LogisticRegressionCV |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch) / "home"
        for folder in sorted([*(options.data / "images").glob("*"), *(options.data / "text").glob("*")]):
            if options.only in folder.name:
                started = time.monotonic()
                out = str(Path(scratch) / folder.name)
                run = fit(str(folder), options=FitOptions(home=home, out=out, budget_s=3600, started=started))
                seconds = time.monotonic() - started
                theirs = peer(folder, home) if options.peer else {}
                columns = ", ".join(f"{name} {value:.3f}" for name, value in theirs.items())
                test = run.evaluation.accuracy
                print(
                    f"| {folder.name} | {run.data.n_train:,} / {run.data.n_test:,} | {test.value:.3f} "
                    f"({test.low:.3f}–{test.high:.3f}) | {run.chosen.backbone} · {run.chosen.settings['layers']} "
                    f"| {seconds:.0f} | {columns} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
