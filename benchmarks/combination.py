"""Is a weighted average of candidates better than the best of them? Two ways to weigh, and four rules for taking it.

    python benchmarks/combination.py [DATA_FOLDER] [--home FOLDER] [--only SET]... [--labels N]... [--seeds N]
                                     [--strategy NAME]...

DATA_FOLDER holds `images/` and `text/` with one set each below them. Of each set, candidates are all starters × all
choices of layers × strategies, on all training items and on some of each class. `single` is what `fit` would choose
among them. `greedy` selects candidates with replacement, 50 times, by the out-of-fold log loss (Caruana et al. 2004);
`convex` is what `fit` offers. For each the first line shows log loss and accuracy out-of-fold, with weights that the
fold had no part in, and the second the same on the set's own test items; then how many members and networks there are.
At the end the means, and what each rule for taking the convex one over the single candidate would have come to.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart._randomness import generator
from headstart.adaptation.strategies import STRATEGIES
from headstart.backbones.catalogue import starters
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data.dataset import Dataset
from headstart.data.folds import folds as make_folds
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.reduce import spread_out, trainable
from headstart.data.split import split
from headstart.evaluation.calibration import softmax
from headstart.evaluation.metrics import SMALLEST_PROBABILITY, item_losses
from headstart.features.extract import Compute, Features, extract
from headstart.features.store import Store
from headstart.search.candidates import Candidate, joint_proposals, proposals, try_out
from headstart.search.choice import choose
from headstart.search.combine import combine, networks_of

SHARED = Path(__file__).parents[2] / "shared" / "data"
RULES = ("never", "accuracy by its interval", "accuracy or log loss by its interval", "always")
LABELS: tuple[int | None, ...] = (None, 20)
GREEDY_STEPS = 50


@dataclass(frozen=True)
class Seen:
    """A set with the features of its items."""

    train: Dataset
    features: dict[str, Features]
    unseen: dict[str, Features]
    truth: np.ndarray


@dataclass
class Sums:
    """What the rows add up to."""

    ways: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    rules: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)


def look(folder: Path, home: Path) -> Seen:
    """Read a set, with the features of all starters."""
    with Store.open(home) as store:
        data = spread_out(identify(read_dataset(folder), known=store), seed=0)
        locals_ = [resolve(spec.name, home) for spec in starters(data.modality)]
        compute = Compute("cpu", pick_precision("auto", "cpu"))
        found = extract(data.items, locals_, store=store, compute=compute).features
    sides = split(data, fraction=0.2, seed=0)
    train = trainable(sides.train)
    rows, test_rows = (data.items.rows_of(side.items) for side in (train, sides.test))
    seen, unseen = ({each.backbone.name: each.take(some) for each in found} for some in (rows, test_rows))
    return Seen(train, seen, unseen, sides.test.open())


def drawn(targets: np.ndarray, labels: int | None, seed: int) -> np.ndarray:
    """So many items of each class, in the order of the set; all where None."""
    if labels is None:
        return np.arange(len(targets))
    rng = generator(seed, "labels", labels)
    classes = [rng.permutation(np.flatnonzero(targets == target))[:labels] for target in np.unique(targets)]
    return np.sort(np.concatenate(classes))


def greedy_weights(likelihoods: np.ndarray) -> np.ndarray:
    """Selection with replacement by the log loss; of all sizes of the bag the best."""
    bag, counts, best = np.zeros(likelihoods.shape[1]), np.zeros(len(likelihoods)), (np.inf, np.empty(0))
    for size in range(1, GREEDY_STEPS + 1):
        losses = -np.log((bag + likelihoods) / size).mean(axis=1)
        chosen = int(losses.argmin())
        bag, counts[chosen] = bag + likelihoods[chosen], counts[chosen] + 1
        if losses[chosen] < best[0]:
            best = losses[chosen], counts / size
    return best[1]


def numbers(probabilities: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Log loss and accuracy."""
    return float(item_losses(targets, probabilities).mean()), float((probabilities.argmax(axis=1) == targets).mean())


def measure(seen: Seen, labels: int | None, seed: int, strategies: list[str], sums: Sums) -> Iterator[str]:
    """The cells of one row."""
    rows = drawn(seen.train.targets, labels, seed)
    train, features = seen.train.take(rows), {name: each.take(rows) for name, each in seen.features.items()}
    specs, n_classes = [each.backbone for each in features.values()], len(train.classes)
    folds = make_folds(train, n_folds=5, seed=seed)
    wanted = [*(each for spec in specs for each in proposals(spec)), *joint_proposals(specs)]
    candidates: list[Candidate] = [
        try_out(each, features, train.targets, folds, make=STRATEGIES[name], n_classes=n_classes, seed=seed)
        for name in strategies
        for each in wanted
    ]
    heads = [
        each.strategy.fit(features, train.targets, classes=train.classes, chosen=each.out_of_fold, seed=seed)
        for each in candidates
    ]
    unseen_by = np.stack([head.probabilities(seen.unseen) for head in heads])
    yield from compare(candidates, unseen_by, train.targets, folds, seen.truth, seed, sums)


