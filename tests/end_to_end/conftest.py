"""Whole commands in this process: real files, the real command line, and a network that costs nothing.

The stand-in network keeps everything else real: the catalogued spec, the decoders, the store, the bundle.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.backbones.loaders.pixels import PixelBackbone
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec
from headstart.cli.main import run

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}


@dataclass(frozen=True)
class Result:
    """What a call of the command line left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments], started=time.monotonic())
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


class Network:
    """Features by a fixed random projection of the mean colour of 49 cells; texts by the letters that they have.

    Attributes:
        seconds: How long each batch takes.
        n_items: How many items it has computed.
        fail_after: After how many items it is interrupted; None means never.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.n_items = 0
        self.fail_after: int | None = None

    def load(self, local: Local, *, device: str = "cpu", precision: str = "float32") -> Loaded:
        """Stands in for `headstart.backbones.load`."""
        return Loaded(local.spec, self)


@dataclass(frozen=True)
class Loaded:
    """A loaded stand-in."""

    spec: BackboneSpec
    network: Network

    def forward(self, batch: Any) -> np.ndarray:
        """One row an item, which depends on nothing but the item."""
        if self.network.fail_after is not None and self.network.n_items >= self.network.fail_after:
            raise KeyboardInterrupt
        time.sleep(self.network.seconds)
        self.network.n_items += len(batch)
        if self.spec.loader == "pixels":
            return PixelBackbone(self.spec).forward(batch)
        seen = _letters(batch) if isinstance(batch[0], str) else _cells(np.asarray(batch))
        projection = np.random.default_rng(0).normal(size=(seen.shape[1], self.spec.width))
        return (seen @ projection).astype(np.float32)


def _cells(batch: np.ndarray) -> np.ndarray:
    side = batch.shape[1] // 7
    cells = batch[:, : 7 * side, : 7 * side].reshape(len(batch), 7, side, 7, side, 3)
    return cells.mean(axis=(2, 4)).reshape(len(batch), -1) / 255


def _letters(batch: Sequence[str]) -> np.ndarray:
    return np.array([[text.lower().count(chr(letter)) for letter in range(97, 123)] for text in batch], dtype=float)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """The stand-in network."""
    stand_in = Network()
    monkeypatch.setattr("headstart.features.extract.load", stand_in.load)
    # What is counted are items of passes, and how often latency is measured depends on the clock.
    monkeypatch.setattr("headstart.recipes.climb.measure_latency", lambda *_, **__: None)
    return stand_in


def picture(path: Path, colour: tuple[int, int, int], seed: int) -> Path:
    """A noisy picture of one colour."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(np.array(colour) + rng.normal(0, 60, (9, 12, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((48, 36)).save(path, quality=90)
    return path


def photos(folder: Path, n: int = 12, *, classes: Sequence[str] = tuple(COLOURS), start: int = 0) -> Path:
    """A folder with `n` pictures of each class."""
    for number, name in enumerate(classes):
        for item in range(start, start + n):
            picture(folder / name / f"{item}.jpg", COLOURS.get(name, (90, 90, 90)), seed=1000 * number + item)
    return folder


_SAID = {"praise": "the zoo is lovely, kind and fun", "blame": "a dull, sad, cold and boring hour"}


def reviews(path: Path, n: int = 15, *, columns: tuple[str, str] = ("review", "sentiment")) -> Path:
    """A CSV file with `n` texts of each class."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for item in range(n):
            for label, text in _SAID.items():
                table.writerow([f"{text} at visit number {item}", label])
    return path


def record(folder: str | Path) -> dict[str, Any]:
    """What `run.json` says."""
    content: dict[str, Any] = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
    return content


def events(folder: str | Path, event: str) -> list[dict[str, Any]]:
    """The lines of `log.jsonl` of one kind."""
    lines = (Path(folder) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def n_computed(folder: str | Path) -> int:
    """How many rows a run computed, over all backbones but the control and the thumbnail."""
    return sum(
        line["computed"] for line in events(folder, "features") if line["backbone"] not in ("pixels", "thumbnail")
    )
