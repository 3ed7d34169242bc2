"""What it costs to give a tie to the cheaper: test accuracy and operations of what is chosen, by the margin of a tie.

    python benchmarks/ties.py [DATA_FOLDER] [--home FOLDER] [--only SET]... [--labels N]... [--draws N] [--out CSV]
    python benchmarks/ties.py --table [--out CSV]

DATA_FOLDER holds `images/` with one set each below it. Of the training items of a set some are drawn, as many of each
class as there are; the candidates are those of `fit` on the three starters, alone and side by side, judged on five
folds. From the same out-of-fold results each rule chooses, and its model is tested on all test items: a tie is within
so many points of the most accurate one, and its interval contains zero; `fit` is half a point or one item, which holds.
`worthwhile` knows no ties: it takes the one whose operations pay, see `headstart.search.preference`. The table has for
each rule the mean over the sets, and what it gives away against the most accurate one, with the standard error of that
mean over the sets. Lines that the file has are not measured again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from _provenance import provenance
from _rows import append, read_rows
from headstart._randomness import generator
from headstart.adaptation.strategies import Linear
from headstart.backbones.catalogue import starters
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.data.dataset import Dataset
from headstart.data.folds import folds as make_folds
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.data.reduce import spread_out
from headstart.data.split import split
from headstart.evaluation.comparison import compare_correct, is_tie
from headstart.features.extract import Compute, Features, extract
from headstart.features.store import Store
from headstart.search.candidates import Candidate, joint_proposals, proposals, try_out
from headstart.search.choice import decide
from headstart.search.preference import tie_margin

SHARED = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "ties.csv"
LABELS = (100, 300, 800)
MARGINS = (0.0, 0.005, 0.01, 0.02)
"""With the first there are no ties, and what is most worthwhile is taken."""


@dataclass(frozen=True)
class Row:
    """One choice.

    Attributes:
        set: Its name.
        wanted: How many items were to be drawn.
        n_train: How many were.
        draw: 0 or greater.
        rule: The margin of a tie in points, `fit`, `accurate` or `worthwhile`.
        accuracy: Of what was chosen, on the test.
        gflops: Its operations for an item, in billions of multiply–adds.
        chosen: Its name.
        machine: Where and when.
    """

    set: str
    wanted: int
    n_train: int
    draw: int
    rule: str
    accuracy: float
    gflops: float
    chosen: str
    machine: str


@dataclass(frozen=True)
class Set:
    """A set with the features of all starters.

    Attributes:
        name: Of its folder.
        train: The training items.
        seen: Their features.
        unseen: Those of the test items.
        truth: The classes of these.
    """

    name: str
    train: Dataset
    seen: dict[str, Features]
    unseen: dict[str, Features]
    truth: np.ndarray


def opened(folder: Path, home: Path) -> Set:
    with Store.open(home) as store:
        data = spread_out(identify(read_dataset(folder), known=store), seed=0)
        compute = Compute("cpu", pick_precision("auto", "cpu"))
        backbones = [resolve(spec.name, home) for spec in starters(data.modality)]
        found = extract(data.items, backbones, store=store, compute=compute).features
    sides = split(data, fraction=0.2, seed=0)
    rows, test_rows = (data.items.rows_of(side.items) for side in (sides.train, sides.test))
    return Set(
        folder.name,
        sides.train,
        {each.backbone.name: each.take(rows) for each in found},
        {each.backbone.name: each.take(test_rows) for each in found},
        sides.test.open(),
    )


def drawn(data: Dataset, n_items: int, draw: int) -> np.ndarray:
    """Positions of as many items of each class."""
    order, n_classes = generator(draw, "ties").permutation(len(data)), len(data.classes)
    a_class = max(2, n_items // n_classes)
    return np.sort(np.concatenate([order[data.targets[order] == each][:a_class] for each in range(n_classes)]))


def chosen(candidates: Sequence[Candidate], margin: float) -> Candidate:
    def ties(best: Candidate, other: Candidate) -> bool:
        return margin > 0 and is_tie(compare_correct(best.rounds, other.rounds), margin=margin)

    return decide(
        candidates,
        merit=lambda each: (round(each.accuracy.value, 9), True, -each.log_loss.value, -each.proposal.width),
        ties=ties,
        cost=lambda each: each.proposal.cost,
    )[2]


def measure(of: Set, n_items: int, draw: int, where: str) -> Iterator[Row]:
    rows = drawn(of.train, n_items, draw)
    some = of.train.take(rows)
    seen = {name: features.take(rows) for name, features in of.seen.items()}
    specs = [features.backbone for features in of.seen.values()]
    wanted = [each for spec in specs for each in proposals(spec)]
    wanted += [each for n in range(2, len(specs) + 1) for each in joint_proposals(specs[:n])]
    n_classes = len(some.classes)
    folds = make_folds(some, n_folds=5, seed=0)
    tried = [try_out(each, seen, some.targets, folds, make=Linear, n_classes=n_classes, seed=0) for each in wanted]

    @cache
    def tested(candidate: Candidate) -> float:
        predictor = candidate.strategy.fit(seen, some.targets, classes=some.classes, chosen=candidate.out_of_fold)
        return float((predictor.probabilities(of.unseen).argmax(axis=1) == of.truth).mean())

    accurate = max(tried, key=lambda each: each.accuracy.value)
    rules: dict[str, Callable[[], Candidate]] = {
        "accurate": lambda: accurate,
        "fit": lambda: chosen(tried, tie_margin(len(rows))),
    }
    for margin in MARGINS:
        rules[f"{100 * margin:g} points" if margin else "worthwhile"] = lambda margin=margin: chosen(tried, margin)
    for rule, choose in rules.items():
        winner = choose()
        cost = winner.proposal.cost[0]
        yield Row(of.name, n_items, len(rows), draw, rule, round(tested(winner), 4), cost, winner.name, where)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: one line a rule, mean accuracy over the sets by the number of items, what is given away, operations."""
    sizes, sets = sorted({row.wanted for row in rows}), sorted({row.set for row in rows})
    yield f"| rule | {' | '.join(f'{n:,} items' for n in sizes)} | mean | given away, points | operations, 10⁹ |"
    yield "|---" * (len(sizes) + 4) + "|"

    def mean(rule: str, *, of: str = "", wanted: int = 0) -> float:
        some = [row for row in rows if row.rule == rule and of in ("", row.set) and wanted in (0, row.wanted)]
        return float(np.mean([row.accuracy for row in some]))

    for rule in dict.fromkeys(row.rule for row in rows):
        away = [100 * (mean("accurate", of=each) - mean(rule, of=each)) for each in sets]
        error = np.std(away, ddof=1) / len(sets) ** 0.5
        cells = [f"{mean(rule, wanted=n):.4f}" for n in sizes]
        gflops = np.mean([row.gflops for row in rows if row.rule == rule])
        yield f"| {rule} | {' | '.join(cells)} | {mean(rule):.4f} | {np.mean(away):.2f} ± {error:.2f} | {gflops:.2f} |"