def compare(
    candidates: list[Candidate],
    unseen_by: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    truth: np.ndarray,
    seed: int,
    sums: Sums,
) -> Iterator[str]:
    """The cells of one row, from candidates and what each says of the test items."""
    seen_by = np.stack([softmax(each.out_of_fold.logits, each.out_of_fold.temperature) for each in candidates])
    single = choose(candidates).winner
    place = next(number for number, each in enumerate(candidates) if each is single)
    found = combine(candidates, candidates[place], targets, folds, seed=seed)
    results = {
        "single": (
            *(*numbers(seen_by[place], targets), *numbers(unseen_by[place], truth)),
            *(1, len(networks_of([candidates[place]]))),
        )
    }

    of_truth = np.maximum(seen_by[:, np.arange(len(targets)), targets], SMALLEST_PROBABILITY)
    averaged = np.empty_like(seen_by[0])
    for fold in np.unique(folds):
        here = folds == fold
        averaged[here] = np.tensordot(greedy_weights(of_truth[:, ~here]), seen_by[:, here], axes=1)
    weights = greedy_weights(of_truth)
    members = [each for each, weight in zip(candidates, weights, strict=True) if weight > 0]
    results["greedy"] = (
        *numbers(averaged, targets),
        *numbers(np.tensordot(weights, unseen_by, axes=1), truth),
        *(len(members), len(networks_of(members))),
    )
    if found is None:
        results["convex"] = results["single"]
    else:
        by_candidate = dict(found.members)
        weights = np.array([by_candidate.get(each, 0.0) for each in candidates])
        results["convex"] = (
            *numbers(np.exp(found.out_of_fold.logits), targets),
            *numbers(np.tensordot(weights, unseen_by, axes=1), truth),
            *(len(found.members), len(found.networks)),
        )
    by_accuracy = found is not None and found.difference.low > 0
    for rule, takes in zip(RULES, (False, by_accuracy, found is not None and found.is_better, True), strict=True):
        sums.rules.setdefault(rule, []).append((*results["convex" if takes else "single"][2:], float(takes)))
    for way, values in results.items():
        sums.ways.setdefault(way, []).append(values)
        yield _cell(values)
    if found is None:
        yield "one member is left"
    else:
        gain, loss = found.difference, found.loss_difference
        yield (
            f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}); "
            f"{loss.value:+.3f} ({loss.low:+.3f} to {loss.high:+.3f}); {'taken' if found.is_better else 'no'}"
        )


def _cell(values: tuple[float, ...]) -> str:
    loss, right, test_loss, test_right, n_members, n_networks = values
    return (
        f"{loss:.3f} {100 * right:.1f}<br>{test_loss:.3f} {100 * test_right:.1f}<br>{n_members:.1f}, {n_networks:.1f}"
    )


def labels_of(text: str) -> int | None:
    """`all`, or a number a class."""
    return None if text == "all" else int(text)


def main() -> None:
    """Print one row a set and draw as Markdown, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--only", action="append", default=[], help="the name of a set; may be repeated")
    parser.add_argument("--strategy", action="append", default=[], choices=list(STRATEGIES), metavar="NAME")
    parser.add_argument("--labels", action="append", type=labels_of, help="labels a class, or `all`; may be repeated")
    parser.add_argument("--seeds", type=int, default=1, help="draws of so many labels")
    parser.add_argument("--home", type=Path, help="where features are kept; a temporary folder by default")
    options = parser.parse_args()
    folders = sorted([*(options.data / "images").glob("*"), *(options.data / "text").glob("*")])
    wanted = [folder for folder in folders if folder.is_dir() and (not options.only or folder.name in options.only)]
    if not wanted:
        sys.exit(f"nothing measured: {options.data} has no such sets")
    wanted_labels = options.labels or list(LABELS)
    draws = [(labels, seed) for labels in wanted_labels for seed in range(1 if labels is None else options.seeds)]
    print(provenance())
    print("\n| set, labels | single | greedy | convex | accuracy, log loss against the single one |")
    print("|---|---|---|---|---|")
    sums = Sums()
    with tempfile.TemporaryDirectory() as scratch:
        for folder in wanted:
            seen = look(folder, options.home or Path(scratch))
            for labels, seed in draws:
                cells = measure(seen, labels, seed, options.strategy or ["linear"], sums)
                which = "all" if labels is None else f"{labels} a class, draw {seed}"
                print(f"| {folder.name}, {which} | {' | '.join(cells)} |", flush=True)
    print(f"| mean | {' | '.join(_cell(tuple(np.mean(rows, axis=0))) for rows in sums.ways.values())} | |")
    print("\n| rule | test log loss | test accuracy | networks | taken |\n|---|---|---|---|---|")
    for rule, rows in sums.rules.items():
        loss, right, _, n_networks, taken = np.mean(rows, axis=0)
        print(f"| {rule} | {loss:.4f} | {100 * right:.2f} | {n_networks:.2f} | {taken:.2f} |")


if __name__ == "__main__":
    main()
