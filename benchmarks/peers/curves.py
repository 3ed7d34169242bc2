"""Draws what was measured: test accuracy against the seconds of the whole process, one small plot a set.

    python benchmarks/peers/curves.py [--rows CSV] [--budgets CSV] [--out PNG]

Needs matplotlib, which headstart does not: pip install matplotlib. Of headstart the plain command with several budgets
is shown, with whatever backbones are on the disk (`benchmarks/budgets.py`); of another library the runs that differ in
nothing but their length, from the weights of one backbone (`run.py`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from run import HERE, RESULTS, Row

sys.path.append(str(HERE.parent))

import budgets
from _rows import read_rows

mpl.use("agg")
from matplotlib import pyplot as plt

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "curves.png"
TICKS, SHOWN_S = (5, 20, 60, 300), (3, 700)


@dataclass(frozen=True)
class Line:
    """What is joined by one line.

    Attributes:
        label: In the legend.
        peers: In any order; what was measured of them.
        colour: Of line and points.
        marker: Of points.
    """

    label: str
    peers: tuple[str, ...]
    colour: str
    marker: str


OURS = Line("headstart fit, with more and more time", (), "#0b5fa5", "o")
LINES = (
    Line("Trainer, defaults", ("hf_trainer_1", "hf_trainer_3", "hf_trainer_5", "hf_trainer_5m"), "#c2571a", "s"),
    Line(
        "Trainer, a rate that suits",
        ("hf_trainer_1_suited", "hf_trainer_3_suited", "hf_trainer_5m_suited"),
        "#e3a06f",
        "s",
    ),
    Line("fastai fine_tune", ("fastai_1", "fastai_3"), "#3d8c40", "^"),
    Line("SetFit", ("setfit_20", "setfit_60", "setfit_240"), "#7b4ea3", "D"),
    Line("scikit-learn without pretraining", ("plain_sklearn",), "#808080", "x"),
)


def draw(rows: Sequence[Row], ours: Sequence[budgets.Row], out: Path) -> None:
    """Write the picture.

    Args:
        rows: What was measured of others.
        ours: What was measured of headstart; there is a plot for each set that others were measured on too.
        out: A PNG.
    """
    others = {row.set for row in rows}
    sets = [name for name in dict.fromkeys(row.set for row in ours) if name in others]
    n_columns = min(4, len(sets))
    n_rows = -(-len(sets) // n_columns)
    figure, plots = plt.subplots(n_rows, n_columns, figsize=(3.1 * n_columns, 2.7 * n_rows + 0.6), squeeze=False)
    handles = {}
    for name, plot in zip(sets, plots.flat, strict=False):
        of_set = [row for row in rows if row.set == name]
        points = {line: [(row.seconds, row.accuracy) for row in of_set if row.peer in line.peers] for line in LINES}
        points[OURS] = [(row.seconds, row.accuracy) for row in ours if row.set == name]
        for line, found in points.items():
            if found:
                seconds, accuracy = zip(*sorted(found), strict=True)
                (handles[line.label],) = plot.plot(
                    *(seconds, accuracy), color=line.colour, marker=line.marker, markersize=4, linewidth=1.2
                )
        plot.set_title(name, fontsize=9)
        plot.set_xscale("log")
        plot.set_xlim(*SHOWN_S)
        plot.set_xticks(TICKS, [f"{tick} s" for tick in TICKS], fontsize=8)
        plot.set_xticks([], minor=True)
        plot.tick_params(axis="y", labelsize=8)
        plot.grid(visible=True, color="#e4e4e4", linewidth=0.6)
        plot.spines[["top", "right"]].set_visible(False)
    for plot in plots.flat[len(sets) :]:
        plot.axis("off")
    figure.supylabel("test accuracy", fontsize=9)
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.05 + 0.06 / n_rows, 1, 1))
    figure.savefig(out, dpi=160)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=RESULTS)
    parser.add_argument("--budgets", type=Path, default=budgets.RESULTS)
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args()
    draw(
        [row for row in read_rows(Row, options.rows) if not row.per_class],
        read_rows(budgets.Row, options.budgets),
        options.out,
    )


if __name__ == "__main__":
    main()
