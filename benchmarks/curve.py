"""How often the learning curve's intervals hold the truth: the figures of `headstart.evaluation.learning_curve`.

    python benchmarks/curve.py [clouds | real] [DATA_FOLDER] [--runs N]

`clouds`: points around one centre a class. The truth is the mean accuracy on 4,000 new points of 40 heads trained on as
many items as the curve speaks of.

`real`: a curve from a random part of the training items, an eighth, a quarter or a half, and the test accuracy of the
same head on twice, four and eight times as many. The test has noise of its own, about as much as the interval of a
small test: `held` counts a value as held when the interval of the expected accuracy and the Wilson interval of the
test touch, `inside` when the tested value itself lies inside.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart._home import default_home
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies.linear import Linear
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source
from headstart.data import identify, read_dataset, split
from headstart.evaluation.intervals import wilson
from headstart.evaluation.records import Estimate, LearningCurve
from headstart.features.extract import Compute, Features, extract
from headstart.features.store import Store
from headstart.search.candidates import Proposal, try_out
from headstart.search.curve import draw_curve

SHARED = Path(__file__).parents[2] / "shared" / "data"
STARTERS = {"images": "efficientnet_lite0", "text": "all_minilm_l6_v2"}
TIMES = (1, 2, 4, 8)
N_FOLDS = 5
N_NEW, N_HEADS = 4000, 40
WIDTH = 24
CLOUDS = ((4, 100, 1.5), (4, 200, 2.0), (4, 400, 2.0), (10, 400, 3.0))  # classes, items, distance
SHARES = (8, 4, 2)
MOST_TESTED = 2000


@dataclass
class Tally:
    """What came of one number of labels."""

    held: int = 0
    inside: int = 0
    silent: int = 0
    below: int = 0
    off: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def add(self, said: Estimate | None, truth: float, noise: Estimate | None = None) -> None:
        """Count one."""
        if said is None:
            self.silent += 1
            return
        self.inside += said.low <= truth <= said.high
        low, high = (truth, truth) if noise is None else (noise.low, noise.high)
        self.held += said.low <= high and low <= said.high
        self.below += truth < said.low
        self.off.append(said.value - truth)
        self.widths.append(said.high - said.low)

    def line(self, name: str, times: int) -> str:
        """A row of the table."""
        n = len(self.off)
        if not n:
            return f"| {name} | {times}× | 0 | {self.silent} | | | | | |"
        off, width = (f"{100 * each:.1f}" for each in (np.mean(self.off), np.mean(self.widths)))
        cells = (name, f"{times}×", n, self.silent, self.held, self.inside, self.below, off, width)
        return f"| {' | '.join(map(str, cells))} |"


def head_line() -> str:
    names = ("set", "labels", "said", "silent", "held", "inside", "truth below", "value − truth", "width")
    return f"| {' | '.join(names)} |\n{'|---' * len(names)}|"


def spec_of(width: int) -> BackboneSpec:
    seen = ImageInput(32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return BackboneSpec(
        name="a",
        modality="image",
        loader="timm",
        architecture="a",
        source=Source("folder", "a", sha256="a"),
        layers=(Layer("last", width),),
        n_params=1,
        gflops=1.0,
        image=seen,
    )


def dealt(targets: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Stratified folds."""
    found = np.empty(len(targets), dtype=np.int64)
    for target in np.unique(targets):
        rows = rng.permutation(np.flatnonzero(targets == target))
        found[rows] = np.arange(len(rows)) % n_folds
    return found


def curve_of(values: np.ndarray, targets: np.ndarray, n_classes: int, seed: int) -> LearningCurve:
    """The curve that `fit` would draw."""
    spec = spec_of(values.shape[1])
    seen = {"a": Features(spec, values.astype(np.float32), np.ones(len(values), dtype=bool))}
    folds = dealt(targets, N_FOLDS, np.random.default_rng(seed))
    proposal = Proposal("last", (spec,))
    tried = try_out(proposal, seen, targets, folds, make=Linear, n_classes=n_classes, seed=seed)
    return draw_curve(tried, seen, targets, folds, n_classes=n_classes, seed=seed)


def tested(
    values: np.ndarray, targets: np.ndarray, new: np.ndarray, answers: np.ndarray, *, n_classes: int, seed: int
) -> float:
    """The accuracy on new items of a head whose penalty is chosen as `fit` chooses it."""
    spec = spec_of(values.shape[1])
    seen, unseen = (
        {"a": Features(spec, each.astype(np.float32), np.ones(len(each), dtype=bool))} for each in (values, new)
    )
    strategy = Linear((Part("a", "last"),))
    folds = dealt(targets, N_FOLDS, np.random.default_rng(seed))
    chosen = strategy.cross_validate(seen, targets, folds, n_classes=n_classes)
    predictor = strategy.fit(seen, targets, classes=tuple(map(str, range(n_classes))), chosen=chosen)
    return float((predictor.probabilities(unseen).argmax(axis=1) == answers).mean())


