"""What a leak does to the reported accuracy, and what `--groups auto` makes of it.

    python benchmarks/leak_repair.py [DATA_FOLDER] [--only SET]... [--budget 60s] [--out CSV]

DATA_FOLDER holds `images/` with one set each below it; the sets here have a test side of their own. Leaks are planted
in copies of it in a temporary folder:

- `copies`: for three test pictures in ten, a near-copy joins the training side (cropped by a tenth, mirrored or not,
  JPEG quality 40). The honest figure is that of the set as it is.
- `series`: training pictures alone, each as four frames `scene012_frame_3.jpg` (windows of 60 to 75 % of a side at
  other places, brighter or darker), without sides. The honest figure is that of a fit that is told the scenes.

Each is fitted three times: without the leak or with its groups told, with the leak, and with the leak and
`--groups auto`.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

import headstart as hs
from _provenance import provenance
from _rows import append

SHARED = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "leak_repair.csv"
SETS = ("clothing", "pacs_sketch")
SHARE, FRAMES = 0.3, 4


@dataclass(frozen=True)
class Row:
    """One fit.

    Attributes:
        set: Its name.
        leak: `copies` or `series`.
        how: `honest`, `leaking` or `groups auto`.
        accuracy: On the sealed test.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n_test: Test items.
        n_train: Training items.
        provenance: Machine, versions, date and commit.
    """

    set: str
    leak: str
    how: str
    accuracy: float
    low: float
    high: float
    n_test: int
    n_train: int
    provenance: str


def plant_copies(source: Path, folder: Path, random: np.random.Generator) -> None:
    """The set with near-copies of some test pictures in training."""
    shutil.copytree(source, folder)
    for path in _some(sorted((source / "test").glob("*/*")), SHARE, random):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        copy = _window(picture, 0.9, random)
        copy = ImageOps.mirror(copy) if random.random() < 0.5 else copy
        copy.save(folder / "train" / path.parent.name / f"also_{path.stem}.jpg", quality=40)


def plant_series(source: Path, folder: Path, random: np.random.Generator) -> None:
    """Training pictures as scenes of four frames, and a table that tells the scenes."""
    with_scenes = []
    for number, path in enumerate(sorted((source / "train").glob("*/*"))):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        place = folder / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        for frame in range(FRAMES):
            window = _window(picture, random.uniform(0.6, 0.75), random)
            shown = ImageEnhance.Brightness(window).enhance(random.uniform(0.75, 1.25))
            file = place / f"scene{number:03d}_frame_{frame}.jpg"
            shown.save(file, quality=90)
            with_scenes.append((file.relative_to(folder).as_posix(), path.parent.name, f"scene{number}"))
    with (folder.parent / f"{folder.name}.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "label", "scene"])
        table.writerows((f"{folder.name}/{path}", label, scene) for path, label, scene in with_scenes)


def measure(source: Path, budget: str) -> Iterator[tuple[str, str, hs.Run]]:
    """The fits of one set: the leak, how it was fitted, and the run."""
    with tempfile.TemporaryDirectory() as below:
        folder, random = Path(below), np.random.default_rng(0)
        copies, series = folder / "copies", folder / "series"
        plant_copies(source, copies, random)
        plant_series(source, series, random)
        fits: list[tuple[str, str, Path, str | None]] = [
            ("copies", "honest", source, None),
            ("copies", "leaking", copies, None),
            ("copies", "groups auto", copies, "auto"),
            ("series", "honest", series.with_suffix(".csv"), "scene"),
            ("series", "leaking", series, None),
            ("series", "groups auto", series, "auto"),
        ]
        for number, (leak, how, data, groups) in enumerate(fits):
            yield leak, how, hs.fit(str(data), groups=groups, budget=budget, out=str(folder / f"run{number}"))


def main() -> None:
    """Measure, print, and write the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--only", action="append", choices=SETS)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    where = provenance()
    for name in asked.only or SETS:
        for leak, how, run in measure(asked.data / "images" / name, asked.budget):
            found = run.evaluation.accuracy
            row = Row(name, leak, how, found.value, found.low, found.high, found.n, run.data.n_train, where)
            append(row, asked.out)
            print(f"{name} {leak:7} {how:12} {found.value:.3f} ({found.low:.3f} to {found.high:.3f}, n = {found.n})")


def _some(paths: list[Path], share: float, random: np.random.Generator) -> list[Path]:
    return [paths[index] for index in np.sort(random.permutation(len(paths))[: round(share * len(paths))])]


def _window(picture: Image.Image, side: float, random: np.random.Generator) -> Image.Image:
    left, top = random.uniform(0, 1 - side, 2)
    box = np.array([left, top, left + side, top + side]) * np.array(2 * picture.size)
    return picture.crop(tuple(int(edge) for edge in box))


if __name__ == "__main__":
    main()
