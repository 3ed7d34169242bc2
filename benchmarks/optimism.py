"""How much too good the best of several candidates looks, and what the ways to correct that are worth.

    python benchmarks/optimism.py [--runs 150] [--out benchmarks/results/optimism.csv]

Candidates are right or wrong on n items with a given correlation; the choice is the product's: the most accurate, and
of those that tie with it the cheapest. They are all right on 85 % of new items (`equal`), one of them on 92 % and the
others on 82 % (`ahead`), or each on its own share around 85 % (`spread`, standard deviation 2 points). They have four
prices, and where all are equal also a single one. What is reported of the chosen one is compared with its true share:
mean error and root mean square error in points, and how often the Wilson interval around it holds the truth.

- apparent: the accuracy on the items that it was chosen by;
- fifths: without each of five parts, once;
- product: `headstart.evaluation.selection_bias.optimism`, the same with ten divisions into fifths, never below 0;
- bbc: BBC-CV (arXiv:1708.07180), 50 bootstrap samples, scored on the items that each leaves out.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from _provenance import provenance
from headstart.evaluation.comparison import would_tie
from headstart.evaluation.intervals import share
from headstart.evaluation.selection_bias import optimism
from headstart.search.choice import decide
from headstart.search.preference import tie_margin

SCENARIOS = (("equal", 1), ("equal", 4), ("spread", 4), ("ahead", 4))  # and how many prices there are
METHODS = ("apparent", "fifths", "product", "bbc")
RESULTS = Path(__file__).parent / "results" / "optimism.csv"
_Z = 1.959963984540054
Rule = Callable[[np.ndarray], int]


def rule(right: np.ndarray, losses: np.ndarray, prices: np.ndarray) -> Rule:
    """The choice by how often each item counts, for all candidates at once."""
    hits = right.astype(float)

    def pick(weights: np.ndarray) -> int:
        counts = weights.astype(float)
        n = counts.sum()
        n_right, loss = hits @ counts, losses @ counts
        best = int(np.lexsort((loss, -n_right))[0])
        value = (n_right[best] - n_right) / n
        apart = (n_right[best] + n_right - 2 * (hits @ (counts * hits[best]))) / n
        # The lower end of Bonett and Price's interval, as in `headstart.evaluation.comparison`.
        centre = value * n / (n + 2)
        low = centre - _Z * np.sqrt(((apart * n + 2) / (n + 2) - centre**2) / (n + 2))
        tied = np.flatnonzero((np.minimum(value, low) <= 0) & (value <= tie_margin(int(n))))
        cheapest = tied[prices[tied] == prices[tied].min()]
        return int(cheapest[np.lexsort((loss[cheapest], -n_right[cheapest]))[0]])

    return pick


def slowly(right: np.ndarray, losses: np.ndarray, prices: np.ndarray) -> int:
    """The same choice by the code of the product, to be sure that it is the same."""

    def merit(each: int) -> tuple[float, bool, float, int]:
        return float(right[each].mean()), True, -float(losses[each].sum()), 0

    return decide(
        range(len(right)),
        merit=merit,
        ties=lambda best, each: would_tie(right[best], right[each], margin=tie_margin(right.shape[1])),
        cost=lambda each: (0.0, int(prices[each])),  # as parameters: a price in operations would have to be worth it
    )[2]


def bbc(right: np.ndarray, pick: Rule, rng: np.random.Generator) -> float:
    """The mean accuracy on what bootstrap samples leave out of what is chosen on them."""
    n = right.shape[1]
    scores = []
    for _ in range(50):
        counts = np.bincount(rng.integers(n, size=n), minlength=n)
        scores.append(right[pick(counts), counts == 0].mean())
    return float(np.mean(scores))


def fifths(right: np.ndarray, pick: Rule, rng: np.random.Generator) -> float:
    """The accuracy on each of five parts of what is chosen without it."""
    n = right.shape[1]
    parts = rng.permutation(n) % 5
    return float(sum(right[pick(parts != part), parts == part].sum() for part in range(5)) / n)


def simulate(
    scenario: str, n_prices: int, m: int, n: int, correlation: float, n_runs: int
) -> Iterator[dict[str, object]]:
    """One cell of the table."""
    rng = np.random.default_rng([m, n, round(100 * correlation), n_prices])
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    truths = []
    for number in range(n_runs):
        shares = {
            "equal": np.full(m, 0.85),
            "ahead": np.where(np.arange(m) == 0, 0.92, 0.82),
            "spread": np.clip(0.85 + 0.02 * rng.standard_normal(m), 0, 1),
        }[scenario]
        prices = rng.permutation(m) % n_prices
        # With the square root of the correlation as its chance, a candidate has the luck that is common to all.
        common = rng.random((m, n)) < math.sqrt(correlation)
        right = np.where(common, rng.random(n), rng.random((m, n))) < shares[:, None]
        losses = np.where(right, 0.2, 2.0) * np.exp(0.3 * rng.standard_normal((m, n)))
        pick = rule(right, losses, prices)
        everything = np.ones(n, dtype=bool)
        chosen = pick(everything)
        assert number or chosen == slowly(right, losses, prices)
        apparent = float(right[chosen].mean())
        units, seed = np.arange(n), int(rng.integers(2**31))
        lucky = optimism(right.astype(float), np.ones_like(right), pick, chosen=chosen, units=units, seed=seed)
        truths.append(shares[chosen])
        found["apparent"].append(apparent)
        found["fifths"].append(fifths(right, pick, rng))
        found["product"].append(apparent - lucky)
        found["bbc"].append(bbc(right, pick, rng))
    truth = np.array(truths)
    for method, values in found.items():
        errors = np.array(values) - truth
        estimates = [share(value, variance=0.0, n=n, n_most=float(n)) for value in values]
        held = [each.low <= true <= each.high for each, true in zip(estimates, truth, strict=True)]
        yield {
            "scenario": scenario,
            "prices": n_prices,
            "candidates": m,
            "items": n,
            "correlation": correlation,
            "method": method,
            "truth": f"{truth.mean():.4f}",
            "bias_points": f"{100 * errors.mean():.2f}",
            "rmse_points": f"{100 * np.sqrt((errors**2).mean()):.2f}",
            "coverage": f"{np.mean(held):.3f}",
        }


def main() -> None:
    """Write the table, and print its means over the cells of each scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    print(provenance())
    rows: list[dict[str, object]] = []
    cells = itertools.product(SCENARIOS, (5, 20), (50, 100, 200, 500), (0.5, 0.7, 0.9))
    for scenario, *cell in cells:
        rows += simulate(*scenario, *cell, options.runs)
        print(*scenario, *cell, file=sys.stderr, flush=True)
    with options.out.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    print("\n| scenario | prices | method | mean error, points | largest | root mean square | coverage | least |")
    print("|---|---|---|---|---|---|---|---|")
    for (scenario, n_prices), method in itertools.product(SCENARIOS, METHODS):
        own = [row for row in rows if (row["scenario"], row["prices"], row["method"]) == (scenario, n_prices, method)]
        bias, rmse, held = (
            np.array([float(str(row[key])) for row in own]) for key in ("bias_points", "rmse_points", "coverage")
        )
        worst = bias[np.abs(bias).argmax()]
        spread = np.sqrt((rmse**2).mean())
        print(
            f"| {scenario} | {n_prices} | {method} | {bias.mean():+.2f} | {worst:+.2f} | {spread:.2f} "
            f"| {held.mean():.3f} | {held.min():.3f} |"
        )


if __name__ == "__main__":
    main()
