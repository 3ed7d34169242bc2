"""Labels that were suggested against labels at random: the table of docs/labelling.md.

    python benchmarks/suggest.py [DATA_FOLDER] [--seeds N]

DATA_FOLDER holds `images/` and `text/` as ../shared/data does. Of each set five training items a class are labelled at
random, or none. Then 50 or 100 more of at most 2,000 are labelled in one step: at random, those of which the head is
least sure, those that `headstart suggest --run` gives, and those that it gives without a run. What counts is the
accuracy of the linear head on at most 2,000 test items, its penalty chosen out-of-fold as `fit` does. The same seed has
the same first labels in each way, so differences to labelling at random are paired; ± is their standard error.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart._home import default_home
from headstart.adaptation.gate import directions
from headstart.adaptation.predictor import Part, Predictor
from headstart.adaptation.strategies.linear import Linear
from headstart.auditing.suggestion import pick_typical, pick_unsure, unsureness
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data import identify, read_dataset, split
from headstart.features.extract import Compute, Features, extract
from headstart.features.store import Store

SHARED = Path(__file__).parents[2] / "shared" / "data"
STARTERS = {"images": "efficientnet_lite0", "text": "all_minilm_l6_v2"}
SETS = ("images/signs", "images/clothing", "images/cifar10", "text/agnews")
A_CLASS = 5
MORE = (50, 100)
MOST = 2000
N_FOLDS = 5

Way = Callable[[np.ndarray, "np.ndarray | None", int, int], np.ndarray]
"""From directions, probabilities, how many and a seed to rows."""


def at_random(rows: np.ndarray, _: np.ndarray | None, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).permutation(len(rows))[:n]


def least_sure(_: np.ndarray, probabilities: np.ndarray | None, n: int, __: int) -> np.ndarray:
    assert probabilities is not None
    return np.argsort(-unsureness(probabilities), kind="stable")[:n]


def suggested(rows: np.ndarray, probabilities: np.ndarray | None, n: int, seed: int) -> np.ndarray:
    assert probabilities is not None
    return pick_unsure(rows, unsureness(probabilities), n, seed=seed).rows


def typical(rows: np.ndarray, _: np.ndarray | None, n: int, seed: int) -> np.ndarray:
    return pick_typical(rows, n, seed=seed).rows


WAYS: dict[str, Way] = {"least sure": least_sure, "suggest --run": suggested, "suggest": typical}


@dataclass(frozen=True)
class Set:
    """One data set."""

    name: str
    seen: Features
    targets: np.ndarray
    unseen: Features
    answers: np.ndarray
    n_classes: int


def read(folder: Path, name: str, store: Store) -> Set:
    sides = split(identify(read_dataset(folder / name), known=store), seed=0)
    local = resolve(STARTERS[name.partition("/")[0]], default_home())
    rng, answers = np.random.default_rng(0), sides.test.open()
    rows = np.sort(rng.permutation(len(sides.train))[:MOST])
    test_rows = np.sort(rng.permutation(len(answers))[:MOST])
    compute = Compute("cpu", pick_precision("auto", "cpu"))
    train = sides.train.take(rows.tolist())
    seen, unseen = (
        extract(items, [local], store=store, compute=compute).features[0]
        for items in (train.items, sides.test.items.take(test_rows.tolist()))
    )
    return Set(name, seen, train.targets, unseen, answers[test_rows], len(sides.train.classes))


def head_of(data: Set, rows: np.ndarray, seed: int) -> Predictor:
    """The head on some items, its penalty chosen as `fit` chooses it."""
    targets, rng = data.targets[rows], np.random.default_rng([seed, 2])
    folds = np.empty(len(rows), dtype=np.int64)
    at = 0
    for target in np.unique(targets):
        own = rng.permutation(np.flatnonzero(targets == target))
        folds[own] = (at + np.arange(len(own))) % N_FOLDS
        at += len(own)
    name = data.seen.backbone.name
    strategy, features = Linear((Part(name, "last"),)), {name: data.seen.take(rows)}
    chosen = strategy.cross_validate(features, targets, folds, n_classes=data.n_classes)
    return strategy.fit(features, targets, classes=tuple(map(str, range(data.n_classes))), chosen=chosen)


def accuracy(data: Set, head: Predictor) -> float:
    found = head.probabilities({data.unseen.backbone.name: data.unseen})
    return float((found.argmax(axis=1) == data.answers).mean())


def measure(data: Set, *, a_class: int, n: int, n_seeds: int) -> str:
    """A row of the table."""
    name = data.seen.backbone.name
    rows = directions({name: data.seen}, [name]).astype(np.float32)
    ways = {"random": at_random} | {key: way for key, way in WAYS.items() if a_class or way is typical}
    reached: dict[str, list[float]] = {key: [] for key in ("begin", *ways)}
    for seed in range(n_seeds):
        rng = np.random.default_rng([seed, 0])
        shuffled = [rng.permutation(np.flatnonzero(data.targets == target)) for target in range(data.n_classes)]
        labelled = np.concatenate([own[:a_class] for own in shuffled])
        pool = np.setdiff1d(np.arange(len(data.targets)), labelled)
        probabilities = None
        if a_class:
            first = head_of(data, labelled, seed)
            reached["begin"].append(accuracy(data, first))
            probabilities = first.probabilities({name: data.seen.take(pool)})
        for key, way in ways.items():
            chosen = pool[way(rows[pool], probabilities, n, seed)]
            reached[key].append(accuracy(data, head_of(data, np.concatenate([labelled, chosen]), seed)))
    base = np.array(reached["random"])
    cells = [data.name.partition("/")[2], f"{a_class * data.n_classes}", f"{n}"]
    cells.append(f"{100 * np.mean(reached['begin']):.1f}" if a_class else "–")
    cells.append(f"{100 * base.mean():.1f}")
    for key in WAYS:
        gain = 100 * (np.array(reached[key]) - base) if key in ways else None
        cells.append("–" if gain is None else f"{gain.mean():+.1f} ± {gain.std(ddof=1) / len(gain) ** 0.5:.1f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    names = ("set", "labels", "more", "before", "at random", *WAYS)
    print(f"{provenance()}; {options.seeds} seeds\n\n| {' | '.join(names)} |\n{'|---' * len(names)}|", flush=True)
    with Store.open() as store:
        for name in SETS:
            data = read(options.data, name, store)
            for a_class in (A_CLASS, 0):
                for n in MORE:
                    print(measure(data, a_class=a_class, n=n, n_seeds=options.seeds), flush=True)


if __name__ == "__main__":
    main()