def said(curve: LearningCurve, times: int) -> Estimate | None:
    return next((each.accuracy for each in curve.expected if each.times == times), None)


def clouds(n_runs: int) -> Iterator[str]:
    for n_classes, n_items, apart in CLOUDS:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(n_classes, WIDTH))
        centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)

        def made(n: int, rng: np.random.Generator, centres: np.ndarray = centres) -> tuple[np.ndarray, np.ndarray]:
            targets = np.arange(n) % len(centres)
            return centres[targets] + rng.normal(size=(n, WIDTH)), targets

        new, answers = made(N_NEW, rng)
        truth = {}
        for times in TIMES:
            accuracies = [
                tested(*made(times * n_items, rng), new, answers, n_classes=n_classes, seed=seed)
                for seed in range(N_HEADS // times)
            ]
            truth[times] = float(np.mean(accuracies))
        tallies = {times: Tally() for times in TIMES}
        gains = Tally()
        for seed in range(n_runs):
            values, targets = made(n_items, np.random.default_rng(1000 + seed))
            curve = curve_of(values, targets, n_classes, seed)
            gains.add(curve.gain_of_doubling, truth[2] - truth[1])
            for times, tally in tallies.items():
                tally.add(said(curve, times), truth[times])
        shown = ", ".join(f"{100 * each:.1f}" for each in truth.values())
        yield gains.line(f"{n_classes} classes, {n_items} items: gain", 2)
        for times, tally in tallies.items():
            yield tally.line(f"{n_classes} classes, {n_items} items ({shown} %)", times)


def real(folder: Path) -> Iterator[str]:
    overall: dict[int, Tally] = defaultdict(Tally)
    with Store.open() as store:
        for kind, name in STARTERS.items():
            local = resolve(name, default_home())
            compute = Compute("cpu", pick_precision("auto", "cpu"))
            for place in sorted(path for path in (folder / kind).iterdir() if path.is_dir()):
                sides = split(identify(read_dataset(place), known=store), seed=0)
                answers = sides.test.open()
                rows = np.random.default_rng(0).permutation(len(answers))[:MOST_TESTED]
                train, test = (
                    extract(items, [local], store=store, compute=compute).features[0].layer("last")
                    for items in (sides.train.items, sides.test.items.take(rows.tolist()))
                )
                yield from _one_set(place.name, train, sides.train.targets, test, answers[rows], overall)
    for times, tally in sorted(overall.items()):
        yield tally.line("all", times)


def _one_set(
    name: str,
    train: np.ndarray,
    targets: np.ndarray,
    test: np.ndarray,
    answers: np.ndarray,
    overall: dict[int, Tally],
) -> Iterator[str]:
    n_classes = int(targets.max()) + 1
    eighths = dealt(targets, max(SHARES), np.random.default_rng(0))
    accuracies: dict[int, float] = {}  # of a random part of so many eighths, from the first
    tallies: dict[int, Tally] = defaultdict(Tally)
    for n_parts in SHARES:
        n_eighths = max(SHARES) // n_parts
        for start in range(0, max(SHARES), n_eighths):
            inside = (eighths >= start) & (eighths < start + n_eighths)
            curve = curve_of(train[inside], targets[inside], n_classes, seed=start)
            for times in (each for each in TIMES if 1 < each <= n_parts):
                # More of the same: this part, and those that follow it.
                chosen = np.isin(eighths, (start + np.arange(n_eighths * times)) % max(SHARES))
                code = int("".join(map(str, sorted(np.unique(eighths[chosen]) + 1))))
                if code not in accuracies:
                    accuracies[code] = tested(
                        train[chosen], targets[chosen], test, answers, n_classes=n_classes, seed=0
                    )
                truth = accuracies[code]
                for tally in (tallies[times], overall[times]):
                    tally.add(said(curve, times), truth, wilson(round(truth * len(answers)), len(answers)))
    for times, tally in sorted(tallies.items()):
        yield tally.line(name, times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("clouds", "real"), help="left out, both")
    parser.add_argument("data", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    print(f"{provenance()}\n\n{head_line()}", flush=True)
    for what, rows in (("clouds", clouds(options.runs)), ("real", real(options.data))):
        for row in rows if options.what in (None, what) else ():
            print(row, flush=True)


if __name__ == "__main__":
    main()
