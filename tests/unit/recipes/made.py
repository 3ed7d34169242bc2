"""Backbones that need no files, and a machine that computes them at a pace of its own on a clock that tests turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart._progress import Silent
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec, ImageInput, Layer, Source, TextInput
from headstart.data.dataset import Dataset, Items
from headstart.features.extract import Compute, Extraction, Features, namespace_of
from headstart.features.memory import MemoryStore
from headstart.recipes.climb import Climb
from headstart.recipes.workspace import Clock, NoLog
from headstart.selection.prior import Prior

COMPUTE = Compute("cpu", "float32")
N_CLASSES = 2


def local(name: str, *, gflops: float = 1.0, n_params: int = 10**6, licence: str = "MIT", text: bool = False) -> Local:
    """A backbone of two numbers."""
    spec = BackboneSpec(
        name,
        "text" if text else "image",
        "timm",
        name,
        Source("folder", name, sha256=name),
        (Layer("last", N_CLASSES),),
        n_params,
        licence=licence,
        gflops=gflops,
        image=None if text else ImageInput(32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        text=TextInput(128) if text else None,
    )
    return Local(spec, Path(), {})


@dataclass
class Said(Silent):
    """Remembers what was said."""

    messages: list[str] = field(default_factory=list)

    def say(self, message: str) -> None:
        """Remember."""
        self.messages.append(message)


def dataset(n_items: int, *, modality: Any = "image") -> Dataset:
    """Items of two classes in turn; the key of an item is its position."""
    values = tuple(f"item {row}" for row in range(n_items))
    keys = tuple(map(str, range(n_items)))
    return Dataset(Items(modality, values, values, keys), np.arange(n_items) % N_CLASSES, ("no", "yes"))


@dataclass
class Machine:
    """Tells the classes apart as well as `skill` says, at `pace` items a second.

    Attributes:
        now: Its clock.
        computed: Which items each backbone has seen.
        asked: The backbone and the number of items of each call.
    """

    now: float = 0.0
    pace: dict[str, float] = field(default_factory=dict)
    skill: dict[str, float] = field(default_factory=dict)
    damaged: dict[str, set[str]] = field(default_factory=dict)
    computed: dict[str, list[str]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def extract(
        self, items: Items, backbones: Sequence[Local], *, store: MemoryStore, deadline: float | None, **_: Any
    ) -> Extraction:
        """As the true one: what the store has is free."""
        begin, found, damaged = self.now, [], {}
        for each in backbones:
            name, namespace = each.spec.name, namespace_of(each, COMPUTE)
            values, there = store.read(namespace, items.keys)
            self.asked.append((name, len(items)))
            n_computed = 0
            for row, key in enumerate(items.keys):
                if key in self.damaged.get(name, ()):
                    damaged[row] = "truncated"
                elif not there[row] and (deadline is None or self.now < deadline):
                    self.now += 1 / self.pace.get(name, 1000.0)
                    values[row], there[row] = self._features(name, int(key)), True
                    n_computed += 1
                    self.computed.setdefault(name, []).append(key)
                    with store.writer(namespace) as writer:
                        writer.append([key], values[row : row + 1])
            found.append(Features(each.spec, values, there, n_computed))
        return Extraction(tuple(found), damaged, wall_s=self.now - begin)

    def _features(self, name: str, key: int) -> np.ndarray:
        noise = np.random.default_rng([key, *name.encode()]).normal(size=N_CLASSES)
        return noise + self.skill.get(name, 0.0) * np.eye(N_CLASSES)[key % N_CLASSES]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine that a ladder runs on."""
    machine = Machine()
    monkeypatch.setattr("headstart.recipes.climb.extract", machine.extract)
    monkeypatch.setattr("time.monotonic", lambda: machine.now)
    return machine


def climb(items: Items, *, budget_s: float = 3600.0) -> Climb:
    """A ladder on a store in memory."""
    store = MemoryStore()
    return Climb(items, store, store, COMPUTE, Clock(0.0, budget_s), NoLog(), Said())


def said(climb: Climb) -> str:
    """What it said aloud."""
    assert isinstance(climb.progress, Said)
    return "\n".join(climb.progress.messages)


def expected(**values: float) -> dict[str, Prior]:
    """Priors by name."""
    return {name: Prior(value, "made up") for name, value in values.items()}


def renamed(known: Local, name: str) -> Local:
    """The same network as one of another name and identity."""
    source = replace(known.spec.source, sha256=name)
    return replace(known, spec=replace(known.spec, name=name, source=source))