def main() -> None:
    """Measure what is missing, and show everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--home", type=Path, help="where features are kept; a temporary folder by default")
    parser.add_argument("--only", action="append", default=[], metavar="SET")
    parser.add_argument("--labels", action="append", type=int, default=[], metavar="N", help=f"by default {LABELS}")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="measure nothing, show what there is")
    options = parser.parse_args()
    folders = [each for each in sorted((options.data / "images").glob("*")) if each.is_dir()]
    folders = [each for each in folders if not options.only or each.name in options.only]
    if not folders and not options.table:
        sys.exit(f"nothing measured: {options.data} has no such sets")
    known, where = {(row.set, row.draw, row.wanted) for row in read_rows(Row, options.out)}, provenance()
    wanted = [(draw, n_items) for draw in range(options.draws) for n_items in options.labels or LABELS]
    with tempfile.TemporaryDirectory() as scratch:
        for folder in [] if options.table else folders:
            missing = [each for each in wanted if (folder.name, *each) not in known]
            of = opened(folder, options.home or Path(scratch)) if missing else None
            for draw, n_items in missing:
                assert of is not None
                for row in list(measure(of, n_items, draw, where)):  # all rules of a draw, or none
                    append(row, options.out)
                    print(row, flush=True)
    print(*table(read_rows(Row, options.out)), sep="\n")


if __name__ == "__main__":
    main()
