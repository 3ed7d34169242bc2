"""What `headstart fit` makes of 20 seconds, a minute and five: accuracy on the set's own test, and what it did.

    python benchmarks/budgets.py [DATA_FOLDER] [--only SET]... [--budget TIME]... [--seeds N] [--out CSV]
                                 [--runs FOLDER]
    python benchmarks/budgets.py --table [--out CSV]

DATA_FOLDER holds `images/` and `text/` with one set each below them. Each measurement is the plain command in a process
of its own, from a home that holds the starters' weights and nothing else: no features, and no speeds of this machine.
Seconds count from the start of the process to its end. Lines that the file has are not measured again. `--runs` keeps
the run folders. `bookkeeping` is the share of the time in which nothing was read, passed through a network, trained,
fitted, judged or written: what is left of the search, ranking included, without heads and trainings.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _provenance import provenance
from _rows import append, read_rows
from headstart.backbones.catalogue import starters
from headstart.backbones.resolve import resolve

SHARED = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "budgets.csv"
BUDGETS = ("20s", "60s", "5m")


@dataclass(frozen=True)
class Row:
    """One line of the CSV.

    Attributes:
        set: Its name.
        budget: As on the command line.
        seed: 0 or greater.
        seconds: Of the process.
        n_train: Training items that were used.
        n_test: Test items.
        accuracy: On the test, with its interval `low` to `high`.
        low: See above.
        high: See above.
        chosen: The model.
        rungs: The steps after the first model: name, predicted and actual seconds.
        bookkeeping: See the top; 0 to 1.
        machine: Where and when.
    """

    set: str
    budget: str
    seed: int
    seconds: float
    n_train: int
    n_test: int
    accuracy: float
    low: float
    high: float
    chosen: str
    rungs: str
    bookkeeping: float
    machine: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What must differ for a measurement to be another one."""
        return self.set, self.budget, str(self.seed)


def measure(folder: Path, budget: str, seed: int, weights: Path, out: Path, where: str) -> Row:
    """Run the command and read its record.

    Raises:
        RuntimeError: If it fails; with what it said.
    """
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(weights, Path(home) / "backbones")
        command = [sys.executable, "-m", "headstart", "fit", str(folder), "--budget", budget, "--seed", str(seed)]
        command += ["--out", str(out), "--overwrite", "--device", "cpu", "--offline"]
        started = time.monotonic()
        done = subprocess.run(
            command, env={**os.environ, "HEADSTART_HOME": home}, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"{folder.name} with {budget} failed:\n{done.stderr[-2000:]}")
    out.with_suffix(".txt").write_text(done.stderr + done.stdout, encoding="utf-8")
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    accuracy = run["evaluation"]["accuracy"]
    steps = (f"{each['name']} {each['predicted_s']:.0f}/{each['seconds']:.0f} s" for each in run["rungs"])
    return Row(
        set=folder.name,
        budget=budget,
        seed=seed,
        seconds=round(seconds, 1),
        n_train=run["data"]["n_train"],
        n_test=run["data"]["n_test"],
        accuracy=round(accuracy["value"], 4),
        low=round(accuracy["low"], 4),
        high=round(accuracy["high"], 4),
        chosen=_chosen(run),
        rungs="; ".join(steps),
        bookkeeping=round(_bookkeeping_s(run, out) / seconds, 4),
        machine=where,
    )


def _chosen(run: dict[str, Any]) -> str:
    chosen = run["chosen"]
    return f"{chosen['backbone']} · {chosen['settings'].get('layers', '')} · {chosen['strategy']}"


def _bookkeeping_s(run: dict[str, Any], out: Path) -> float:
    """Seconds of search and ranking without those of heads, of further folds, and of what steps of the ladder took."""
    events = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    trained = {each["name"] for each in run["rungs"] if " · " in each["name"]}
    heads_s = sum(each["seconds"] for each in events if each["event"] == "candidate" and "against_linear" not in each)
    trainings_s = sum(each["seconds"] for each in run["rungs"] if each["name"] in trained)
    folds_s: dict[str, list[float]] = {}  # what the trainings of a candidate took, after each fold
    for each in events:
        if each["event"] == "candidate" and "against_linear" in each:
            folds_s.setdefault(f"{each['name']} · {each['strategy']}", []).append(each["seconds"])
    further_s = sum(seconds[-1] - seconds[0] for seconds in folds_s.values())
    return max(0.0, run["timings"]["search"] + run["timings"]["rank"] - heads_s - trainings_s - further_s)


def table(rows: list[Row]) -> Iterator[str]:
    """Markdown: one line a set, one column a budget."""
    budgets = list(dict.fromkeys(row.budget for row in rows))
    yield f"| set | {' | '.join(budgets)} |"
    yield "|---" * (1 + len(budgets)) + "|"
    for name in dict.fromkeys(row.set for row in rows):
        cells = []
        for budget in budgets:
            found = [row for row in rows if (row.set, row.budget) == (name, budget)]
            mean = sum(row.accuracy for row in found) / max(1, len(found))
            cells.append(f"{mean:.3f} in {sum(row.seconds for row in found) / len(found):.0f} s" if found else "")
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure what is missing, and show everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--only", action="append", default=[], metavar="SET")
    parser.add_argument("--budget", action="append", default=[], metavar="TIME", help=f"by default {BUDGETS}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, help="where run folders are kept; nowhere by default")
    parser.add_argument("--table", action="store_true", help="measure nothing, show what there is")
    options = parser.parse_args()
    folders = sorted([*(options.data / "images").glob("*"), *(options.data / "text").glob("*")])
    folders = [each for each in folders if each.is_dir() and (not options.only or each.name in options.only)]
    if not folders and not options.table:
        sys.exit(f"nothing measured: {options.data} has no such sets")
    known, where = {row.key for row in read_rows(Row, options.out)}, provenance()
    with tempfile.TemporaryDirectory() as scratch:
        for modality in ("image", "text"):
            for spec in starters(modality):
                resolve(spec.name, Path(scratch))
        runs = options.runs or Path(scratch) / "runs"
        wanted = [
            (folder, budget, seed)
            for seed in range(options.seeds)
            for folder in folders
            for budget in options.budget or BUDGETS
        ]
        for folder, budget, seed in [] if options.table else wanted:
            if (folder.name, budget, str(seed)) in known:
                continue
            row = measure(
                folder, budget, seed, Path(scratch) / "backbones", runs / f"{folder.name}-{budget}-{seed}", where
            )
            append(row, options.out)
            print(row, flush=True)
    print(*table(read_rows(Row, options.out)), sep="\n")


if __name__ == "__main__":
    main()
